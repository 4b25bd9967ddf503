//! The payment against every message in every state, and against every interleaving of messages and outcomes.

use std::collections::BTreeMap;

use contracts::Currency;

use crate::ledger::EntryKind;

use super::*;

const PRICE: Money = Money { amount: 12_90, currency: Currency::EUR };
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn ok() -> Outcome {
    done(Some(PRICE))
}

fn done(amount: Option<Money>) -> Outcome {
    Outcome::Executed(Done { amount, fee: None })
}

fn with_fee(fee: Money) -> Outcome {
    Outcome::Executed(Done { amount: Some(PRICE), fee: Some(fee) })
}

fn declined() -> Outcome {
    Outcome::Refused { decline_code: "card_declined".to_owned() }
}

/// Makes the commands of one order.
struct Orchestrator {
    order: OrderId,
    customer: CustomerId,
}

impl Orchestrator {
    fn new() -> Self {
        Self { order: OrderId::mint(), customer: CustomerId::mint() }
    }

    fn command(&self, kind: Kind, id: &str) -> BillingCommand {
        let command = CommandId::try_from(id.to_owned()).unwrap();
        let (order, customer) = (self.order, self.customer);
        let token = PaymentToken::try_from("tok_ok".to_owned()).unwrap();
        match kind {
            Kind::Authorize => BillingCommand::AuthorizePayment { command, order, customer, amount: PRICE, token },
            Kind::Void => BillingCommand::VoidPayment { command, order },
            Kind::Capture => BillingCommand::CapturePayment { command, order },
        }
    }

    /// A payment in `state`, come there by commands and outcomes.
    fn payment(&self, state: State) -> Payment {
        let mut payment = Payment::none(self.order);
        let path: &[(Kind, Option<Outcome>)] = match state {
            State::None => &[],
            State::Tombstone => &[(Kind::Void, None)],
            State::Authorizing => &[(Kind::Authorize, None)],
            State::Authorized => &[(Kind::Authorize, Some(ok()))],
            State::Refused => &[(Kind::Authorize, Some(declined()))],
            State::Voiding => &[(Kind::Authorize, Some(ok())), (Kind::Void, None)],
            State::Voided => &[(Kind::Authorize, Some(ok())), (Kind::Void, Some(ok()))],
            State::Capturing => &[(Kind::Authorize, Some(ok())), (Kind::Capture, None)],
            State::Captured => &[(Kind::Authorize, Some(ok())), (Kind::Capture, Some(ok()))],
            State::CaptureRefused => &[(Kind::Authorize, Some(ok())), (Kind::Capture, Some(declined()))],
        };
        for (kind, outcome) in path {
            payment.receive(&self.command(*kind, &format!("first-{kind:?}")), NOW).unwrap();
            if let Some(outcome) = outcome {
                payment.outcome(payment.state.operation().unwrap(), outcome, NOW).unwrap();
            }
        }
        assert_eq!(payment.state, state);
        payment
    }
}

/// What a transition asked for, in short.
fn said(effects: &[Effect]) -> Vec<&'static str> {
    let word = |effect: &Effect| match effect {
        Effect::Answer(BillingEvent::PaymentAuthorized { .. }) => "authorized",
        Effect::Answer(BillingEvent::PaymentRefused { reason: PaymentRefusal::Voided, .. }) => "refused: voided",
        Effect::Answer(BillingEvent::PaymentRefused { .. }) => "refused",
        Effect::Answer(BillingEvent::PaymentVoided { .. }) => "voided",
        Effect::Answer(BillingEvent::PaymentCaptured { .. }) => "captured",
        Effect::Answer(BillingEvent::CaptureRefused { reason: PaymentRefusal::Voided, .. }) => "not captured: voided",
        Effect::Answer(BillingEvent::CaptureRefused { .. }) => "not captured",
        Effect::OpenIntent(Act::Authorize { .. }) => "authorize!",
        Effect::OpenIntent(Act::Void { .. }) => "void!",
        Effect::OpenIntent(Act::Capture { .. }) => "capture!",
        Effect::OpenIntent(Act::Refund { .. }) => "refund!",
        Effect::Post(entry) => entry.kind.name(),
    };
    effects.iter().map(word).collect()
}

#[test]
fn every_state_meets_every_new_command() {
    // State: what it makes of a new authorize, void, capture. "-" is impossible, "" waits.
    let table = [
        (State::None, ["authorize!", "voided", "-"]),
        (State::Authorizing, ["", "", ""]),
        (State::Authorized, ["authorized", "void!", "capture!"]),
        (State::Refused, ["refused", "voided", "-"]),
        (State::Voiding, ["", "", ""]),
        (State::Voided, ["refused: voided", "voided", "not captured: voided"]),
        (State::Tombstone, ["refused: voided", "voided", "-"]),
        (State::Capturing, ["", "", ""]),
        (State::Captured, ["authorized", "-", "captured"]),
        (State::CaptureRefused, ["authorized", "void!", "not captured"]),
    ];
    assert_eq!(table.map(|(state, _)| state), State::ALL);
    for (state, expected) in table {
        for (kind, expected) in [Kind::Authorize, Kind::Void, Kind::Capture].into_iter().zip(expected) {
            let orchestrator = Orchestrator::new();
            let mut payment = orchestrator.payment(state);
            let before = payment.clone();
            let command = orchestrator.command(kind, "new");
            match payment.receive(&command, NOW) {
                Ok(effects) => {
                    assert_eq!(said(&effects).concat(), expected, "{state:?} {kind:?}");
                    assert_eq!(
                        payment.commands.len(),
                        before.commands.len() + 1,
                        "{state:?} {kind:?} leaves its record"
                    );
                    let again = payment.clone().receive(&command, NOW).unwrap();
                    let answer = |effects: Vec<Effect>| -> Vec<Effect> {
                        effects.into_iter().filter(|effect| matches!(effect, Effect::Answer(_))).collect()
                    };
                    assert_eq!(again, answer(effects), "{state:?} {kind:?}: known, so the same answer or nothing");
                }
                Err(Fault::Impossible { .. }) => {
                    assert_eq!(("-", &payment), (expected, &before), "{state:?} {kind:?}");
                }
                Err(other) => panic!("{state:?} {kind:?}: {other}"),
            }
        }
    }
}

#[test]
fn an_outcome_of_another_or_a_settled_intent_changes_nothing() {
    for state in State::ALL {
        for operation in [Operation::Authorize, Operation::Void, Operation::Capture] {
            if state.operation() == Some(operation) {
                continue;
            }
            let mut payment = Orchestrator::new().payment(state);
            let before = payment.clone();
            for outcome in [ok(), declined()] {
                assert_eq!(payment.outcome(operation, &outcome, NOW), Ok(Vec::new()), "{state:?} {operation:?}");
            }
            assert_eq!(payment, before, "{state:?} {operation:?}");
        }
    }
}

#[test]
fn what_cannot_be_booked_leaves_the_intent_open() {
    let other = Money::new(12_89, Currency::EUR);
    let yen = Money::new(12_90, Currency::JPY);
    for (state, outcome) in [
        (State::Authorizing, done(Some(other))),
        (State::Authorizing, done(Some(yen))),
        (State::Capturing, done(Some(other))),
        (State::Capturing, done(Some(yen))),
        (State::Authorizing, done(None)),
        (State::Capturing, done(None)),
        (State::Authorizing, Outcome::OfAnother("other".to_owned())),
        (State::Capturing, Outcome::OfAnother("other".to_owned())),
        (State::Voiding, Outcome::OfAnother("other".to_owned())),
        (State::Voiding, done(Some(other))),
        (State::Capturing, with_fee(yen)),
        (State::Capturing, with_fee(Money::new(12_91, Currency::EUR))),
        (State::Capturing, with_fee(Money::new(-1, Currency::EUR))),
        (State::Voiding, declined()),
    ] {
        let mut payment = Orchestrator::new().payment(state);
        let before = payment.clone();
        let operation = state.operation().unwrap();
        payment.outcome(operation, &outcome, NOW).unwrap_err();
        assert_eq!(payment, before, "{state:?} {outcome:?}");
        assert!(!payment.outcome(operation, &ok(), NOW).unwrap().is_empty(), "{state:?} can still be settled");
    }
}

#[test]
fn a_command_at_fault_changes_nothing() {
    let orchestrator = Orchestrator::new();
    let mut payment = orchestrator.payment(State::Authorized);
    let before = payment.clone();
    let other_kind = orchestrator.command(Kind::Void, "first-Authorize");
    assert!(matches!(payment.receive(&other_kind, NOW), Err(Fault::OtherKind { .. })));
    let authorize = |payment: &mut Payment, amount| {
        let BillingCommand::AuthorizePayment { order, customer, token, .. } =
            orchestrator.command(Kind::Authorize, "x")
        else {
            unreachable!("it is an authorization")
        };
        let command = CommandId::try_from("second".to_owned()).unwrap();
        payment.receive(&BillingCommand::AuthorizePayment { command, order, customer, amount, token }, NOW)
    };
    let other_amount = authorize(&mut payment, Money::new(1, Currency::EUR));
    assert!(matches!(other_amount, Err(Fault::OtherTerms { .. })), "{other_amount:?}");
    assert_eq!(payment, before);

    let mut none = Payment::none(orchestrator.order);
    let negative = authorize(&mut none, Money::new(-1, Currency::EUR));
    assert!(matches!(negative, Err(Fault::Negative { .. })), "{negative:?}");
    assert_eq!(none, Payment::none(orchestrator.order));
}

/// One way through the interleavings of an order's commands, each up to twice, and the provider's outcomes.
#[derive(Clone)]
struct Way {
    payment: Payment,
    /// Copies still to be received: authorize, void, capture.
    left: BTreeMap<&'static str, u8>,
    provider: AtProvider,
    /// Per command: its answer, and how often it was given.
    answers: BTreeMap<CommandId, (BillingEvent, u32)>,
    /// Per command: how often an answer is due, now or when its intent is settled.
    due: BTreeMap<CommandId, u32>,
    posted: Vec<EntryKind>,
}

/// What the provider has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtProvider {
    Nothing,
    SetAside,
    Released,
    Taken,
}

#[derive(Default)]
struct Reached {
    ends: BTreeMap<&'static str, u32>,
    voids_that_waited: u32,
    impossible_voids: u32,
    stuck_voids: u32,
    faults: u32,
}

impl Way {
    fn explore(&self, orchestrator: &Orchestrator, reached: &mut Reached) {
        let mut ended = true;
        for (name, kind) in [("authorize", Kind::Authorize), ("void", Kind::Void), ("capture", Kind::Capture)] {
            if self.left[name] > 0 && (kind != Kind::Capture || self.was_authorized()) {
                ended = false;
                let mut way = self.clone();
                *way.left.get_mut(name).unwrap() -= 1;
                way.receive(&orchestrator.command(kind, name), reached);
                way.explore(orchestrator, reached);
            }
        }
        // An unclear outcome is none: the intent stays open, which is every way on which a message comes first.
        if let Some(operation) = self.payment.state.operation() {
            ended = false;
            for outcome in [ok(), declined()] {
                if operation == Operation::Void && outcome != ok() {
                    continue;
                }
                let mut way = self.clone();
                way.settle(operation, &outcome, reached);
                way.explore(orchestrator, reached);
            }
        }
        if ended {
            self.judge(reached);
        }
    }

    fn was_authorized(&self) -> bool {
        self.answers.values().any(|(answer, _)| matches!(answer, BillingEvent::PaymentAuthorized { .. }))
    }

    fn receive(&mut self, command: &BillingCommand, reached: &mut Reached) {
        let (id, kind) = named(command);
        let known = self.payment.commands.iter().any(|record| record.id == *id);
        let waits = self.payment.state.operation().is_some();
        match self.payment.receive(command, NOW) {
            Ok(effects) => {
                if !known || self.answers.contains_key(id) {
                    *self.due.entry(id.clone()).or_default() += 1;
                }
                reached.voids_that_waited += u32::from(kind == Kind::Void && waits && !known);
                self.note(effects);
            }
            Err(Fault::Impossible { state: State::Captured, kind: Kind::Void, .. }) => reached.impossible_voids += 1,
            Err(fault) => {
                reached.faults += 1;
                panic!("{fault}");
            }
        }
    }

    fn settle(&mut self, operation: Operation, outcome: &Outcome, reached: &mut Reached) {
        self.provider = match (operation, self.provider, *outcome == ok()) {
            (Operation::Authorize, AtProvider::Nothing, true) => AtProvider::SetAside,
            (Operation::Authorize, AtProvider::Nothing, false) => AtProvider::Nothing,
            (Operation::Void, AtProvider::SetAside, true) => AtProvider::Released,
            (Operation::Capture, AtProvider::SetAside, true) => AtProvider::Taken,
            (Operation::Capture, AtProvider::SetAside, false) => AtProvider::SetAside,
            impossible => panic!("the provider is asked for what it cannot do: {impossible:?}"),
        };
        let effects = self.payment.outcome(operation, outcome, NOW).unwrap();
        self.note(effects);
        reached.stuck_voids += u32::from(self.payment.stuck().is_some());
        if self.payment.state.operation() != Some(operation) {
            let before = self.payment.clone();
            assert_eq!(self.payment.outcome(operation, outcome, NOW), Ok(Vec::new()), "booked twice");
            assert_eq!(self.payment, before, "booked twice");
        }
    }

    fn note(&mut self, effects: Vec<Effect>) {
        let authorizing = self.payment.state == State::Authorizing;
        for effect in effects {
            match effect {
                Effect::Post(entry) => self.posted.push(entry.kind),
                Effect::OpenIntent(act) => assert_eq!(self.payment.state.operation(), act.operation()),
                Effect::Answer(event) => {
                    if let BillingEvent::PaymentVoided { .. } = event {
                        let free = matches!(self.provider, AtProvider::Nothing | AtProvider::Released);
                        assert!(free && !authorizing, "voided is said while the provider has {:?}", self.provider);
                    }
                    let command = answered(&event);
                    let (first, times) = self.answers.entry(command).or_insert_with(|| (event.clone(), 0));
                    *times += 1;
                    assert_eq!(*first, event, "an answer never changes");
                }
            }
        }
    }

    fn judge(&self, reached: &mut Reached) {
        let payment = &self.payment;
        *reached.ends.entry(payment.state.name()).or_default() += 1;
        let said = |wanted: fn(&BillingEvent) -> bool| self.answers.values().any(|(answer, _)| wanted(answer));
        let captured = said(|answer| matches!(answer, BillingEvent::PaymentCaptured { .. }));
        let voided = said(|answer| matches!(answer, BillingEvent::PaymentVoided { .. }));
        assert!(!(captured && voided), "captured and voided");
        assert_eq!(captured, self.provider == AtProvider::Taken);
        let booked = |kind| self.posted.iter().filter(|posted| **posted == kind).count();
        assert_eq!(booked(EntryKind::Capture), usize::from(captured), "one entry per capture");
        assert_eq!(booked(EntryKind::Authorization), usize::from(self.provider != AtProvider::Nothing));
        assert_eq!(booked(EntryKind::Release), usize::from(self.provider == AtProvider::Released));
        for (command, due) in &self.due {
            let times = self.answers.get(command).map_or(0, |(_, times)| *times);
            let expected = if payment.stuck() == Some(command) { 0 } else { *due };
            assert_eq!(times, expected, "{command} in {:?}", payment.state);
        }
    }
}

fn answered(event: &BillingEvent) -> CommandId {
    match event {
        BillingEvent::PaymentAuthorized { command, .. }
        | BillingEvent::PaymentRefused { command, .. }
        | BillingEvent::PaymentVoided { command, .. }
        | BillingEvent::PaymentCaptured { command, .. }
        | BillingEvent::CaptureRefused { command, .. } => command.clone(),
    }
}

#[test]
fn holds_in_every_interleaving_of_commands_duplicates_and_outcomes() {
    let orchestrator = Orchestrator::new();
    let way = Way {
        payment: Payment::none(orchestrator.order),
        left: BTreeMap::from([("authorize", 2), ("void", 2), ("capture", 2)]),
        provider: AtProvider::Nothing,
        answers: BTreeMap::new(),
        due: BTreeMap::new(),
        posted: Vec::new(),
    };
    let mut reached = Reached::default();
    way.explore(&orchestrator, &mut reached);
    let ends: Vec<&str> = reached.ends.keys().copied().collect();
    assert_eq!(ends, ["captured", "refused", "tombstone", "voided"], "with a void, an order ends in one of these");
    assert!(reached.voids_that_waited > 0, "no void came while an intent was open");
    assert!(reached.impossible_voids > 0, "no void came after the capture");
    assert!(reached.stuck_voids > 0, "no void waited for a capture that was done");
}

#[test]
fn each_is_done_once_per_order_whatever_the_command_is_called() {
    let orchestrator = Orchestrator::new();
    let mut payment = orchestrator.payment(State::Authorized);
    payment.receive(&orchestrator.command(Kind::Capture, "c1"), NOW).unwrap();
    payment.receive(&orchestrator.command(Kind::Capture, "c2"), NOW).unwrap();
    let effects = payment.outcome(Operation::Capture, &ok(), NOW).unwrap();
    assert_eq!(said(&effects), ["capture", "captured", "captured"]);
    let effects = payment.receive(&orchestrator.command(Kind::Authorize, "a2"), NOW).unwrap();
    assert_eq!(said(&effects), ["authorized"]);
}

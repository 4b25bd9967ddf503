//! The payment against every interleaving of the commands of a checkout, each up to twice, and the provider's outcomes.
//! Those of the rest of an order's life are in `life_ways`.

use std::collections::BTreeMap;

use crate::ledger::EntryKind;

use super::*;

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
        let customers = self.payment.terms.iter().map(Terms::customer).chain(customer(command)).collect();
        let known = self.payment.commands.iter().any(|record| record.id == *id);
        let waits = self.payment.state.operation().is_some();
        match self.payment.receive(command, &customers, NOW) {
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
                Effect::Park(..) | Effect::Keep(_) | Effect::Credit(_) => panic!("nothing is returned here"),
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

pub(super) fn customer(command: &BillingCommand) -> Option<CustomerId> {
    if let BillingCommand::AuthorizePayment { customer, .. } = command { Some(*customer) } else { None }
}

pub(super) fn answered(event: &BillingEvent) -> CommandId {
    match event {
        BillingEvent::PaymentAuthorized { command, .. }
        | BillingEvent::PaymentRefused { command, .. }
        | BillingEvent::PaymentVoided { command, .. }
        | BillingEvent::PaymentCaptured { command, .. }
        | BillingEvent::CaptureRefused { command, .. }
        | BillingEvent::PaymentRefunded { command, .. } => command.clone(),
        BillingEvent::CustomerErased { .. } => unreachable!("no payment says so"),
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

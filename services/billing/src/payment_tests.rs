//! The payment against every message in every state.

use contracts::Currency;
use contracts::vat::VatRate;

use super::*;
use crate::refund::Requested;

#[path = "life_ways.rs"]
mod life;
#[path = "payment_ways.rs"]
mod ways;

const PRICE: Money = Money { amount: 12_90, currency: Currency::EUR };
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn lines(amount: Money) -> Vec<OrderLine> {
    let (sku, name, quantity) = ("MUG".parse().unwrap(), "Mug".into(), 1.try_into().unwrap());
    vec![OrderLine::priced(sku, name, quantity, amount, VatRate(1900)).unwrap()]
}

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
            Kind::Authorize => {
                let (amount, lines) = (PRICE, lines(PRICE));
                BillingCommand::AuthorizePayment { command, order, customer, amount, lines, token }
            }
            Kind::Void => BillingCommand::VoidPayment { command, order },
            Kind::Capture => BillingCommand::CapturePayment { command, order },
            Kind::Refund => BillingCommand::RefundPayment { command, order },
        }
    }

    /// Those that have a name and an address.
    fn customers(&self) -> BTreeSet<CustomerId> {
        BTreeSet::from([self.customer])
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
            State::Refunding => &[(Kind::Authorize, Some(ok())), (Kind::Capture, Some(ok())), (Kind::Refund, None)],
            State::Refunded => {
                &[(Kind::Authorize, Some(ok())), (Kind::Capture, Some(ok())), (Kind::Refund, Some(ok()))]
            }
        };
        for (kind, outcome) in path {
            payment.receive(&self.command(*kind, &format!("first-{kind:?}")), &self.customers(), NOW).unwrap();
            if let Some(outcome) = outcome {
                match payment.state.operation() {
                    Some(operation) => payment.outcome(operation, outcome, NOW).unwrap(),
                    None => payment.refund_outcome(1, outcome, NOW).unwrap(),
                };
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
        Effect::Answer(BillingEvent::PaymentRefunded { .. }) => "refunded",
        Effect::Answer(BillingEvent::CustomerErased { .. }) => unreachable!("no payment says so"),
        Effect::OpenIntent(Act::Authorize { .. }) => "authorize!",
        Effect::OpenIntent(Act::Void { .. }) => "void!",
        Effect::OpenIntent(Act::Capture { .. }) => "capture!",
        Effect::OpenIntent(Act::Refund { .. }) => "refund!",
        Effect::Park(..) => "parked!",
        Effect::Post(entry) => entry.kind.name(),
        Effect::Keep(_) => "keep",
        Effect::Credit(_) => "credit",
    };
    effects.iter().map(word).collect()
}

#[test]
fn every_state_meets_every_new_command() {
    // State: what it makes of a new authorize, void, capture, refund. "-" is impossible, "" waits.
    let table = [
        (State::None, ["authorize!", "voided", "-", "-"]),
        (State::Authorizing, ["", "", "", ""]),
        (State::Authorized, ["authorized", "void!", "capture!", "-"]),
        (State::Refused, ["refused", "voided", "-", "-"]),
        (State::Voiding, ["", "", "", ""]),
        (State::Voided, ["refused: voided", "voided", "not captured: voided", "-"]),
        (State::Tombstone, ["refused: voided", "voided", "-", "-"]),
        (State::Capturing, ["", "", "", ""]),
        (State::Captured, ["authorized", "-", "captured", "keeprefund!"]),
        (State::CaptureRefused, ["authorized", "void!", "not captured", "-"]),
        (State::Refunding, ["authorized", "-", "captured", ""]),
        (State::Refunded, ["authorized", "-", "captured", "refunded"]),
    ];
    assert_eq!(table.map(|(state, _)| state), State::ALL);
    for (state, expected) in table {
        for (kind, expected) in [Kind::Authorize, Kind::Void, Kind::Capture, Kind::Refund].into_iter().zip(expected) {
            let orchestrator = Orchestrator::new();
            let mut payment = orchestrator.payment(state);
            let before = payment.clone();
            let command = orchestrator.command(kind, "new");
            match payment.receive(&command, &orchestrator.customers(), NOW) {
                Ok(effects) => {
                    assert_eq!(said(&effects).concat(), expected, "{state:?} {kind:?}");
                    assert_eq!(
                        payment.commands.len(),
                        before.commands.len() + 1,
                        "{state:?} {kind:?} leaves its record"
                    );
                    let again = payment.clone().receive(&command, &orchestrator.customers(), NOW).unwrap();
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
fn a_void_that_says_no_amount_releases_what_the_books_have() {
    let mut payment = Orchestrator::new().payment(State::Voiding);
    let effects = payment.outcome(Operation::Void, &done(None), NOW).unwrap();
    assert_eq!(payment.state, State::Voided);
    let released = LedgerEntry::release(payment.order, PRICE, NOW);
    assert!(effects.contains(&Effect::Post(released)), "{effects:?}");
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
    assert!(matches!(payment.receive(&other_kind, &orchestrator.customers(), NOW), Err(Fault::OtherKind { .. })));
    let authorize = |payment: &mut Payment, amount| {
        let BillingCommand::AuthorizePayment { order, customer, token, .. } =
            orchestrator.command(Kind::Authorize, "x")
        else {
            unreachable!("it is an authorization")
        };
        let command = CommandId::try_from("second".to_owned()).unwrap();
        let lines = lines(amount);
        let authorize = BillingCommand::AuthorizePayment { command, order, customer, amount, lines, token };
        payment.receive(&authorize, &orchestrator.customers(), NOW)
    };
    let other_amount = authorize(&mut payment, Money::new(1, Currency::EUR));
    assert!(matches!(other_amount, Err(Fault::OtherTerms { .. })), "{other_amount:?}");
    assert_eq!(payment, before);

    let mut none = Payment::none(orchestrator.order);
    let negative = authorize(&mut none, Money::new(-1, Currency::EUR));
    assert!(matches!(negative, Err(Fault::Negative { .. })), "{negative:?}");
    assert_eq!(none, Payment::none(orchestrator.order));
    let mut other_sum = orchestrator.command(Kind::Authorize, "y");
    if let BillingCommand::AuthorizePayment { lines, .. } = &mut other_sum {
        lines[0].unit_price.amount -= 1;
    }
    let other_sum = none.receive(&other_sum, &orchestrator.customers(), NOW);
    assert!(matches!(other_sum, Err(Fault::OtherSum { .. })), "{other_sum:?}");
    assert_eq!(none, Payment::none(orchestrator.order));
}

#[test]
fn each_is_done_once_per_order_whatever_the_command_is_called() {
    let orchestrator = Orchestrator::new();
    let mut payment = orchestrator.payment(State::Authorized);
    payment.receive(&orchestrator.command(Kind::Capture, "c1"), &orchestrator.customers(), NOW).unwrap();
    payment.receive(&orchestrator.command(Kind::Capture, "c2"), &orchestrator.customers(), NOW).unwrap();
    let effects = payment.outcome(Operation::Capture, &ok(), NOW).unwrap();
    assert_eq!(said(&effects), ["capture", "captured", "captured"]);
    let effects =
        payment.receive(&orchestrator.command(Kind::Authorize, "a2"), &orchestrator.customers(), NOW).unwrap();
    assert_eq!(said(&effects), ["authorized"]);
    payment.receive(&orchestrator.command(Kind::Refund, "r1"), &orchestrator.customers(), NOW).unwrap();
    payment.receive(&orchestrator.command(Kind::Refund, "r2"), &orchestrator.customers(), NOW).unwrap();
    let effects = payment.refund_outcome(1, &ok(), NOW).unwrap();
    assert_eq!(said(&effects), ["keep", "refund", "refunded", "refunded"]);
}

#[test]
fn nobody_is_charged_to_whom_no_invoice_can_be_made_out() {
    let orchestrator = Orchestrator::new();
    let mut payment = Payment::none(orchestrator.order);
    let authorize = orchestrator.command(Kind::Authorize, "a1");
    let effects = payment.receive(&authorize, &BTreeSet::new(), NOW).unwrap();
    let [Effect::Answer(BillingEvent::PaymentRefused { reason, .. })] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((reason, payment.state), (&PaymentRefusal::UnknownCustomer, State::Refused));
    // A refusal is final, although the customer becomes known.
    for command in [authorize, orchestrator.command(Kind::Authorize, "a2")] {
        let again = payment.receive(&command, &orchestrator.customers(), NOW).unwrap();
        let [Effect::Answer(BillingEvent::PaymentRefused { reason, .. })] = &again[..] else { panic!("{again:?}") };
        assert_eq!(reason, &PaymentRefusal::UnknownCustomer);
    }
}

/// The rest waits for the parts under way, whatever becomes of them, and is asked until it has gone back.
#[test]
fn all_that_is_left_goes_back_behind_the_parts_and_however_often_it_is_refused() {
    let orchestrator = Orchestrator::new();
    for (part, rest) in [(done(Some(Money { amount: 500, ..PRICE })), 790), (declined(), 1290)] {
        let mut payment = orchestrator.payment(State::Captured);
        let Ok(Requested::New(first)) = Refund::request(&payment, true, "part", Money { amount: 500, ..PRICE }) else {
            panic!("a part can be returned")
        };
        payment.refunds.push(first);
        let refund = orchestrator.command(Kind::Refund, "r");
        assert_eq!(payment.receive(&refund, &orchestrator.customers(), NOW), Ok(vec![]), "it waits");
        assert_eq!(payment.stuck(), None);
        let effects = payment.refund_outcome(1, &part, NOW).unwrap();
        let booked: &[&str] = if rest == 790 { &["keep", "refund", "credit"] } else { &["keep"] };
        assert_eq!(said(&effects), [booked, &["keep", "refund!"]].concat());
        let effects = payment.refund_outcome(2, &declined(), NOW).unwrap();
        assert_eq!(said(&effects), ["keep", "keep", "parked!"]);
        let Effect::Park(Act::Refund { number: 3, amount, .. }, why) = &effects[2] else { panic!("{effects:?}") };
        assert_eq!((amount.amount, why.as_str()), (rest, "the provider refuses to return the money: card_declined"));
        let effects = payment.refund_outcome(3, &done(Some(*amount)), NOW).unwrap();
        assert_eq!(said(&effects), ["keep", "refund", "refunded"]);
        let Effect::Answer(BillingEvent::PaymentRefunded { amount, .. }) = &effects[2] else { panic!("{effects:?}") };
        assert_eq!((amount.amount, payment.state), (rest, State::Refunded));
        assert!(
            payment.left().iter().all(|tax| (tax.gross.amount, tax.vat.amount) == (0, 0)),
            "to the last cent of VAT"
        );
    }
}

#[test]
fn where_nothing_is_left_nothing_is_asked_for() {
    let orchestrator = Orchestrator::new();
    let mut payment = orchestrator.payment(State::Captured);
    let Ok(Requested::New(all)) = Refund::request(&payment, true, "all", PRICE) else { panic!("it is there") };
    payment.refunds.push(all);
    payment.refund_outcome(1, &ok(), NOW).unwrap();
    let refund = orchestrator.command(Kind::Refund, "r");
    let effects = payment.receive(&refund, &orchestrator.customers(), NOW).unwrap();
    let [Effect::Answer(BillingEvent::PaymentRefunded { amount, .. })] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((amount.amount, payment.state), (0, State::Refunded));
}

/// Whoever has erred: what is held for a cancelled order is let go, now or once it is known.
#[test]
fn a_cancelled_order_lets_go_of_whatever_it_holds() {
    let table = [
        (State::None, false, ""),
        (State::Authorizing, true, ""),
        (State::Authorized, true, "void!"),
        (State::Refused, false, ""),
        (State::Voiding, true, ""),
        (State::Voided, false, ""),
        (State::Tombstone, false, ""),
        (State::Capturing, true, ""),
        (State::Captured, true, "keeprefund!"),
        (State::CaptureRefused, true, "void!"),
        (State::Refunding, true, ""),
        (State::Refunded, false, ""),
    ];
    assert_eq!(table.map(|(state, ..)| state), State::ALL);
    for (state, held, effects) in table {
        let mut payment = Orchestrator::new().payment(state);
        let end = payment.close(NOW).unwrap();
        assert_eq!((end.held, said(&end.effects).concat().as_str()), (held, effects), "{state:?}");
        assert_eq!(payment.close(NOW), None, "{state:?}: once");
        for _ in 0..3 {
            if let Some(operation) = payment.state.operation() {
                payment.outcome(operation, &ok(), NOW).unwrap();
            }
            payment.refund_outcome(1, &ok(), NOW).unwrap();
        }
        assert!(!payment.state.holds(), "{state:?} ends as {:?}", payment.state);
    }
}

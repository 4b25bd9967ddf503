//! The payment against every message in every state.

use contracts::Currency;

use super::*;

#[path = "payment_ways.rs"]
mod ways;

const PRICE: Money = Money { amount: 12_90, currency: Currency::EUR };
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn taxes(amount: Money) -> Vec<Taxed> {
    vec![vat::VatRate(1900).within(amount)]
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
                let (amount, taxes) = (PRICE, taxes(PRICE));
                BillingCommand::AuthorizePayment { command, order, customer, amount, taxes, token }
            }
            Kind::Void => BillingCommand::VoidPayment { command, order },
            Kind::Capture => BillingCommand::CapturePayment { command, order },
            Kind::Refund => BillingCommand::RefundPayment { command, order },
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
        Effect::Answer(BillingEvent::PaymentRefunded { .. }) => "refunded",
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
        let taxes = taxes(amount);
        payment.receive(&BillingCommand::AuthorizePayment { command, order, customer, amount, taxes, token }, NOW)
    };
    let other_amount = authorize(&mut payment, Money::new(1, Currency::EUR));
    assert!(matches!(other_amount, Err(Fault::OtherTerms { .. })), "{other_amount:?}");
    assert_eq!(payment, before);

    let mut none = Payment::none(orchestrator.order);
    let negative = authorize(&mut none, Money::new(-1, Currency::EUR));
    assert!(matches!(negative, Err(Fault::Negative { .. })), "{negative:?}");
    assert_eq!(none, Payment::none(orchestrator.order));
    let mut other_sum = orchestrator.command(Kind::Authorize, "y");
    if let BillingCommand::AuthorizePayment { taxes, .. } = &mut other_sum {
        taxes[0].gross.amount -= 1;
    }
    let other_sum = none.receive(&other_sum, NOW);
    assert!(matches!(other_sum, Err(Fault::OtherSum { .. })), "{other_sum:?}");
    assert_eq!(none, Payment::none(orchestrator.order));
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

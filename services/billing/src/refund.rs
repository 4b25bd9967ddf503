//! A refund: some of what was captured goes back. Pure.
//!
//! A payment can have many, each with a number of its own and so a key of its own at the provider. What is open counts as
//! returned, so however many are under way at once, never more is asked back than was captured. Each takes net and VAT of
//! every rate with it, so that all of it together is exactly what was captured: see [`vat::share`].

use contracts::vat::{self, Taxed};
use contracts::{Currency, Money, OrderId};
use jiff::Timestamp;

use crate::ledger::LedgerEntry;
use crate::payment::Payment;
use crate::provider::{Act, Operation, Outcome, ProviderKey, Unbookable};
use crate::state::State;

/// One refund of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Of which order.
    pub order: OrderId,
    /// Which of its refunds: 1, 2, 3...
    pub number: u32,
    /// The idempotency key of the request. None if it is the rest, which `RefundPayment` returns.
    pub key: Option<String>,
    /// How much. Above zero.
    pub amount: Money,
    /// The amount by rate of VAT: in proportion to what was left when it was requested.
    pub taxes: Vec<Taxed>,
    /// How far it has come.
    pub state: RefundState,
}

/// How far a refund has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundState {
    /// The provider is asked for it.
    Open,
    /// The money went back.
    Refunded,
    /// The provider refused it; nothing went back.
    Refused {
        /// The provider's own code.
        decline_code: String,
    },
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// It is new: the provider is to be asked.
    New(Refund),
    /// Its key was used for the same before.
    Known(Refund),
}

/// Why a refund is not even tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefundError {
    /// There is nothing to return.
    #[error("only a captured payment can be refunded")]
    NotCaptured,
    /// There is nothing to credit.
    #[error("only what is invoiced can be refunded in part: the invoice comes soon after the order is confirmed")]
    NotInvoiced,
    /// The key belongs to another request.
    #[error("the idempotency key was used for a refund of {0}")]
    KeyReused(Money),
    /// Nothing, or less.
    #[error("a refund is above zero")]
    NotPositive,
    /// Not in that of the payment.
    #[error("a refund of this payment is in {0}")]
    OtherCurrency(Currency),
    /// More than is left.
    #[error("at most {left} can still be refunded")]
    TooMuch {
        /// What can still be returned.
        left: Money,
    },
}

impl Refund {
    /// Takes in a request for `amount` of `payment` under `key`. Nothing goes back of what is not `invoiced`.
    ///
    /// # Errors
    /// [`RefundError`]; nothing is to be changed.
    pub fn request(payment: &Payment, invoiced: bool, key: &str, amount: Money) -> Result<Requested, RefundError> {
        if let Some(first) = payment.refunds.iter().find(|refund| refund.key.as_deref() == Some(key)) {
            let same = first.amount == amount;
            return if same { Ok(Requested::Known(first.clone())) } else { Err(RefundError::KeyReused(first.amount)) };
        }
        let (true, Some(terms)) = (payment.state.was_captured(), &payment.terms) else {
            return Err(RefundError::NotCaptured);
        };
        if amount.amount <= 0 {
            return Err(RefundError::NotPositive);
        }
        // Once all is going back, nothing is left, although the rest may not be asked for yet.
        let taxes = if payment.state == State::Captured { payment.left() } else { Vec::new() };
        let left: i64 = taxes.iter().map(|tax| tax.gross.amount).sum();
        let currency = terms.amount().currency;
        if amount.currency != currency {
            return Err(RefundError::OtherCurrency(currency));
        }
        if amount.amount > left {
            return Err(RefundError::TooMuch { left: Money::new(left, currency) });
        }
        if !invoiced {
            return Err(RefundError::NotInvoiced);
        }
        let taxes = vat::share(&taxes, amount).expect("something is left, or the amount would be too large");
        let (order, number, key) = (payment.order, payment.next_refund(), Some(key.to_owned()));
        Ok(Requested::New(Self { order, number, key, amount, taxes, state: RefundState::Open }))
    }

    /// Whether somebody wanted this part back, and not all that was left.
    pub fn is_part(&self) -> bool {
        self.key.is_some()
    }

    /// The provider's own code, if it refused.
    pub fn decline_code(&self) -> Option<&str> {
        match &self.state {
            RefundState::Refused { decline_code } => Some(decline_code),
            RefundState::Open | RefundState::Refunded => None,
        }
    }

    /// Whether it takes something from what is left.
    pub(crate) fn counts(&self) -> bool {
        match self.state {
            RefundState::Open | RefundState::Refunded => true,
            RefundState::Refused { .. } => false,
        }
    }

    /// What the provider is asked for.
    pub(crate) fn act(&self) -> Act {
        let authorization = ProviderKey::of(self.order, Operation::Authorize);
        Act::Refund { authorization, amount: self.amount, number: self.number }
    }

    /// Takes in what the provider says, and gives back what the ledger says of it. What it says of a refund that is
    /// settled changes nothing, and gives `None`.
    ///
    /// # Errors
    /// [`Unbookable`]; the refund is as it was.
    pub fn outcome(&mut self, outcome: &Outcome, at: Timestamp) -> Result<Option<Settled>, Unbookable> {
        if self.state != RefundState::Open {
            return Ok(None);
        }
        outcome.held_against(self.amount)?;
        let (state, entry) = match outcome.decline_code() {
            Some(code) => (RefundState::Refused { decline_code: code.to_owned() }, None),
            None if outcome.amount().is_none() => return Err(Unbookable::NoAmount { asked: self.amount }),
            None => {
                let entry = LedgerEntry::refund(self.order, self.number, self.amount, &self.taxes, at);
                (RefundState::Refunded, Some(entry))
            }
        };
        self.state = state;
        Ok(Some(Settled { entry }))
    }
}

/// A refund is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// What the ledger says of it; nothing, if it was refused.
    pub entry: Option<LedgerEntry>,
}

#[cfg(test)]
mod tests {
    use contracts::order::OrderLine;
    use contracts::vat::VatRate;
    use contracts::{Currency, CustomerId};
    use proptest::prelude::*;

    use super::*;
    use crate::provider::Done;
    use crate::terms::Terms;

    fn eur(amount: i64) -> Money {
        Money::new(amount, Currency::EUR)
    }

    fn captured(amount: i64) -> Payment {
        let reduced = amount / 3;
        let line = |price, rate| {
            let (sku, name, quantity) = ("MUG".parse().unwrap(), "Mug".into(), 1.try_into().unwrap());
            OrderLine::priced(sku, name, quantity, eur(price), VatRate(rate)).unwrap()
        };
        let lines = vec![line(reduced, 700), line(amount - reduced, 1900)];
        let terms = Terms::new(CustomerId::mint(), eur(amount), lines);
        Payment { state: State::Captured, terms: Some(terms.unwrap()), ..Payment::none(OrderId::mint()) }
    }

    /// The payment with these refunds.
    fn with(payment: &Payment, refunds: &[Refund]) -> Payment {
        Payment { refunds: refunds.to_vec(), ..payment.clone() }
    }

    fn new(payment: &Payment, known: &[Refund], key: &str, amount: Money) -> Refund {
        match Refund::request(&with(payment, known), true, key, amount) {
            Ok(Requested::New(refund)) => refund,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_known_by_its_key_and_refused_before_the_provider_is_asked() {
        let payment = captured(1000);
        let known = [new(&payment, &[], "first", eur(400))];
        let ask = |key, amount| Refund::request(&with(&payment, &known), true, key, amount);
        assert_eq!(ask("first", eur(400)), Ok(Requested::Known(known[0].clone())));
        assert_eq!(ask("first", eur(401)), Err(RefundError::KeyReused(eur(400))));
        assert_eq!(ask("second", eur(601)), Err(RefundError::TooMuch { left: eur(600) }));
        assert_eq!(ask("second", Money::new(1, Currency::JPY)), Err(RefundError::OtherCurrency(Currency::EUR)));
        for amount in [0, -1, i64::MIN] {
            assert_eq!(ask("second", eur(amount)), Err(RefundError::NotPositive));
        }
        assert_eq!(new(&payment, &known, "second", eur(600)).number, 2);
        assert_eq!(Refund::request(&payment, false, "x", eur(1)), Err(RefundError::NotInvoiced));
        for state in State::ALL.into_iter().filter(|state| *state != State::Captured) {
            let payment = Payment { state, ..payment.clone() };
            let refused = Refund::request(&payment, true, "x", eur(1)).unwrap_err();
            let nothing_left = matches!(refused, RefundError::TooMuch { left } if left == eur(0));
            assert_eq!(nothing_left, matches!(state, State::Refunding | State::Refunded), "{state:?}");
            assert_eq!(!nothing_left, refused == RefundError::NotCaptured, "{state:?}");
        }
    }

    #[test]
    fn what_the_provider_says_settles_it_once() {
        let payment = captured(1000);
        let open = new(&payment, &[], "first", eur(400));
        let at = Timestamp::UNIX_EPOCH;
        let done = Outcome::Executed(Done { amount: Some(eur(400)), fee: None });
        let mut refund = open.clone();
        let settled = refund.outcome(&done, at).unwrap().unwrap();
        assert_eq!(settled.entry, Some(LedgerEntry::refund(payment.order, 1, eur(400), &open.taxes, at)));
        assert_eq!((refund.outcome(&done, at), refund.state), (Ok(None), RefundState::Refunded));

        let mut refund = open.clone();
        let settled = refund.outcome(&Outcome::Refused { decline_code: "no".into() }, at).unwrap().unwrap();
        assert_eq!(settled.entry, None);
        assert_eq!(new(&payment, &[refund], "again", eur(1000)).number, 2, "a refusal leaves all to be returned");

        for wrong in [
            Outcome::Executed(Done { amount: Some(eur(401)), fee: None }),
            Outcome::Executed(Done { amount: None, fee: None }),
            Outcome::OfAnother("other".into()),
        ] {
            let mut refund = open.clone();
            refund.outcome(&wrong, at).unwrap_err();
            assert_eq!(refund, open);
        }
    }

    proptest! {
        #[test]
        fn never_more_is_returned_than_was_captured(
            amount in 0..=10_000_i64,
            wanted in prop::collection::vec((1..=5_000_i64, any::<Option<bool>>()), 0..12),
        ) {
            let payment = captured(amount);
            let mut known: Vec<Refund> = Vec::new();
            for (place, (wanted, refused)) in wanted.into_iter().enumerate() {
                if let Ok(Requested::New(mut refund)) = Refund::request(&with(&payment, &known), true, &place.to_string(), eur(wanted)) {
                    match refused {
                        None => {}
                        Some(true) => refund.state = RefundState::Refused { decline_code: "no".into() },
                        Some(false) => refund.state = RefundState::Refunded,
                    }
                    known.push(refund);
                }
                let returned: i64 = known.iter().filter(|one| one.counts()).map(|one| one.amount.amount).sum();
                prop_assert!(returned <= amount);
            }
            // The rest, as one more refund: together they are what was captured, to the last cent of each rate's VAT.
            let returned: i64 = known.iter().filter(|one| one.counts()).map(|one| one.amount.amount).sum();
            if returned < amount {
                known.push(new(&payment, &known, "rest", eur(amount - returned)));
            }
            let taxes = known.iter().filter(|one| one.counts()).flat_map(|one| one.taxes.clone());
            let captured: Vec<Taxed> =
                payment.terms.unwrap().taxes().iter().copied().filter(|tax| tax.gross.amount != 0).collect();
            prop_assert_eq!(vat::per_rate(&taxes.collect::<Vec<_>>()).unwrap(), captured);
        }
    }
}

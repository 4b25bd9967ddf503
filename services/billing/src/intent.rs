//! An intent: a call to the provider that is decided, stored, and not yet settled. Pure.

use std::time::Duration;

use contracts::billing::PaymentToken;
use contracts::{Money, OrderId};

use crate::payment::Payment;
use crate::provider::{Act, Operation, ProviderKey, Request};

/// One thing to have the provider do. Doing it twice is harmless: it is the same key.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// For which order.
    pub order: OrderId,
    /// What.
    pub operation: Operation,
    /// The same, as the provider is asked.
    pub request: Request,
    /// How often it was taken, this time included. From the second time on the provider is asked before it is called.
    pub tries: u32,
}

/// The longest pause between the first try and the second; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest pause at all.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

impl Intent {
    /// The intent that is open in `payment`, taken for the first time.
    pub(crate) fn of(payment: &Payment) -> Option<Self> {
        let operation = payment.state.operation()?;
        Self::new(payment.order, operation, payment.terms?.amount, payment.token.clone(), 1)
    }

    /// An intent, if it has all it needs: an authorization needs the token.
    pub(crate) fn new(
        order: OrderId,
        operation: Operation,
        amount: Money,
        token: Option<PaymentToken>,
        tries: u32,
    ) -> Option<Self> {
        let authorization = ProviderKey::of(order, Operation::Authorize);
        let act = match operation {
            Operation::Authorize => Act::Authorize { amount, token: token? },
            Operation::Void => Act::Void { authorization },
            Operation::Capture => Act::Capture { authorization, amount },
        };
        let request = Request { key: ProviderKey::of(order, operation), order, act };
        Some(Self { order, operation, request, tries })
    }

    /// How long to wait before the next try: twice as long each time, and somewhere in the upper half of that so that
    /// orders which failed together do not come back together. The spread comes from the order's id, whose last bits
    /// are random.
    pub(crate) fn delay(&self) -> Duration {
        let doubled = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(self.tries.saturating_sub(1)));
        let longest = doubled.min(LONGEST_DELAY);
        let spread = self.order.as_uuid().as_u64_pair().1.wrapping_mul(u64::from(self.tries) | 1) % 1000;
        let half = longest / 2;
        half + half * u32::try_from(spread).unwrap_or_default() / 1000
    }
}

#[cfg(test)]
mod tests {
    use contracts::{Currency, OrderId};

    use super::*;

    fn tried(tries: u32) -> Intent {
        Intent::new(OrderId::mint(), Operation::Void, Money::new(1, Currency::EUR), None, tries).unwrap()
    }

    #[test]
    fn waits_twice_as_long_each_time_up_to_a_limit_and_not_all_alike() {
        for (tries, longest) in [(1, 100), (2, 200), (5, 1_600), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)] {
            let longest = Duration::from_millis(longest);
            let delays: Vec<Duration> = (0..50).map(|_| tried(tries).delay()).collect();
            assert!(delays.iter().all(|delay| (longest / 2..=longest).contains(delay)), "{tries}: {delays:?}");
            assert!(delays.iter().any(|delay| *delay != delays[0]), "{tries}: all orders wait alike");
        }
    }

    #[test]
    fn an_authorization_without_its_token_is_no_intent() {
        let amount = Money::new(1, Currency::EUR);
        assert_eq!(Intent::new(OrderId::mint(), Operation::Authorize, amount, None, 1), None);
    }
}

//! An intent: a call to the provider that is decided, stored, and not yet settled. Pure.

use std::time::Duration;

use contracts::OrderId;
use web::trace::Traceparent;

use crate::provider::{Act, Request};

/// One thing to have the provider do. Doing it twice is harmless: it is the same key.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// As the provider is asked.
    pub request: Request,
    /// How often it was taken, this time included. From the second time on the provider is asked before it is called.
    pub tries: u32,
    /// Why it waits for an operator, if it does.
    pub parked: Option<String>,
    /// What it was opened by.
    pub cause: Traceparent,
}

/// The longest pause between the first try and the second; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest pause at all.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

impl Intent {
    /// `act` for `order`, decided just now.
    pub(crate) fn new(order: OrderId, act: Act) -> Self {
        Self { request: Request::new(order, act), tries: 1, parked: None, cause: Traceparent::here() }
    }

    /// The same, to be done only when an operator says so, who is told `why`.
    pub(crate) fn parked(order: OrderId, act: Act, why: String) -> Self {
        Self { parked: Some(why), ..Self::new(order, act) }
    }

    /// How long to wait before the next try: twice as long each time, and somewhere in the upper half of that so that
    /// orders which failed together do not come back together. The spread comes from the order's id, whose last bits
    /// are random.
    pub(crate) fn delay(&self) -> Duration {
        let doubled = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(self.tries.saturating_sub(1)));
        let longest = doubled.min(LONGEST_DELAY);
        let spread = self.request.order.as_uuid().as_u64_pair().1.wrapping_mul(u64::from(self.tries) | 1) % 1000;
        let half = longest / 2;
        half + half * u32::try_from(spread).unwrap_or_default() / 1000
    }
}

#[cfg(test)]
mod tests {
    use contracts::OrderId;

    use super::*;
    use crate::provider::{Operation, ProviderKey};

    fn tried(tries: u32) -> Intent {
        let order = OrderId::mint();
        let authorization = ProviderKey::of(order, Operation::Authorize);
        Intent { tries, ..Intent::new(order, Act::Void { authorization }) }
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
}

//! How soon the next batch may begin.

use std::time::{Duration, Instant};

/// How long to gather after a batch of two. It grows with the square root of what the batch had beyond its first record.
const STEP: Duration = Duration::from_millis(12);
/// The longest time between the beginnings of two batches.
const LONGEST: Duration = Duration::from_millis(250);

/// Makes batches grow under load, because a transaction costs about the same whatever is in it.
///
/// Between the beginnings of two batches lie 12 ms times the square root of what the first one had beyond one record, at
/// most 250 ms; what comes meanwhile shares the next transaction. So the time to gather is in proportion to the rate at
/// which records come (`n = rate * time` and `time = 12 ms * sqrt(n)` give `time = 144 us * rate`, rate in 1/s), and both
/// ends come out well: whatever comes alone waits for nothing, and the busier it is, the cheaper is each record. After
/// a batch that was full there is no waiting, for more is there already.
#[derive(Debug, Clone)]
pub struct Pace {
    full: usize,
    next: Instant,
}

impl Pace {
    /// At rest: the first batch may begin at once. No batch has more than `full` records.
    pub fn new(full: usize) -> Self {
        Self { full, next: Instant::now() }
    }

    /// A batch of so many records begins now.
    pub fn begin(&mut self, records: usize) {
        self.next = Instant::now() + if records < self.full { gathering(records) } else { Duration::ZERO };
    }

    /// When the next batch may begin.
    pub fn next(&self) -> Instant {
        self.next
    }
}

fn gathering(records: usize) -> Duration {
    let root = u32::try_from(records.saturating_sub(1).isqrt()).unwrap_or(u32::MAX);
    STEP.saturating_mul(root).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_a_batch_the_longer_the_next_gathers() {
        let millis: Vec<u128> = [0, 1, 2, 5, 17, 101, usize::MAX].map(|n| gathering(n).as_millis()).to_vec();
        assert_eq!(millis, [0, 0, 12, 24, 48, 120, 250]);
    }

    #[test]
    fn what_comes_alone_and_what_fills_a_batch_waits_for_nothing() {
        let mut pace = Pace::new(500);
        assert!(pace.next() <= Instant::now());
        for records in [1, 500] {
            pace.begin(records);
            assert!(pace.next() <= Instant::now());
        }
        pace.begin(499);
        assert!(pace.next() > Instant::now());
    }
}

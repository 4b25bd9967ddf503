//! How soon the next batch may begin.

use std::time::{Duration, Instant};

/// The longest time between the beginnings of two batches.
const LONGEST: Duration = Duration::from_millis(40);
/// What one record of a batch adds to it.
const PER_RECORD: Duration = Duration::from_millis(4);

/// Makes batches grow under load, because a transaction costs about the same whatever is in it.
///
/// A batch begins no sooner after the one before than that one was large: 4 ms for each of its records, 40 ms at most.
/// What comes meanwhile shares the next transaction. Whatever comes alone, or after a pause, waits for nothing.
#[derive(Debug, Clone)]
pub struct Pace {
    next: Instant,
}

impl Pace {
    /// At rest: the first batch may begin at once.
    pub fn new() -> Self {
        Self { next: Instant::now() }
    }

    /// A batch of so many records begins now.
    pub fn begin(&mut self, records: usize) {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.next = Instant::now() + PER_RECORD.saturating_mul(records).min(LONGEST);
    }

    /// When the next batch may begin.
    pub fn next(&self) -> Instant {
        self.next
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_a_batch_the_longer_the_next_gathers() {
        let mut pace = Pace::new();
        assert!(pace.next() <= Instant::now());
        let wait = |pace: &mut Pace, records| {
            let begun = Instant::now();
            pace.begin(records);
            pace.next() - begun
        };
        assert!(wait(&mut pace, 1) < 2 * PER_RECORD);
        assert!(wait(&mut pace, 3) >= 3 * PER_RECORD);
        assert!(wait(&mut pace, usize::MAX) < 2 * LONGEST);
    }
}

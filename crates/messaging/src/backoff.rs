//! How long to wait before trying again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double up to a limit, with jitter, so that those who failed together do not come back together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    longest_next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { longest_next: FIRST }
    }

    /// The next wait: between half of what it is now and all of it.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let top = self.longest_next;
        self.longest_next = (top * 2).min(LONGEST);
        rand::random_range(top / 2..=top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_the_limit() {
        let mut backoff = Backoff::new();
        let first = backoff.next_wait();
        assert!(first >= FIRST / 2 && first <= FIRST);
        let waits: Vec<Duration> = (0..20).map(|_| backoff.next_wait()).collect();
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits[19] >= LONGEST / 2);
    }
}

//! Whether a relay or a consumer is well, for whoever tells whether the process is ready.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Beats while something is well. Whoever looks decides how long it may be silent: one that is interrupted for a moment, or
/// slow once, is none the worse for it. Clones are the same.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    made: Instant,
    /// The last beat: milliseconds since `made`, and one; 0 before the first.
    beat: AtomicU64,
    waits: AtomicBool,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It does its work, or would if there were some.
    Works,
    /// It is well, and another does the work.
    StandsBy,
    /// It has not been well for too long, or never yet.
    Silent,
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

impl Pulse {
    /// One that has not beaten yet.
    pub fn new() -> Self {
        Self(Arc::new(Inner { made: Instant::now(), beat: AtomicU64::new(0), waits: AtomicBool::new(false) }))
    }

    /// It is well, and works.
    pub fn works(&self) {
        self.beat(false);
    }

    /// It is well, and another does the work.
    pub fn stands_by(&self) {
        self.beat(true);
    }

    /// How it is, if it may be silent for so long.
    pub fn condition(&self, silence: Duration) -> Condition {
        let beat = self.0.beat.load(Ordering::Acquire);
        let since = self.now().saturating_sub(beat);
        if beat == 0 || u128::from(since) > silence.as_millis() {
            Condition::Silent
        } else if self.0.waits.load(Ordering::Relaxed) {
            Condition::StandsBy
        } else {
            Condition::Works
        }
    }

    fn beat(&self, waits: bool) {
        self.0.waits.store(waits, Ordering::Relaxed);
        self.0.beat.store(self.now(), Ordering::Release);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.made.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_well_or_not_for_long_is_silent() {
        let pulse = Pulse::new();
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(600));
        assert_eq!(pulse.condition(long), Condition::Silent);
        pulse.works();
        assert_eq!(pulse.condition(long), Condition::Works);
        pulse.clone().stands_by();
        assert_eq!(pulse.condition(long), Condition::StandsBy);
        std::thread::sleep(2 * short);
        assert_eq!(pulse.condition(short), Condition::Silent);
        assert_eq!(pulse.condition(long), Condition::StandsBy);
    }
}

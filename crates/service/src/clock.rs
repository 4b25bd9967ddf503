//! The only source of the time. Domain code takes `now` as an argument; what calls it asks a [`Clock`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

/// Tells the time: the system's, or one that stands still until a test moves it. Clones tell the same time.
///
/// Unit: whole microseconds, rounded down, for that is what Postgres keeps. So a value that was stored and read back
/// equals the one in memory.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    /// Microseconds since the Unix epoch.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock for tests that says `now` until it is moved.
    pub fn fixed(now: Timestamp) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(now.as_microsecond()))))
    }

    /// The time, in whole microseconds.
    pub fn now(&self) -> Timestamp {
        let micros = match &self.0 {
            Source::System => system_now().as_microsecond(),
            Source::Fixed(micros) => micros.load(Ordering::SeqCst),
        };
        Timestamp::from_microsecond(micros).expect("the number came from a timestamp")
    }

    /// Sets a fixed clock, and all its clones, to `now`.
    ///
    /// # Panics
    /// If this is the system's clock.
    pub fn set(&self, now: Timestamp) {
        self.micros().store(now.as_microsecond(), Ordering::SeqCst);
    }

    /// Moves a fixed clock, and all its clones, forward. Less than a microsecond is nothing.
    ///
    /// # Panics
    /// If this is the system's clock, or past the year 9999.
    pub fn advance(&self, by: Duration) {
        let later = |micros| {
            let step = i64::try_from(by.as_micros()).ok()?;
            let micros = i64::checked_add(micros, step)?;
            Timestamp::from_microsecond(micros).is_ok().then_some(micros)
        };
        let moved = self.micros().fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
        assert!(moved.is_ok(), "a clock cannot go past the year 9999");
    }

    fn micros(&self) -> &AtomicI64 {
        match &self.0 {
            Source::System => panic!("only a fixed clock can be moved"),
            Source::Fixed(micros) => micros,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock everybody else asks")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_time_has_whole_microseconds_rounded_down() {
        let clock = Clock::fixed(at("2026-03-01T12:00:00.123456789Z"));
        assert_eq!(clock.now(), at("2026-03-01T12:00:00.123456Z"));
        let before = system_now();
        let now = Clock::system().now();
        assert_eq!(now.as_nanosecond() % 1000, 0);
        assert!(before.as_microsecond() <= now.as_microsecond() && now <= system_now());
    }

    #[test]
    fn a_fixed_clock_moves_with_all_its_clones() {
        let clock = Clock::fixed(at("2026-03-01T12:00:00Z"));
        let clone = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clone.now(), at("2026-03-01T12:00:01.5Z"));
        clone.set(at("2026-01-01T00:00:00Z"));
        assert_eq!(clock.now(), at("2026-01-01T00:00:00Z"));
    }

    #[test]
    #[should_panic(expected = "only a fixed clock can be moved")]
    fn the_systems_clock_cannot_be_moved() {
        Clock::system().advance(Duration::from_secs(1));
    }

    #[test]
    #[should_panic(expected = "past the year 9999")]
    fn no_clock_goes_past_the_last_year() {
        Clock::fixed(Timestamp::MAX).advance(Duration::from_secs(1));
    }
}

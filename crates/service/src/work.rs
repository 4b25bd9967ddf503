//! Work at a database that goes on for too long.
//!
//! A peer that vanishes without a word, with its machine or behind a firewall that has forgotten the connection, is waited
//! for by the system for a quarter of an hour, or for ever: the client of PostgreSQL has no limit for an answer, and that of
//! MongoDB gives up only when its server as a whole is silent. Nor would it do to give up the one statement: its connection would wait on, and block a place in the pool.
//! So what takes longer than any transaction can ends its task, and with it the process, which is started again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

/// The limit, if nothing else is said: what a transaction may take, and half of that. Unit: seconds.
const USUAL_S: u32 = 90;

/// How long work at the database may take.
#[derive(Debug, Clone, clap::Args)]
pub struct WorkLimit {
    /// How long one batch or one look may take at the database, in seconds. What takes longer has lost its database without
    /// a word, and ends the process, to be started again. A transaction may take 60 s.
    #[arg(long, env, default_value_t = USUAL_S, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub work_timeout_s: u32,
}

impl Default for WorkLimit {
    fn default() -> Self {
        Self { work_timeout_s: USUAL_S }
    }
}

impl WorkLimit {
    /// The limit.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.work_timeout_s.into())
    }

    /// The work of the loop `name`.
    pub fn work(&self, name: &'static str) -> Work {
        Work::new(name, self.duration())
    }
}

/// The work of one loop, a unit at a time. Clones are the same.
#[derive(Debug, Clone)]
pub struct Work {
    name: &'static str,
    limit: Duration,
    /// When the unit at hand was begun.
    since: Arc<Mutex<Option<Instant>>>,
}

/// A unit of work took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name}: the database was waited for for more than {} s, it has gone without a word", limit.as_secs_f32())]
pub struct Stuck {
    name: &'static str,
    limit: Duration,
}

impl Work {
    /// That of the loop `name`, of which no unit may take longer than `limit`.
    pub fn new(name: &'static str, limit: Duration) -> Self {
        Self { name, limit, since: Arc::default() }
    }

    /// Does one unit.
    ///
    /// # Errors
    /// [`Stuck`] if it takes longer than the limit. Whether it had an effect is not known.
    pub async fn unit<T>(&self, unit: impl Future<Output = T>) -> Result<T, Stuck> {
        *self.since() = Some(Instant::now());
        let _at_hand = AtHand(self);
        timeout(self.limit, unit).await.map_err(|_| Stuck { name: self.name, limit: self.limit })
    }

    /// The loop.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the unit at hand, if there is one, was begun so long ago.
    pub fn is_at_it_for(&self, long: Duration) -> bool {
        self.since().is_some_and(|since| since.elapsed() > long)
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped, it says that the unit is done, or given up.
struct AtHand<'a>(&'a Work);

impl Drop for AtHand<'_> {
    fn drop(&mut self) {
        *self.0.since() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_never_ends_is_seen_and_then_given_up() {
        let work = Work::new("committer", Duration::from_secs(90));
        assert!(!work.is_at_it_for(Duration::ZERO), "nothing is at hand");
        let watched = work.clone();
        let watch = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            watched.is_at_it_for(Duration::from_secs(15))
        };
        let (given_up, seen) = tokio::join!(work.unit(pending::<()>()), watch);
        assert!(seen);
        let given_up = given_up.unwrap_err();
        assert_eq!(
            given_up.to_string(),
            "committer: the database was waited for for more than 90 s, it has gone without a word"
        );
        assert!(!work.is_at_it_for(Duration::ZERO));
        assert_eq!(work.unit(async { 7 }).await, Ok(7));
    }
}

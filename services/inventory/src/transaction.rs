//! What surrounds every transaction: the time it is given, how it is given up, and how often it is tried.

use std::time::Duration;

use jiff::Timestamp;
use messaging::mongo::Transaction;
use service::clock::Clock;
use tokio::time::Instant;

/// After so long something else is wrong: a consumer backs off, a client is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first pause is shorter than this; the bound doubles with each try, [`DOUBLINGS_MAX`] times.
const PAUSE_MICROS: u64 = 1_000;
const DOUBLINGS_MAX: u32 = 6;

/// The time in whole milliseconds, for that is what MongoDB keeps: an answer sent again must have the time it had.
pub(crate) fn now(clock: &Clock) -> Timestamp {
    Timestamp::from_millisecond(clock.now().as_millisecond()).expect("a time without its microseconds is a time")
}

/// Gives `tx` up and waits for that, so that the next try does not meet what this one has locked. What the server gave
/// up already cannot be given up again; that is no matter.
pub(crate) async fn abort(tx: Transaction) {
    if let Err(error) = tx.abort().await {
        tracing::debug!(%error, "A transaction was gone before it was given up.");
    }
}

/// How often a transaction was tried, and since when.
#[derive(Debug)]
pub(crate) struct Tries {
    number: u32,
    since: Instant,
}

impl Tries {
    /// It is tried for the first time.
    pub(crate) fn first() -> Self {
        Self { number: 1, since: Instant::now() }
    }

    /// Waits for a random while, so that two who collided do not collide again. False once it was tried for too long.
    pub(crate) async fn again(&mut self) -> bool {
        if self.since.elapsed() > PATIENCE {
            return false;
        }
        let longest = PAUSE_MICROS << self.number.min(DOUBLINGS_MAX);
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..longest))).await;
        self.number += 1;
        true
    }
}

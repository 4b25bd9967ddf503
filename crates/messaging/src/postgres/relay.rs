//! Sends what is put into the outbox, by reading the database's own log.
//!
//! A transaction appears in the log when it commits, whole, and in the order of the commits; one that rolls back never
//! does. The relay produces everything that is waiting, at once, and tells the database how far it has come: whole
//! commits only, some seconds after the broker's acknowledgement. After a crash, a lost connection or a failed delivery
//! it begins again where it last confirmed, so a message may be sent more than once; the receiver's inbox knows its id.
//!
//! The replication slot belongs to one reader at a time, so of several replicas of a service one relays and the others
//! wait for their turn.
//!
//! **When the slot is gone** (dropped, given up by the database because it kept too much of the log, made anew by
//! somebody else, or never made), a new one is made, and whoever gets to read it first sends all messages that the outbox
//! still has, in their order, and only then the log. It never goes on from the present. What was sent before is sent
//! again, and the inboxes drop it.

mod connection;
mod error;
mod hearing;
mod rescan;
mod slot;
mod stream;

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use self::{connection::replication_config, error::StreamError, slot::State, stream::stream};
use super::measure::keep_measuring;
pub use super::relay_config::RelayConfig;
use crate::{Broker, backoff::Backoff, broker::chain, meters::RelayMeters};

/// Between two looks whether the slot has become free.
const TAKEOVER_INTERVAL: Duration = Duration::from_millis(500);
/// A stream that lasted so long has shown that nothing is wrong for good.
const STEADY: Duration = Duration::from_secs(10);

/// Why a relay cannot work at all.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The URL names no database.
    #[error("the database URL cannot be read")]
    DatabaseUrl(#[source] sqlx::Error),
    /// The slot could not be created or looked at.
    #[error("the replication slot {slot} cannot be prepared")]
    Slot {
        /// The slot.
        slot: String,
        /// What the database says.
        #[source]
        source: sqlx::Error,
    },
    /// A slot of that name reads another database.
    #[error("the replication slot {slot} belongs to another database: choose another name")]
    ForeignSlot {
        /// The slot.
        slot: String,
    },
}

/// Creates the replication slot, if it is missing or lost. From then on the database keeps all of its log that is not
/// confirmed. Call it after the migrations: it finds out early what [`run`] could only complain about.
///
/// # Errors
/// [`RelayError::Slot`] and [`RelayError::ForeignSlot`].
pub async fn prepare(pool: &PgPool, slot: &str) -> Result<(), RelayError> {
    let failed = |source| RelayError::Slot { slot: slot.to_owned(), source };
    match slot::state(pool, slot).await.map_err(failed)? {
        State::Missing | State::Lost => slot::create(pool, slot).await.map_err(failed),
        State::Foreign => Err(RelayError::ForeignSlot { slot: slot.to_owned() }),
        State::Busy | State::Free => Ok(()),
    }
}

/// Relays until `stop`. Whatever goes wrong is logged and tried again with back-off.
///
/// A question to the database that is not answered in time is given up. So `pool` must give up the connection, too: see the
/// README, "What you must do".
///
/// # Errors
/// [`RelayError::DatabaseUrl`], at once; [`RelayError::ForeignSlot`].
pub async fn run(config: RelayConfig, pool: PgPool, broker: Broker, stop: CancellationToken) -> Result<(), RelayError> {
    let meters = RelayMeters::of(&config.source);
    tokio::select! {
        ended = relay(&config, &pool, &broker, &meters, &stop) => ended,
        never = keep_measuring(&pool, &config.slot, &meters) => match never {},
    }
}

async fn relay(
    config: &RelayConfig,
    pool: &PgPool,
    broker: &Broker,
    meters: &RelayMeters,
    stop: &CancellationToken,
) -> Result<(), RelayError> {
    let replication = replication_config(config)?;
    let slot = config.slot.as_str();
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() {
        let began = Instant::now();
        // Looked at first, because the failed attempt of a waiting replica would be an error in the logs of both sides.
        let ended = match slot::state(pool, slot).await {
            Ok(State::Free) => stream(replication.clone(), config, pool, broker, meters, stop).await,
            Ok(State::Busy) => Err(StreamError::SlotInUse),
            Ok(State::Missing | State::Lost) => match slot::create(pool, slot).await {
                Ok(()) => continue,
                Err(error) => Err(error.into()),
            },
            Ok(State::Foreign) => return Err(RelayError::ForeignSlot { slot: slot.to_owned() }),
            Err(error) => Err(error.into()),
        };
        if began.elapsed() > STEADY {
            backoff = Backoff::new();
        }
        let wait = match ended {
            Ok(()) => return Ok(()),
            Err(StreamError::SlotInUse) => {
                config.pulse.stands_by();
                tracing::debug!(slot, "another instance relays, waiting for its slot");
                TAKEOVER_INTERVAL
            }
            Err(error) => {
                if let StreamError::Delivery(_) = error {
                    meters.delivery_errors.increment(1);
                }
                let wait = backoff.next_wait();
                let wait_ms = wait.as_millis();
                tracing::warn!(slot, error = %chain(&error), wait_ms, "the relay was interrupted, it begins again");
                wait
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
    Ok(())
}

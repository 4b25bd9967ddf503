//! Outbox and inbox forget what is old.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bson::{Document, Timestamp, doc};
use metrics::Counter;
use mongodb::{Database, error::Result};
use tokio::time::sleep;

use super::{INBOX, OUTBOX};
use crate::{broker::chain, kept};

/// Prunes outbox and inbox now and then. `confirmed` is the server's time, in seconds since 1970, of a message that is
/// confirmed; 0 if there is none yet.
pub(super) async fn keep_pruning(db: &Database, confirmed: &AtomicU32, failures: &Counter) -> Infallible {
    loop {
        let time = confirmed.load(Ordering::Relaxed);
        if time == 0 {
            sleep(kept::FIRST_PRUNING).await;
            continue;
        }
        // What cannot be pruned today is no reason to leave the other alone.
        let (messages, ids) = (outbox(db, time, kept::OUTBOX).await, inbox(db, kept::INBOX).await);
        for (what, pruned) in [("messages of the outbox", messages), ("ids of the inbox", ids)] {
            match pruned {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "old {what} are gone"),
                Err(error) => {
                    failures.increment(1);
                    tracing::warn!(error = %chain(&error), "{what} could not be pruned");
                }
            }
        }
        sleep(kept::PRUNING_INTERVAL).await;
    }
}

/// Deletes the messages that were put in `kept`, and some, before `confirmed`, the server's time (seconds since 1970) of
/// a message that is confirmed. Gives their number.
///
/// # Errors
/// Whatever the database says.
pub async fn outbox(db: &Database, confirmed: u32, kept: Duration) -> Result<u64> {
    let before = earlier(confirmed, kept + kept::LONGEST_TRANSACTION);
    let old = doc! { "sequence": { "$lt": before } };
    Ok(db.collection::<Document>(OUTBOX).delete_many(old).await?.deleted_count)
}

/// Forgets the ids of messages taken in longer than `kept` ago, by the server's clock. Gives their number.
///
/// # Errors
/// Whatever the database says.
pub async fn inbox(db: &Database, kept: Duration) -> Result<u64> {
    let hello = db.run_command(doc! { "hello": 1 }).await?;
    let now = hello.get_datetime("localTime").map_or(0, |now| now.timestamp_millis() / 1000);
    let before = earlier(u32::try_from(now).unwrap_or(0), kept);
    let old = doc! { "at": { "$lt": before } };
    Ok(db.collection::<Document>(INBOX).delete_many(old).await?.deleted_count)
}

fn earlier(seconds: u32, by: Duration) -> Timestamp {
    let time = seconds.saturating_sub(u32::try_from(by.as_secs()).unwrap_or(u32::MAX));
    Timestamp { time, increment: 0 }
}

//! Looks now and then at what the relay's database can tell an operator.

use std::{convert::Infallible, time::Duration};

use bson::{Document, Timestamp, doc};
use metrics::gauge;
use mongodb::Database;
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    broker::chain,
    meters::{LOOK_EVERY, RelayMeters},
    mongo::parked,
};

/// Tells how far back the server's log reaches, how old the outbox is, and how many keys are parked. Three cheap commands
/// every few seconds; the first of these needs the right to read `oplog.rs` in database `local`, without which only the other is told.
pub(super) async fn keep_measuring(db: &Database, meters: &RelayMeters) -> Infallible {
    let window = gauge!("messaging_oplog_window_seconds");
    loop {
        match parked::count(db).await {
            Ok(keys) => meters.parked_keys.set(keys as f64),
            Err(error) => tracing::debug!(error = %chain(&error), "the parked keys cannot be counted"),
        }
        match now(db).await {
            Ok(Hello { local_time, last_write }) => {
                meters.tell_age(local_time.timestamp_millis().saturating_mul(1000));
                match oldest(db).await {
                    Ok(Some(oldest)) => window.set(Duration::from_secs(seconds(oldest, last_write.op_time.ts))),
                    Ok(None) => {}
                    Err(error) => tracing::debug!(error = %chain(&error), "the server's log cannot be looked at"),
                }
            }
            Err(error) => tracing::debug!(error = %chain(&error), "the server cannot be asked for the time"),
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What the server says of itself: the time by its clock, and its last write.
#[derive(Deserialize)]
struct Hello {
    #[serde(rename = "localTime")]
    local_time: bson::DateTime,
    #[serde(rename = "lastWrite")]
    last_write: LastWrite,
}

#[derive(Deserialize)]
struct LastWrite {
    #[serde(rename = "opTime")]
    op_time: Entry,
}

/// An entry of the log.
#[derive(Deserialize)]
struct Entry {
    ts: Timestamp,
}

async fn now(db: &Database) -> mongodb::error::Result<Hello> {
    let hello: Document = db.run_command(doc! { "hello": 1 }).await?;
    Ok(bson::deserialize_from_document(hello)?)
}

/// The time of the oldest entry that the log still has.
async fn oldest(db: &Database) -> mongodb::error::Result<Option<Timestamp>> {
    let log = db.client().database("local").collection::<Entry>("oplog.rs");
    let first = log.find_one(doc! {}).sort(doc! { "$natural": 1 }).projection(doc! { "ts": 1, "_id": 0 }).await?;
    Ok(first.map(|entry| entry.ts))
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::from(to.time.saturating_sub(from.time))
}

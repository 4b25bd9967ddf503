//! The parts that live in MongoDB: collections `outbox`, `inbox`, `consumer_offset`,
//! `parked_message` and `relay`.
//!
//! Every write of a message's effect goes through a [`Transaction`], which owns its session: an operation without the
//! session would silently run outside the transaction.

pub mod inbox;
mod offsets;
pub mod outbox;
pub mod parked;
pub mod prune;
pub mod relay;
mod transaction;
mod update;

use bson::{Document, doc};
use mongodb::{
    Database, IndexModel,
    error::{Error, ErrorKind, Result},
    options::{Acknowledgment, WriteConcern},
};

pub use offsets::Offsets;
pub use transaction::Transaction;
pub use update::{Statement, StatementRefused};

const OUTBOX: &str = "outbox";
const INBOX: &str = "inbox";
const CONSUMER_OFFSET: &str = "consumer_offset";
const PARKED: &str = "parked_message";
const RELAY: &str = "relay";

/// Server codes, from MongoDB's `error_codes.yml`.
const NAMESPACE_EXISTS: i32 = 48;

/// Creates what `messaging` needs in `db`, unless it is there. Call it before the service accepts work: a transaction
/// cannot create collections reliably.
///
/// # Errors
/// Whatever the database says.
pub async fn prepare(db: &Database) -> Result<()> {
    for collection in [OUTBOX, INBOX, CONSUMER_OFFSET, PARKED, RELAY] {
        match db.create_collection(collection).write_concern(durable()).await {
            Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => {}
            other => other?,
        }
    }
    // For the relay, when it has to send again what is there.
    let by_sequence = IndexModel::builder().keys(doc! { "sequence": 1 }).build();
    db.collection::<Document>(OUTBOX).create_index(by_sequence).await?;
    // For the forgetting of old ids.
    let by_time = IndexModel::builder().keys(doc! { "at": 1 }).build();
    db.collection::<Document>(INBOX).create_index(by_time).await?;
    let by_key = IndexModel::builder().keys(doc! { "topic": 1, "key": 1, "at": 1 }).build();
    db.collection::<Document>(PARKED).create_index(by_key).await?;
    relay::create_position(db).await
}

/// Whether the database's primary answers.
pub async fn answers(db: Database) -> bool {
    db.run_command(doc! { "ping": 1 }).await.is_ok()
}

/// Acknowledged by a majority, and in the journal there.
fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}

/// The server's code for what went wrong with a whole command.
fn code(error: &Error) -> Option<i32> {
    if let ErrorKind::Command(command) = error.kind.as_ref() { Some(command.code) } else { None }
}

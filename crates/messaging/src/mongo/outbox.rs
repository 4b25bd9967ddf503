//! Messages leave by being inserted in the transaction that caused them.

use std::borrow::Cow;

use bson::Timestamp;
use mongodb::{
    ClientSession, Database,
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};

use super::OUTBOX;
use crate::Outgoing;

/// The server replaces it, in a field of the document itself, by its own ever-growing time when it inserts.
pub(super) const FILLED_BY_SERVER: Timestamp = Timestamp { time: 0, increment: 0 };

/// A document of the outbox. Append-only: the relay reads the database's log, not the collection; the documents are
/// kept so that a lost position or a lost topic can be sent again.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored<'a> {
    /// The message id.
    #[serde(rename = "_id")]
    pub(super) id: bson::Uuid,
    /// Taken while what the message tells of is locked by the same transaction's writes, so the messages of one key
    /// are numbered in the order of their commits.
    pub(super) sequence: Timestamp,
    #[serde(borrow)]
    pub(super) topic: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) payload: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<Cow<'a, str>>,
}

/// Puts `messages` into the outbox, in their order. They leave when, and only when, the transaction of `session`
/// commits. Call it after the transaction has written what the messages tell of: that is what orders them.
///
/// # Errors
/// Whatever the database says; [`TooLarge`](crate::TooLarge) as a custom error if a message could not leave.
pub async fn put(session: &mut ClientSession, db: &Database, messages: &[Outgoing]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    messages.iter().try_for_each(Outgoing::check_size).map_err(Error::custom)?;
    let documents = messages.iter().map(|message| Stored {
        id: message.id.into(),
        sequence: FILLED_BY_SERVER,
        topic: message.topic.into(),
        key: message.key.as_str().into(),
        kind: message.kind.into(),
        payload: message.payload.as_str().into(),
        traceparent: message.traceparent.as_deref().map(Cow::from),
    });
    db.collection::<Stored<'_>>(OUTBOX).insert_many(documents).session(session).await?;
    Ok(())
}

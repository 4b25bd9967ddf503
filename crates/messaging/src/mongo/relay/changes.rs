//! The change stream of the outbox, one reply of the server at a time.
//!
//! Each reply holds all that was waiting and the token to go on with after it, so the driver's own iterator, which
//! hands out single events and resumes by itself, is of no use here: after any error the relay starts again from the
//! stored token.

use std::{borrow::Cow, time::Duration};

use bson::{Document, Timestamp, doc};
use futures::StreamExt;
use mongodb::{
    Database,
    options::ReadConcern,
    raw_batch_cursor::{RawBatch, RawBatchCursor},
};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Interruption, RelayError};
use crate::{
    mongo::{OUTBOX, code, outbox::Stored},
    producer::Committed,
};

/// How long the server waits for news before it answers with none. A bound on how old the token of an idle outbox
/// gets, not on how fast a message is seen.
const PATIENCE: Duration = Duration::from_secs(1);
/// A server that has not even answered with nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(10);
/// The most messages of one reply: bounds memory, far above what a busy outbox commits between two replies.
const MAX_MESSAGES: u32 = 1_000;

/// Server codes that say that the log no longer has, or never had, what a token names: `InvalidResumeToken`,
/// `ChangeStreamFatalError`, `ChangeStreamHistoryLost`; and of a stream that was open while its place fell out of the log,
/// `CappedPositionLost`.
const LOST: [i32; 4] = [260, 280, 286, 136];

/// Where the stream begins.
pub(super) enum Begin {
    /// At this time of the server.
    At(Timestamp),
    /// After what this token names.
    After(Document),
}

/// All that was waiting.
pub(super) struct News {
    pub(super) messages: Vec<Committed>,
    /// Go on after this once they are delivered.
    pub(super) token: Document,
    /// The server's time of the last message, if there is one, in seconds since 1970.
    pub(super) time: Option<u32>,
}

/// The open stream. Dropping [`next`](Self::next) half-way loses nothing: the cursor keeps the request in flight.
pub(super) struct Changes {
    cursor: RawBatchCursor,
    /// Since when an answer is due.
    asked: Option<Instant>,
}

impl Changes {
    pub(super) async fn open(db: &Database, begin: Begin) -> Result<Self, Interruption> {
        let from = match begin {
            Begin::At(time) => doc! { "startAtOperationTime": time },
            Begin::After(token) => doc! { "resumeAfter": token },
        };
        let stream = [
            doc! { "$changeStream": from },
            doc! { "$match": { "operationType": "insert" } },
            doc! { "$project": { "fullDocument": 1 } },
        ];
        let cursor = db
            .collection::<Document>(OUTBOX)
            .aggregate(stream)
            .read_concern(ReadConcern::majority())
            .batch_size(MAX_MESSAGES)
            .max_await_time(PATIENCE)
            .batch()
            .await
            .map_err(lost_or_interrupted)?;
        Ok(Self { cursor, asked: None })
    }

    pub(super) async fn next(&mut self) -> Result<News, Interruption> {
        let asked = *self.asked.get_or_insert_with(Instant::now);
        let reply = tokio::time::timeout_at(asked + SILENCE, self.cursor.next()).await;
        self.asked = None;
        let reply = reply
            .map_err(|_elapsed| Interruption::Silence)?
            .ok_or(RelayError::OutboxGone)?
            .map_err(lost_or_interrupted)?;
        Ok(read(&reply).map_err(RelayError::Unreadable)?)
    }
}

fn read(reply: &RawBatch) -> Result<News, bson::error::Error> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow)]
        cursor: Cursor<'a>,
    }
    #[derive(Deserialize)]
    struct Cursor<'a> {
        #[serde(borrow, rename = "firstBatch", alias = "nextBatch")]
        batch: Vec<Insert<'a>>,
        #[serde(rename = "postBatchResumeToken")]
        token: Document,
    }
    #[derive(Deserialize)]
    struct Insert<'a> {
        #[serde(borrow, rename = "fullDocument")]
        document: Stored<'a>,
    }
    let Reply { cursor } = bson::deserialize_from_slice(reply.as_raw_document().as_bytes())?;
    let time = cursor.batch.iter().map(|insert| insert.document.sequence.time).max();
    Ok(News {
        time,
        messages: cursor.batch.into_iter().map(|insert| insert.document.into()).collect(),
        token: cursor.token,
    })
}

impl From<Stored<'_>> for Committed {
    fn from(stored: Stored<'_>) -> Self {
        Self {
            id: stored.id.into(),
            topic: stored.topic.into_owned(),
            key: stored.key.into_owned(),
            kind: stored.kind.into_owned(),
            payload: stored.payload.into_owned(),
            traceparent: stored.traceparent.map(Cow::into_owned),
        }
    }
}

fn lost_or_interrupted(error: mongodb::error::Error) -> Interruption {
    if code(&error).is_some_and(|code| LOST.contains(&code)) {
        Interruption::TokenLost(error)
    } else {
        Interruption::Database(error)
    }
}

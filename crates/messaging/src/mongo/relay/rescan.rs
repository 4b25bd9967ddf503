//! Reads what the outbox still has, when the log cannot be trusted to have it.
//!
//! A message's `sequence` is the server's time when it was inserted, behind all that its transaction had locked before;
//! so of two messages of one key the later has a sequence behind the commit of the earlier. The change stream begins at
//! a time T that a majority knows to be past. What has committed by T can be read; what commits later is in the stream.
//! Read are the messages with a sequence up to T, in its order, page by page: the earlier ones of their keys had
//! committed before that, so none can appear between two pages, and none is overtaken.

use bson::{Document, RawDocumentBuf, Timestamp, doc};
use futures::{FutureExt, future::BoxFuture};
use mongodb::Database;
use serde::Deserialize;

use super::{Interruption, RelayError};
use crate::{
    mongo::{OUTBOX, outbox::Stored},
    producer::Committed,
};

const PAGE: i32 = 1_000;

/// The reading of all messages up to a time.
pub(super) struct Rescan {
    db: Database,
    /// The sequence of the last one that was read.
    after: Timestamp,
    upto: Timestamp,
    /// The page that was asked for, kept here because whoever asks may be interrupted.
    page: Option<BoxFuture<'static, Result<Page, Interruption>>>,
}

struct Page {
    messages: Vec<Committed>,
    /// The sequence of the last one; nothing behind the last page.
    last: Option<Timestamp>,
}

impl Rescan {
    /// From the oldest message to those of time `upto`.
    pub(super) fn upto(db: &Database, upto: Timestamp) -> Self {
        Self { db: db.clone(), after: Timestamp { time: 0, increment: 0 }, upto, page: None }
    }

    /// The next messages; none behind the last. Dropping the call half-way loses nothing.
    pub(super) async fn next(&mut self) -> Result<Vec<Committed>, Interruption> {
        let Self { db, after, upto, page } = self;
        let page = page.get_or_insert_with(|| read(db.clone(), *after, *upto).boxed());
        let read = page.await;
        self.page = None;
        let Page { messages, last } = read?;
        self.after = last.unwrap_or(self.upto);
        Ok(messages)
    }
}

async fn read(db: Database, after: Timestamp, upto: Timestamp) -> Result<Page, Interruption> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow)]
        cursor: Cursor<'a>,
    }
    #[derive(Deserialize)]
    struct Cursor<'a> {
        #[serde(borrow, rename = "firstBatch")]
        batch: Vec<Stored<'a>>,
    }
    let find = doc! {
        "find": OUTBOX,
        "filter": { "sequence": { "$gt": after, "$lte": upto } },
        "sort": { "sequence": 1 },
        "limit": PAGE,
        "batchSize": PAGE,
        "singleBatch": true,
        // A primary that was elected since then may have to catch up first.
        "readConcern": { "level": "majority", "afterClusterTime": upto },
    };
    let reply: Document = db.run_command(find).await?;
    let reply = RawDocumentBuf::try_from(&reply).map_err(RelayError::Unreadable)?;
    let Reply { cursor } = bson::deserialize_from_slice(reply.as_bytes()).map_err(RelayError::Unreadable)?;
    let last = cursor.batch.last().map(|stored| stored.sequence);
    Ok(Page { messages: cursor.batch.into_iter().map(Committed::from).collect(), last })
}

//! Whether the database still has the connection over which its log is read.
//!
//! A connection of which one side vanished without a word, as when a firewall forgets it, says nothing for ever. Neither
//! does one that is well: the database asks for a sign of life only if it has heard nothing from us for half of
//! `wal_sender_timeout`, and it hears from us all the time; and while it reads through what others have written, be it for
//! minutes, nothing of that is for us: measured, 20 s for 11 million rows. So silence alone is no reason to begin again:
//! that reading would begin again, too, each time. But the database gives up a reader of which it hears nothing, and
//! whoever asks it learns so. A relay that reads nothing, because its broker has no room, asks just as well: another may
//! have its place.

use std::time::{Duration, Instant};

use pgwire_replication::{PgWireError, ReplicationClient};
use sqlx::PgPool;
use tokio::time::timeout;

use super::{error::StreamError, slot};

/// After so much silence the database is asked over another connection. It costs a short query each time, and a relay that
/// was given up notices so much later.
const SILENCE: Duration = Duration::from_secs(2);
/// How long the answer may take: nothing is read or sent meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take until the slot is ours, or another's. A connection that is lost on the way there is silent, too.
const BEGINNING: Duration = Duration::from_secs(15);

/// What is known of the other side.
pub(super) struct Hearing {
    /// The process of the database that reads the log for us.
    reader: i32,
    /// When something last came from it, or it was asked for.
    heard: Instant,
}

impl Hearing {
    /// Starts to read, with a client that is connected and has not started.
    pub(super) async fn begin(client: &mut ReplicationClient) -> Result<Self, StreamError> {
        let begun = async {
            let rows = client.simple_query("select pg_backend_pid()").await?;
            let reader = rows.first().and_then(|row| str::from_utf8(row.first()?.as_deref()?).ok()?.parse().ok());
            let reader = reader.ok_or_else(|| PgWireError::Protocol("a process without a number".into()))?;
            client.start().await?;
            client.wait_started().await?;
            Ok(Self { reader, heard: Instant::now() })
        };
        timeout(BEGINNING, begun).await.unwrap_or(Err(StreamError::Silent))
    }

    /// Something came.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Whether all is well, as far as is known.
    ///
    /// # Errors
    /// [`StreamError::Unheard`]: nothing will come any more.
    pub(super) async fn is_well(&mut self, pool: &PgPool, slot: &str) -> Result<bool, StreamError> {
        if self.heard.elapsed() < SILENCE {
            return Ok(true);
        }
        match timeout(PATIENCE, slot::reader(pool, slot)).await {
            Ok(Ok(reader)) if reader == Some(self.reader) => {
                tracing::debug!(slot, "the log is silent, and the database still reads it for us");
                self.heard();
                Ok(true)
            }
            Ok(Ok(_another_or_none)) => Err(StreamError::Unheard),
            // Whether anything is wrong with the log is not known, and to begin again takes the same database.
            Ok(Err(error)) => {
                tracing::debug!(slot, %error, "the log is silent, and the database cannot be asked");
                Ok(false)
            }
            Err(_elapsed) => {
                tracing::debug!(slot, "the log is silent, and so is the database");
                Ok(false)
            }
        }
    }
}

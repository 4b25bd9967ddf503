//! Sends what the outbox still has, when the log cannot be trusted to have it.

use futures::TryStreamExt as _;
use pgwire_replication::Lsn;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    error::StreamError,
    stream::{BATCH, Stream},
};
use crate::{postgres::visible::until_all_have_ended, producer::Committed};

/// A row of the outbox.
#[derive(FromRow)]
struct Row {
    id: Uuid,
    topic: String,
    key: String,
    kind: String,
    payload: String,
    traceparent: Option<String>,
}

impl Stream {
    /// Sends the retained messages in their order, to be confirmed as what the log had up to `begin`, where the slot
    /// begins. The slot is ours and nothing of it has been sent yet.
    ///
    /// Nothing falls between: what had committed by `begin` is visible once all transactions of that moment have ended,
    /// and what commits later is in the log. One statement reads all rows as they were at one moment, so a message that
    /// is seen comes behind all earlier ones of its key.
    pub(super) async fn rescan(&mut self, begin: Lsn) -> Result<(), StreamError> {
        let pool = self.pool.clone();
        until_all_have_ended(&pool).await?;
        let mut tx = pool.begin().await?;
        // A large outbox takes its time.
        let no_hurry = "-- rescan: no hurry
             select set_config('statement_timeout', '0', true), set_config('transaction_timeout', '0', true)";
        sqlx::query(no_hurry).execute(&mut *tx).await?;
        let mut rows = sqlx::query_as::<_, Row>(
            "-- rescan
             select id, topic, key, kind, payload, traceparent from outbox order by sequence",
        )
        .fetch(&mut *tx)
        .try_chunks(BATCH);
        let mut count = 0_usize;
        while let Some(chunk) = rows.try_next().await.map_err(|error| error.1)? {
            let messages: Vec<Committed> = chunk.into_iter().map(Committed::from).collect();
            count += messages.len();
            self.pulse.works();
            self.hand_over(messages, None);
            while !self.has_room() {
                self.acknowledge_oldest().await?;
            }
        }
        self.hand_over(Vec::new(), Some(begin));
        if count > 0 {
            self.meters.rescans.increment(1);
            let slot = self.slot();
            tracing::warn!(
                slot,
                messages = count,
                "slot or generation are new: all retained messages are sent again, ahead of the log"
            );
        }
        Ok(())
    }
}

impl From<Row> for Committed {
    fn from(row: Row) -> Self {
        let Row { id, topic, key, kind, payload, traceparent } = row;
        Self { id, topic, key, kind, payload, traceparent }
    }
}

//! A transaction that owns its session, so that no operation can forget it.

use std::time::Duration;

use bson::Document;
use mongodb::{
    ClientSession, Database,
    error::{Error, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::ReadConcern,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{Statement, durable, inbox, outbox, update};
use crate::{Batch, HandleError, Outgoing, Record};

/// For how long a commit of unknown outcome is asked again.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);
/// Between two such questions.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// An open transaction: reads from one snapshot, commits to a majority and its journal. Dropped without
/// [`commit`](Self::commit) it is rolled back.
///
/// After an error of the database nothing but dropping it makes sense; errors keep their labels, so that a caller can
/// tell a write conflict (`TransientTransactionError`) and try the whole again.
#[derive(Debug)]
pub struct Transaction {
    session: ClientSession,
    db: Database,
}

impl Transaction {
    /// Opens one on `db`.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn begin(db: &Database) -> mongodb::error::Result<Self> {
        let mut session = db.client().start_session().await?;
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(durable())
            .max_commit_time(COMMIT_PATIENCE)
            .await?;
        Ok(Self { session, db: db.clone() })
    }

    /// Takes a batch in: see [`inbox::accept`].
    ///
    /// # Errors
    /// [`HandleError::Fenced`] if an offset is not where the batch began.
    pub async fn accept<'b>(&mut self, batch: &'b Batch) -> Result<Vec<&'b Record>, HandleError> {
        inbox::accept(&mut self.session, &self.db, batch).await
    }

    /// Puts messages into the outbox: see [`outbox::put`].
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn put(&mut self, messages: &[Outgoing]) -> mongodb::error::Result<()> {
        outbox::put(&mut self.session, &self.db, messages).await
    }

    /// All documents of `collection` that match.
    ///
    /// # Errors
    /// Whatever the database says, or a document that is no `T`.
    pub async fn find<T: DeserializeOwned + Send + Sync>(
        &mut self,
        collection: &str,
        filter: Document,
    ) -> mongodb::error::Result<Vec<T>> {
        let mut cursor = self.db.collection::<T>(collection).find(filter).session(&mut self.session).await?;
        let mut found = Vec::new();
        while let Some(document) = cursor.next(&mut self.session).await.transpose()? {
            found.push(document);
        }
        Ok(found)
    }

    /// Inserts `documents`. One that is there already spoils the whole transaction: look first.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn insert<T: Serialize + Send + Sync>(
        &mut self,
        collection: &str,
        documents: &[T],
    ) -> mongodb::error::Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        self.db.collection::<T>(collection).insert_many(documents).session(&mut self.session).await?;
        Ok(())
    }

    /// Runs `statements` in one command and says how many documents matched or were inserted.
    ///
    /// # Errors
    /// Whatever the database says; [`StatementRefused`](super::StatementRefused) as a custom error.
    pub async fn update(&mut self, collection: &str, statements: &[Statement]) -> mongodb::error::Result<u64> {
        update::run(Some(&mut self.session), &self.db, collection, statements).await
    }

    /// The session and its database, for what has no method here. Give the session to every operation.
    pub fn parts(&mut self) -> (&mut ClientSession, &Database) {
        (&mut self.session, &self.db)
    }

    /// Commits. An unknown outcome is asked again for some seconds, which is safe: the server knows this transaction.
    ///
    /// # Errors
    /// The transaction is not done; or, with label `UnknownTransactionCommitResult`, it may be.
    pub async fn commit(mut self) -> mongodb::error::Result<()> {
        let deadline = Instant::now() + COMMIT_PATIENCE;
        loop {
            match self.session.commit_transaction().await {
                Err(error) if is_unknown(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(COMMIT_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Rolls back and waits until it is done, so that a next try does not meet the locks of this one.
    ///
    /// # Errors
    /// Whatever the database says; the transaction is gone all the same.
    pub async fn abort(mut self) -> mongodb::error::Result<()> {
        self.session.abort_transaction().await
    }
}

fn is_unknown(error: &Error) -> bool {
    error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
}

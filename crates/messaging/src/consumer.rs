//! Reads topics in batches and hands each to a [`Handler`], whose one transaction holds the effect and the offsets.

use std::collections::HashMap;

use crate::{Batch, Undecodable};

/// Any error, as far as a consumer cares.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a batch does. One call is one transaction: inbox, offsets, effect, outbox, commit.
pub trait Handler: Send + Sync + 'static {
    /// Does all of `batch`, or nothing.
    fn handle(&self, batch: &Batch) -> impl Future<Output = Result<(), HandleError>> + Send;
}

/// Where the next offsets are kept: the consumer's own database.
pub trait Offsets: Send + Sync + 'static {
    /// The next offset to read of each of `partitions` of `topic`. One that has none yet gets 0.
    fn load(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> impl Future<Output = Result<HashMap<i32, i64>, BoxError>> + Send;
}

/// Why a batch was not done. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Another instance has moved the offsets: this one has lost the partition, or the batch was done already. Normal
    /// after a rebalance: reload the offsets, seek, go on.
    #[error("another instance has moved the offsets")]
    Fenced,
    /// A message that no retry will make acceptable: unreadable, of unknown version, or an impossible transition.
    #[error("a message is at fault")]
    Message(#[source] BoxError),
    /// The fault is ours or our database's: the whole batch is tried again.
    #[error("the batch could not be done")]
    Ours(#[source] BoxError),
}

impl From<Undecodable> for HandleError {
    fn from(error: Undecodable) -> Self {
        Self::Message(error.into())
    }
}

impl From<sqlx::Error> for HandleError {
    /// Data exceptions (SQLSTATE 22) and broken constraints (23) are the message's fault, all else is ours.
    fn from(error: sqlx::Error) -> Self {
        let state = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        match state {
            Some(state) if state.starts_with("22") || state.starts_with("23") => Self::Message(error.into()),
            _ => Self::Ours(error.into()),
        }
    }
}

impl From<mongodb::error::Error> for HandleError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Ours(error.into())
    }
}

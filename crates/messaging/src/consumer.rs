//! Reads topics in batches and hands each to a [`Handler`], whose one transaction holds the effect and the offsets.
//!
//! One thread per consumer: it drains what is waiting, up to a limit, hands it over, and reads on when it is done. The
//! group distributes the work; it never decides what is true. That is decided by the offsets in the consumer's own
//! database, which a batch moves by compare-and-set: a consumer that lost a partition without knowing it is
//! [`HandleError::Fenced`]. Kafka's own offsets are written after the fact, for graphs of the lag.
//!
//! **Where reading begins.** At the stored offset. A stored 0 means "nothing read yet" and begins at whatever the topic
//! still has. So does a stored offset that the topic no longer has (retention ate unread messages) or does not have yet
//! (the topic lost its end, or was made anew), and so does a record of a higher generation than the stored one: its
//! writer has found that the topic lost messages, and sends all again. What is read twice, the inbox drops. Each of these
//! is logged in one line.
//!
//! **What a message at fault does.** It is parked, see [`parked`], and reading goes on with the others. A
//! batch whose handler cannot say which of its messages it was is done in halves, each in its own transaction, until the
//! guilty one is alone. Parked messages that an operator has marked are taken in by the member that reads their
//! partition, between two batches and through the same handler.

mod caught_up;
mod client;
mod loaded;
mod positions;
mod reader;
mod record;

use std::{collections::HashMap, time::Duration};

use rdkafka::error::KafkaError;
use tokio::{runtime::Handle, sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Batch, Broker, Place, Pulse, Undecodable, parked, parked::ParkedMessage};
pub use caught_up::caught_up;
pub use record::Flaw;

/// How long one try of a batch may take, if nothing else is said: longer than any transaction.
const BATCH_TIMEOUT: Duration = Duration::from_secs(90);

/// How long the end of a consumer waits for its leaving the group.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Any error, as far as a consumer cares.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a batch does. One call is one transaction: inbox, offsets, effect, outbox, commit.
pub trait Handler: Send + Sync + 'static {
    /// Does all of `batch`, or nothing.
    fn handle(&self, batch: &Batch) -> impl Future<Output = Result<(), HandleError>> + Send;
}

/// Where the next offsets are kept, and what is parked: the consumer's own database.
pub trait Offsets: Send + Sync + 'static {
    /// Where each of `partitions` of `topic` is to be read from. One that was never read gets generation 0 and offset 0.
    fn load(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> impl Future<Output = Result<HashMap<i32, Place>, BoxError>> + Send;

    /// The first parked message of each key that is marked to be replayed, in these partitions.
    fn marked(&self, partitions: &[(String, i32)])
    -> impl Future<Output = Result<Vec<ParkedMessage>, BoxError>> + Send;

    /// `message` is still at fault, for this reason: its key stays parked, and is marked no more.
    fn unmark(&self, message: &ParkedMessage, reason: &str) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Why a batch was not done. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Another instance has moved the offsets: this one has lost the partition, or the batch was done already. Normal
    /// after a rebalance: reload the offsets, seek, go on.
    #[error("another instance has moved the offsets")]
    Fenced,
    /// The message `id` of the batch is one that no retry will make acceptable: unreadable, of unknown version, or an
    /// impossible transition. It is parked.
    #[error("message {id} is at fault")]
    ThisMessage {
        /// Which message.
        id: Uuid,
        /// What is wrong with it.
        source: BoxError,
    },
    /// The same, of one message or another: the batch is done in halves until the guilty one is found.
    #[error("a message is at fault")]
    Message(#[source] BoxError),
    /// One key more would be parked than may be.
    #[error("{parked} keys are parked, and no more than {max} may be")]
    TooManyParked {
        /// How many are parked already.
        parked: usize,
        /// How many may be.
        max: usize,
    },
    /// The fault is ours or our database's: the whole batch is tried again.
    #[error("the batch could not be done")]
    Ours(#[source] BoxError),
}

/// Why a consumer ended before it was told to. A broker that is away is none: it is waited for.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// Kafka's client refuses its settings, or cannot go on.
    #[error("Kafka's client cannot go on")]
    Kafka(#[from] KafkaError),
    /// More messages are at fault than there is room to park: something is wrong with more than a message. Those of one
    /// batch are parked together or not at all, so there may be room for some of them.
    #[error(
        "more messages are at fault (first {message}) than can be parked: {parked} keys are parked already, and no more than \
         {max} may be: replay or drop some of them, or allow more, and start again"
    )]
    TooManyParked {
        /// Where the first stands, and what is wrong with it.
        message: String,
        /// How many keys are parked.
        parked: usize,
        /// How many may be.
        max: usize,
    },
    /// A try of a batch took too long: its database has gone without a word. Whether it had an effect is not known; the
    /// offsets will tell.
    #[error("a batch was waited for for more than {} s: its database has gone without a word", limit.as_secs_f32())]
    Stuck {
        /// How long it may take.
        limit: Duration,
    },
    /// The thread that reads could not be started.
    #[error("the reading thread could not be started")]
    Thread(#[from] std::io::Error),
    /// The thread that reads has panicked.
    #[error("the reading thread is gone")]
    Gone,
}

/// A member of a consumer group.
#[derive(Debug)]
pub struct Consumer<O> {
    broker: Broker,
    group: String,
    topics: Vec<String>,
    offsets: O,
    max_batch: usize,
    parked_keys_max: usize,
    batch_timeout: Duration,
    pulse: Pulse,
}

impl<O: Offsets> Consumer<O> {
    /// A member of `group` that reads `topics` (their names without the prefix) in batches of at most `max_batch`.
    pub fn new(broker: Broker, group: &str, topics: &[&str], offsets: O, max_batch: usize) -> Self {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (group, pulse) = (group.to_owned(), Pulse::new());
        let (parked_keys_max, batch_timeout) = (parked::KEYS_MAX, BATCH_TIMEOUT);
        Self { broker, group, topics, offsets, max_batch, parked_keys_max, batch_timeout, pulse }
    }

    /// The same, but that so many keys may be parked in its database before it ends with an error.
    #[must_use]
    pub fn parked_keys_max(self, parked_keys_max: usize) -> Self {
        Self { parked_keys_max, ..self }
    }

    /// The same, but that one try of a batch may take so long before it ends with an error: 90 s, if nothing is said. The
    /// clients of the databases wait for an answer for ever, and a connection that waits is of no use to anybody.
    #[must_use]
    pub fn batch_timeout(self, batch_timeout: Duration) -> Self {
        Self { batch_timeout, ..self }
    }

    /// Beats while it reads, or would if there were something; not before its group has it, nor while a batch cannot be done
    /// or offsets not be loaded.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Reads until `stop`; then finishes the batch at hand and leaves the group. One batch is in flight at a time. A
    /// batch whose failure is [`HandleError::Ours`] is tried again, whole, until it is done or fenced.
    ///
    /// # Errors
    /// [`ConsumerError`], when one key more would be parked than may be, when a batch is waited for for too long, or when
    /// Kafka's client cannot go on.
    pub async fn run<H: Handler>(self, handler: H, stop: CancellationToken) -> Result<(), ConsumerError> {
        // If this future is dropped, the thread ends too.
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let runtime = Handle::current();
        let (ended, end) = oneshot::channel();
        let (left, leaving) = oneshot::channel::<()>();
        std::thread::Builder::new().name(format!("consumer {}", self.group)).spawn(move || {
            let mut reader = match reader::Reader::start(self, handler, runtime, stop) {
                Ok(reader) => reader,
                Err(error) => return ended.send(Err(error)).ok(),
            };
            // Nobody waits for the result if `run` was dropped.
            ended.send(reader.run()).ok();
            // Leaves the group.
            drop(reader);
            left.send(()).ok()
        })?;
        let result = end.await.unwrap_or(Err(ConsumerError::Gone));
        // With the broker away, leaving takes seconds, and the group finds out by itself.
        timeout(LEAVE_TIMEOUT, leaving).await.ok();
        result
    }
}

impl HandleError {
    /// The message `id` is at fault, because of `error`.
    pub fn this_message(id: Uuid, error: impl Into<BoxError>) -> Self {
        Self::ThisMessage { id, source: error.into() }
    }
}

impl From<Undecodable> for HandleError {
    fn from(error: Undecodable) -> Self {
        Self::this_message(error.id, error)
    }
}

impl From<sqlx::Error> for HandleError {
    /// Data exceptions (SQLSTATE 22) and broken constraints (23) are the fault of a message, all else is ours.
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

//! Kafka's client: its settings, and what it tells us while it is polled.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};

use crate::{Broker, broker};

/// How often the group must see us polling. Also how long a dead batch keeps others from its partitions, at most.
const MAX_POLL_INTERVAL_MS: &str = "30000";

/// Between two reports of where the partitions end.
const ENDS_EVERY: Duration = Duration::from_secs(5);

/// A consumer that is only ever polled by one thread.
pub(super) type Client = BaseConsumer<Context>;

/// A partition of a topic, by the topic's name at the broker.
pub(super) type Partition = (String, i32);

/// A client that is a member of `group` and reads nothing yet.
pub(super) fn connect(broker: &Broker, group: &str) -> Result<Client, KafkaError> {
    broker
        .client_config()
        .set("group.id", group)
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500") // When a member leaves, the others learn it at their next.
        .set("max.poll.interval.ms", MAX_POLL_INTERVAL_MS)
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "true")
        .set("enable.auto.offset.store", "false") // What is stored is what the database has.
        .set("auto.commit.interval.ms", "5000") // Only graphs of the lag read it, and each commit is a write at the broker.
        .set("fetch.min.bytes", "1")
        // A fetch that is under way does not yet ask for partitions assigned since, so this delays their first record. The
        // shorter it is, the more empty answers cost an idle broker.
        .set("fetch.wait.max.ms", "500")
        .set("fetch.queue.backoff.ms", "50")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("statistics.interval.ms", ENDS_EVERY.as_millis().to_string())
        .create_with_context(Context::default())
}

/// What the group decided since it was last asked.
#[derive(Debug)]
pub(super) enum Change {
    /// These partitions are ours, and no others.
    Assigned(Vec<Partition>),
    /// No partition is ours.
    Revoked,
}

/// Notes what the group decides. The reader looks after every poll.
#[derive(Debug, Default)]
pub(super) struct Context {
    change: Mutex<Option<Change>>,
    ends: Mutex<Vec<(Partition, i64)>>,
}

impl Context {
    /// The last decision, if there was one since the last call.
    pub(super) fn take_change(&self) -> Option<Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Where partitions end, if that was reported since the last call.
    pub(super) fn take_ends(&self) -> Vec<(Partition, i64)> {
        std::mem::take(&mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, change: Change) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        broker::log(level, facility, message);
    }

    fn stats(&self, said: Statistics) {
        let of_topic = |(topic, said): (String, rdkafka::statistics::Topic)| {
            said.partitions.into_iter().map(move |(at, said)| ((topic.clone(), at), said.hi_offset))
        };
        // An end that is not known yet is negative.
        let ends = said.topics.into_iter().flat_map(of_topic).filter(|(_, end)| *end >= 0).collect();
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka's consumer reports an error");
    }
}

impl ConsumerContext for Context {
    /// The eager protocol: all is taken away before anything is given.
    ///
    /// An assignment is accepted at once, but empty: the reader assigns the partitions itself when it has loaded their
    /// offsets, however long the database takes, and the group is not held up meanwhile.
    fn rebalance(&self, client: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let accepted = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let ours = partitions.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect();
            self.note(Change::Assigned(ours));
            client.assign(&TopicPartitionList::new())
        } else {
            self.note(Change::Revoked);
            client.unassign()
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "Kafka's client refuses a rebalance");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "Kafka's own offsets were not written; only graphs of the lag miss them");
        }
    }
}

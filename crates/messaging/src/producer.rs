//! Sends what a relay has read: in order, and with one completion per batch.

mod delivery;
mod first;
mod headers;
mod queue;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext, Message as _,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::{BorrowedMessage, DeliveryResult},
    producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig},
};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

pub use self::delivery::Delivery;
use self::{delivery::Outstanding, first::Untouched, queue::Queue};
use crate::{
    Broker,
    broker::{self, Complaint, Ends},
    generation::{Acknowledged, FIRST, Loss},
};

/// How long one poll lasts, and so the end of a producer at most. The client's binding does not sleep through the last
/// millisecond of a poll, it spins: its own thread, which polls ten times a second, did that ten times as often.
const POLL: Duration = Duration::from_secs(1);
/// A row of an outbox as a relay reads it from the database's log: an [`Outgoing`](crate::Outgoing) that is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// Names the message.
    pub id: Uuid,
    /// The topic, without the prefix of the installation.
    pub topic: String,
    /// Messages of one key stay in order.
    pub key: String,
    /// The versioned name.
    pub kind: String,
    /// The message as JSON.
    pub payload: String,
    /// The W3C trace context it was caused in.
    pub traceparent: Option<String>,
}

/// A message was not, or perhaps not, written. Discard the producer and begin again from the last confirmed position.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeliveryError {
    /// A message was written where one had been before: a new generation must begin.
    #[error(transparent)]
    Loss(#[from] Loss),
    /// The broker has taken a message for one that stood there before this producer began, and has not written it; or the
    /// topic was made anew since.
    #[error("{topic}/{partition} ended at {end}, and {offset} is said to be of a message since")]
    Mistaken {
        /// The topic, without its prefix.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where it ended when the producer began.
        end: i64,
        /// Where the broker says the message is.
        offset: i64,
    },
    /// The broker or the client says so.
    #[error("a message could not be delivered")]
    Kafka(#[from] KafkaError),
    /// The producer was dropped before the broker had answered.
    #[error("the producer is gone")]
    Gone,
}

/// An idempotent producer: what it accepts is written in its order, without gaps, or it fails for good.
///
/// Dropping it throws away what is still queued; it never sends that late.
pub struct Producer {
    inner: Arc<BaseProducer<Context>>,
    batches: mpsc::UnboundedSender<(Vec<Committed>, Arc<Outstanding>)>,
    source: String,
}

impl Producer {
    /// A producer whose messages come from `source`, the name of the service, and are of its first generation. What a broker
    /// takes for another's it does not notice. To be made within a Tokio runtime.
    ///
    /// # Errors
    /// If the settings are refused; the broker need not be there.
    pub fn new(broker: &Broker, source: &str) -> Result<Self, KafkaError> {
        Self::of_generation(broker, source, FIRST, Acknowledged::default(), Ends::new())
    }

    /// The same of a relay's `generation`, in which the partitions have `acknowledged` so much; they end at `begun`.
    ///
    /// A broker that has lost its data numbers its producers from the beginning, so this one may get the number of one that has
    /// written to that broker, be it this relay's last. Then what it sends first to a partition is refused, as out of sequence,
    /// unless it is as many messages as the other sent there first: those it is taken for, acknowledged and thrown away. The
    /// answer names the place of the other's messages, which lies before `begun`; only one that all replicas did not have yet
    /// when that was asked would lie behind. Source: Kafka's `ProducerStateEntry.findDuplicateBatch`.
    pub(crate) fn of_generation(
        broker: &Broker,
        source: &str,
        generation: i64,
        acknowledged: Acknowledged,
        begun: Ends,
    ) -> Result<Self, KafkaError> {
        let untouched = Untouched::new(&begun);
        let context = Context {
            open: Mutex::new(true),
            prefix: broker.prefix.clone(),
            begun,
            acknowledged: Mutex::new(acknowledged),
            space: Notify::new(),
            complaint: Complaint::default(),
        };
        let inner: BaseProducer<Context> = broker
            .client_config()
            .set("enable.idempotence", "true") // Implies acks=all and endless retries.
            // Without it, messages behind a refused one would still be sent, ahead of it.
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "0")
            // With more in flight, a refused request can be overtaken by the next, which a broker that has no sequence of
            // this producer yet takes as it comes; the client then holds the refused one for written. It was lost.
            .set("max.in.flight.requests.per.connection", "1")
            .set("partitioner", "murmur2_random")
            .set("allow.auto.create.topics", "false")
            // A topic that vanishes is a failed delivery soon, and made anew by the relay.
            .set("topic.metadata.propagation.max.ms", "5000")
            .create_with_context(context)?;
        let inner = Arc::new(inner);
        let polled = Arc::clone(&inner);
        // Drops the last of it, too, which waits for the client's own threads, as an async caller should not.
        std::thread::Builder::new()
            .name("producer".to_owned())
            .spawn(move || poll(&polled))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        let queue = Queue::new(Arc::clone(&inner), source, generation);
        let (batches, handed_over) = mpsc::unbounded_channel();
        #[expect(
            clippy::disallowed_methods,
            reason = "whenever it ends, it fails the batches that it leaves, and the relay hears of it"
        )]
        tokio::spawn(queue.fill(handed_over, untouched));
        Ok(Self { inner, batches, source: source.to_owned() })
    }

    /// Has `messages` written behind all earlier ones, without waiting for that. Those that may be on their way at a time are for
    /// the caller to limit.
    ///
    /// Of a relay's producer, the first to a partition that held something goes alone, and what comes behind it there when it is
    /// written: it may be taken for another's, and they must not be there before it. The delivery fails if a message is too
    /// large, or an earlier one has failed.
    pub fn send(&self, messages: Vec<Committed>) -> Delivery {
        let (batch, delivery) = Outstanding::of(messages.len());
        // Refused only if an earlier one has failed; the delivery then says that the producer is gone.
        self.batches.send((messages, batch)).ok();
        delivery
    }

    /// What the partitions have acknowledged.
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        let context = self.inner.context();
        context.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        *self.inner.context().open.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.inner.purge(PurgeConfig::default().queue().inflight());
    }
}

/// Tells the batches what became of their messages, until nobody else has the producer.
fn poll(inner: &Arc<BaseProducer<Context>>) {
    while Arc::strong_count(inner) > 1 {
        inner.poll(POLL);
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("source", &self.source).finish_non_exhaustive()
    }
}

/// What the producer's thread calls.
struct Context {
    /// Whether messages may be queued; not once the producer is dropped.
    open: Mutex<bool>,
    prefix: String,
    /// Where the partitions ended before anything was sent.
    begun: Ends,
    acknowledged: Mutex<Acknowledged>,
    space: Notify,
    complaint: Complaint,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        broker::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.complaint.is_due() {
            tracing::warn!(%error, reason, "Kafka cannot be written, waiting");
        }
    }
}

impl Context {
    fn note(&self, message: &BorrowedMessage<'_>) -> Result<(), DeliveryError> {
        let topic = message.topic().strip_prefix(&self.prefix).unwrap_or(message.topic());
        let (partition, offset) = (message.partition(), message.offset());
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.note(topic, partition, offset)?;
        let end = self.begun.get(topic).and_then(|partitions| partitions.get(&partition)).copied().unwrap_or(0);
        if (0..end).contains(&offset) {
            return Err(DeliveryError::Mistaken { topic: topic.to_owned(), partition, end, offset });
        }
        Ok(())
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Outstanding>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Self::DeliveryOpaque) {
        let written = match result {
            Ok(message) => self.note(message),
            Err((error, _)) => Err(error.clone().into()),
        };
        match written {
            Ok(()) => batch.written(1),
            Err(error) => batch.finish(Err(error)),
        }
        self.space.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use rdkafka::{
        Offset, TopicPartitionList,
        consumer::{BaseConsumer, Consumer as _},
        error::RDKafkaErrorCode,
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    use super::*;

    /// One that never reaches a broker.
    fn producer() -> Producer {
        Producer::new(&Broker { brokers: "127.0.0.1:1".into(), prefix: "test.".into() }, "order").unwrap()
    }

    fn committed(payload: &str) -> Committed {
        Committed {
            id: Uuid::now_v7(),
            topic: "t".into(),
            key: "k".into(),
            kind: "a.b.v1".into(),
            payload: payload.into(),
            traceparent: None,
        }
    }

    #[tokio::test]
    async fn dropping_the_producer_throws_away_what_is_queued() {
        let producer = producer();
        assert!(producer.send(vec![]).await.is_ok());
        let mut delivery = producer.send(vec![committed("1"), committed("2")]);
        all_is_queued().await;
        assert!((&mut delivery).now_or_never().is_none());
        drop(producer);
        let error = tokio::time::timeout(Duration::from_secs(10), delivery).await.unwrap().unwrap_err();
        let purged = KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue);
        assert!(matches!(&error, DeliveryError::Kafka(reason) if *reason == purged), "{error:?}");
    }

    #[tokio::test]
    async fn behind_a_message_too_large_nothing_is_sent() {
        let producer = producer();
        let refused = producer.send(vec![committed(&"x".repeat(2_000_000))]);
        let behind = producer.send(vec![committed("1")]);
        assert!(matches!(refused.await, Err(DeliveryError::Kafka(_))));
        assert!(matches!(behind.await, Err(DeliveryError::Gone)));
    }

    /// A broker whose partition is not quite ready refuses the first request and takes the second. It keeps no sequence
    /// of a producer it does not know, so nothing tells it that something is missing; that is for us to prevent.
    #[tokio::test]
    async fn a_refused_request_is_not_overtaken_by_the_next() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("test.t", 1, 1).unwrap();
        cluster.broker_round_trip_time(-1, Duration::from_millis(200)).unwrap();
        let broker = Broker { brokers: cluster.bootstrap_servers(), prefix: "test.".into() };
        let producer = Producer::new(&broker, "order").unwrap();
        producer.send(vec![committed("0")]).await.unwrap();
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
        cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
        let mut deliveries = Vec::new();
        for payload in ["1", "2", "3", "4", "5", "6"] {
            deliveries.push(producer.send(vec![committed(payload)]));
            // Less than a round trip: while the first is on its way, the others come.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for delivery in deliveries {
            tokio::time::timeout(Duration::from_secs(20), delivery).await.unwrap().unwrap();
        }
        assert_eq!(written(&broker, 7), ["0", "1", "2", "3", "4", "5", "6"]);
    }

    #[tokio::test]
    async fn a_key_is_written_to_the_partition_that_is_computed() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("test.t", 8, 1).unwrap();
        let broker = Broker { brokers: cluster.bootstrap_servers(), prefix: "test.".into() };
        let producer = Producer::new(&broker, "order").unwrap();
        let mut before = Vec::new();
        for key in (0..40).map(|number| format!("key {number}")).chain([String::new()]) {
            producer.send(vec![Committed { key: key.clone(), ..committed("1") }]).await.unwrap();
            let after: Vec<(String, i32, i64)> = producer.acknowledged().into();
            let written = after.iter().find(|there| !before.contains(*there)).unwrap().1;
            assert_eq!(first::partition_of(&key, 8), written, "{key}");
            before = after;
        }
        assert_eq!(before.len(), 8);
    }

    /// A relay's second message waits for the first, to a partition that held something.
    #[tokio::test]
    async fn the_first_message_to_a_partition_goes_alone() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("test.t", 1, 1).unwrap();
        let broker = Broker { brokers: cluster.bootstrap_servers(), prefix: "test.".into() };
        Producer::new(&broker, "another").unwrap().send(vec![committed("0")]).await.unwrap();
        let begin = || {
            let begun = Ends::from([("t".to_owned(), [(0, 1)].into())]);
            Producer::of_generation(&broker, "order", FIRST, Acknowledged::default(), begun).unwrap()
        };
        let batches = || [vec![committed("1"), committed("2")], vec![committed("3")]];
        cluster.broker_down(1).unwrap();
        let relays = begin();
        let [one, two] = batches().map(|batch| relays.send(batch));
        all_is_queued().await;
        drop(relays);
        assert!(matches!(one.await, Err(DeliveryError::Kafka(_))), "its first was queued");
        assert!(matches!(two.await, Err(DeliveryError::Gone)), "nothing was queued behind that");
        cluster.broker_up(1).unwrap();
        let relays = begin();
        for delivery in batches().map(|batch| relays.send(batch)) {
            delivery.await.unwrap();
        }
        assert_eq!(written(&broker, 4), ["0", "1", "2", "3"]);
    }

    /// The one thread of a test lets the producer's task do what it can.
    async fn all_is_queued() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// The first payloads of the one partition, as many as there are up to `count`.
    fn written(broker: &Broker, count: usize) -> Vec<String> {
        let reader: BaseConsumer = broker.client_config().set("group.id", "reader").create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset("test.t", 0, Offset::Beginning).unwrap();
        reader.assign(&all).unwrap();
        let mut written = Vec::new();
        while written.len() < count
            && let Some(message) = reader.poll(Duration::from_secs(5))
        {
            written.push(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
        }
        written
    }

    #[tokio::test]
    async fn what_does_not_fit_into_the_queue_waits() {
        let producer = producer();
        let fits = producer.send(vec![committed("1"); 100_000]);
        let mut behind = producer.send(vec![committed("1")]);
        all_is_queued().await;
        assert!((&mut behind).now_or_never().is_none());
        drop(producer);
        assert!(matches!(fits.await, Err(DeliveryError::Kafka(_))));
        let behind = tokio::time::timeout(Duration::from_secs(10), behind).await.unwrap();
        assert!(matches!(behind, Err(DeliveryError::Gone)), "and is not sent late");
    }
}

//! What stands in the topics, whoever wrote it.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use contracts::topic::{PARTITIONS, TOPICS};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::{BorrowedMessage, Headers as _},
    producer::{FutureProducer, FutureRecord},
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    stores::Stores,
    world::{PATIENCE, World},
};

/// What stands in all topics, read from their beginnings. Nothing is compacted or forgotten in so short a time.
pub(crate) struct Topics {
    brokers: String,
    client: BaseConsumer,
}

/// Where each partition ends: topic, partition, offset of the next message.
pub(crate) type Ends = Vec<(&'static str, i32, i64)>;

impl Topics {
    pub(crate) fn of(world: &World) -> Self {
        let brokers = world.shop.state().stores.brokers;
        let client = ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", "test").create().unwrap();
        Self { brokers, client }
    }

    pub(crate) fn ends(&self) -> Ends {
        let partitions = TOPICS.into_iter().flat_map(|topic| (0..PARTITIONS).map(move |at| (topic.name, at)));
        let end = |(topic, partition)| {
            let (_, end) = self.client.fetch_watermarks(topic, partition, PATIENCE).unwrap();
            (topic, partition, end)
        };
        partitions.map(end).collect()
    }

    /// The ids of all messages, each as often as it stands there.
    pub(crate) fn ids(&self) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for (topic, partition, end) in self.ends() {
            self.begin(topic, partition, Offset::Beginning);
            ids.extend((0..end).map(|_| id(&self.next())));
        }
        ids
    }

    /// The versioned names and the traces of the messages with this key, in the order of each partition.
    pub(crate) fn traces(&self, key: &str) -> Vec<(String, String)> {
        let mut traces = Vec::new();
        for (topic, partition, end) in self.ends() {
            self.begin(topic, partition, Offset::Beginning);
            for message in (0..end).map(|_| self.next()) {
                if message.key() == Some(key.as_bytes()) {
                    traces.push((header(&message, "ce_type"), header(&message, "traceparent")));
                }
            }
        }
        traces
    }

    /// Writes the last message of each partition once more, as it stands there.
    pub(crate) async fn say_the_last_again(&self) {
        let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        for (topic, partition, end) in self.ends().into_iter().filter(|(.., end)| *end > 0) {
            self.begin(topic, partition, Offset::Offset(end - 1));
            let last = self.next().detach();
            let record = FutureRecord::to(topic).partition(partition);
            let record = record.key(last.key().unwrap()).payload(last.payload().unwrap());
            producer.send(record.headers(last.headers().unwrap().clone()), PATIENCE).await.unwrap();
        }
    }

    fn begin(&self, topic: &str, partition: i32, offset: Offset) {
        let mut begin = TopicPartitionList::new();
        begin.add_partition_offset(topic, partition, offset).unwrap();
        self.client.assign(&begin).unwrap();
    }

    fn next(&self) -> BorrowedMessage<'_> {
        let begun = Instant::now();
        loop {
            // Nothing may come before the time is over: the client has seen to something else.
            if let Some(message) = self.client.poll(Duration::from_secs(1)) {
                return message.unwrap();
            }
            assert!(begun.elapsed() < PATIENCE, "what stands in the topics can be read");
        }
    }
}

impl World {
    /// Waits until every message that the services have to send stands in a topic: whatever was lost was sent again.
    pub(crate) async fn all_is_sent(&self) {
        let (stores, topics) = (Stores::of(self).await, Topics::of(self));
        let missing = async || {
            let (there, sent) = (HashSet::<Uuid>::from_iter(topics.ids()), stores.to_be_sent().await);
            sent.iter().filter(|id| !there.contains(*id)).count()
        };
        let sent = async {
            while missing().await > 0 {
                sleep(Duration::from_millis(200)).await;
            }
        };
        if timeout(PATIENCE, sent).await.is_err() {
            panic!("{} messages of {} are in no topic", missing().await, stores.to_be_sent().await.len());
        }
    }
}

fn id(message: &BorrowedMessage<'_>) -> Uuid {
    Uuid::try_parse(&header(message, "ce_id")).unwrap()
}

/// A header of a message; empty if it has none such.
fn header(message: &BorrowedMessage<'_>, name: &str) -> String {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let value = headers.filter(|header| header.key == name).find_map(|header| header.value).unwrap_or_default();
    str::from_utf8(value).unwrap().to_owned()
}

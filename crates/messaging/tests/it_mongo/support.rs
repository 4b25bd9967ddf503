//! A database and topics of one test's own.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bson::{Document, doc};
use messaging::{
    Batch, Broker, Outgoing, Position, Record, Retention, TopicSpec,
    mongo::{self, Transaction},
};
use mongodb::Database;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
};
use uuid::Uuid;

pub(crate) const TOPIC: &str = "events";
pub(crate) const PARTITIONS: i32 = 3;
/// Whatever is waited for and has not come by then does not come, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A prepared database that no other test uses.
pub(crate) async fn database() -> Database {
    let db = testkit::mongo().await.database().await.database;
    mongo::prepare(&db).await.unwrap();
    db
}

/// A broker with a topic that no other test uses.
pub(crate) async fn broker() -> Broker {
    let brokers = testkit::kafka().await.to_owned();
    let broker = Broker { brokers, prefix: format!("messaging-{}.", Uuid::now_v7().simple()) };
    broker.ensure_topics(&[spec()]).await.unwrap();
    broker
}

pub(crate) fn spec() -> TopicSpec {
    TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, retention: Retention::Millis(3_600_000) }
}

pub(crate) fn message(key: &str) -> Outgoing {
    Outgoing::new(TOPIC, key.to_owned(), "it.happened.v1", &serde_json::json!({ "key": key }))
}

/// Puts `messages` in one committed transaction.
pub(crate) async fn commit(db: &Database, messages: &[Outgoing]) {
    let mut tx = Transaction::begin(db).await.unwrap();
    tx.put(messages).await.unwrap();
    tx.commit().await.unwrap();
}

/// A batch of partition 0 that begins at `from` and holds one record of each id.
pub(crate) fn batch(from: i64, ids: &[Uuid]) -> Batch {
    let records = (from..).zip(ids).map(|(offset, id)| Record {
        topic: TOPIC.into(),
        partition: 0,
        offset,
        id: *id,
        kind: "it.happened.v1".into(),
        key: "a".into(),
        payload: b"{}".to_vec(),
        ..Record::default()
    });
    let records: Vec<Record> = records.collect();
    let to = from + records.len() as i64;
    let positions = vec![Position { topic: TOPIC.into(), from, to, ..Position::default() }];
    Batch { records, positions, ..Batch::default() }
}

pub(crate) async fn count(db: &Database, collection: &str) -> u64 {
    db.collection::<Document>(collection).count_documents(doc! {}).await.unwrap()
}

/// Asks until the answer is there.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What has arrived in the topic, in the order of its partitions.
pub(crate) struct Arrivals {
    consumer: BaseConsumer,
    pub(crate) seen: Vec<(String, Uuid)>,
}

impl Arrivals {
    pub(crate) fn of(broker: &Broker) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &broker.brokers)
            .set("group.id", format!("reads all {}", broker.prefix))
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(&format!("{}{TOPIC}", broker.prefix), partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        Self { consumer, seen: Vec::new() }
    }

    /// Takes in whatever is there.
    pub(crate) fn look(&mut self) {
        while let Some(message) = self.consumer.poll(Duration::ZERO) {
            let message = message.unwrap();
            let id = message.headers().unwrap().iter().find(|header| header.key == "ce_id").unwrap().value.unwrap();
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            self.seen.push((key, Uuid::try_parse_ascii(id).unwrap()));
        }
    }

    /// Waits until each of `messages` has come.
    pub(crate) async fn wait_for(&mut self, messages: &[Outgoing]) {
        eventually("all messages in the topic", async || {
            self.look();
            let times = self.times();
            messages.iter().all(|message| times.contains_key(&message.id)).then_some(())
        })
        .await;
    }

    /// How often each message has come.
    pub(crate) fn times(&self) -> HashMap<Uuid, usize> {
        let mut times = HashMap::new();
        for (_, id) in &self.seen {
            *times.entry(*id).or_default() += 1;
        }
        times
    }

    /// The ids of `key` as an inbox lets them through: the first of each.
    pub(crate) fn in_effect(&self, key: &str) -> Vec<Uuid> {
        let mut taken = Vec::new();
        for (_, id) in self.seen.iter().filter(|(of, _)| of == key) {
            if !taken.contains(id) {
                taken.push(*id);
            }
        }
        taken
    }
}

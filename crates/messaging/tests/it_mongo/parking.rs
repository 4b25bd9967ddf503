//! Messages at fault: their keys are parked, all others go on, and what is mended is taken in after all.

use std::{sync::Arc, time::Duration};

use bson::{Document, doc};
use futures::TryStreamExt;
use messaging::{
    Batch, Broker, Consumer, HandleError, Handler, Offsets as _, Outgoing, Record,
    consumer::ConsumerError,
    mongo::{Offsets, Transaction, parked},
    parked::{KEYS_MAX, ParkedKey},
};
use mongodb::Database;
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{PATIENCE, TOPIC, broker, commit, count, database, eventually};

/// Writes down each number it is given, under its key; tries again what it collides with.
#[derive(Clone)]
struct Take(Database);

impl Handler for Take {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let numbers = batch.records.iter().map(|record| Ok((record.id, record.decode::<i32>()?)));
        let numbers = numbers.collect::<Result<Vec<_>, HandleError>>()?;
        let mut tx = Transaction::begin(&self.0).await?;
        let fresh = tx.accept(batch).await?;
        let effect = |record: &&Record| {
            let (_, n) = numbers.iter().find(|(id, _)| *id == record.id).unwrap();
            doc! { "key": &record.key, "n": n, "at": bson::Timestamp { time: 0, increment: 0 } }
        };
        let effects: Vec<Document> = fresh.iter().map(effect).collect();
        tx.insert("effect", &effects).await?;
        Ok(tx.commit().await?)
    }
}

struct Bench {
    db: Database,
    broker: Broker,
    relay: crate::relay::Running,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ConsumerError>>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Bench {
    async fn new() -> Self {
        let (db, broker) = (database().await, broker().await);
        db.create_collection("effect").await.unwrap();
        let relay = crate::relay::Running::start(&db, &broker);
        Self { db, broker, relay }
    }

    fn consumer(&self, keys_max: usize) -> Running {
        let offsets = Offsets::new(self.db.clone());
        let consumer = Consumer::new(self.broker.clone(), &self.broker.prefix, &[TOPIC], offsets, 5);
        let stop = CancellationToken::new();
        let consumer = consumer.parked_keys_max(keys_max);
        Running { task: tokio::spawn(consumer.run(Take(self.db.clone()), stop.clone())), stop }
    }

    async fn put(&self, keys: &[&str], n: i32) {
        let message = |key: &&str| Outgoing::new(TOPIC, (*key).to_owned(), "it.happened.v1", &n);
        commit(&self.db, &keys.iter().map(message).collect::<Vec<_>>()).await;
    }

    /// Writes bytes that are no message, as somebody who is none of ours.
    async fn smuggle(&self, key: &str) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.brokers).set("partitioner", "murmur2_random");
        let producer: FutureProducer = config.create().unwrap();
        let topic = self.broker.full_name(TOPIC);
        producer.send(FutureRecord::to(&topic).key(key).payload(b"\xff\0{"), PATIENCE).await.unwrap();
    }

    async fn parked(&self) -> Vec<ParkedKey> {
        parked::list(&self.db).await.unwrap()
    }

    async fn waiting(&self, key: &str) -> i64 {
        self.parked().await.iter().find(|parked| parked.key == key).map_or(0, |parked| parked.messages)
    }

    async fn effects(&self, key: &str) -> Vec<i32> {
        let effects = self.db.collection::<Document>("effect");
        let found = effects.find(doc! { "key": key }).sort(doc! { "at": 1 }).await.unwrap();
        found.map_ok(|effect| effect.get_i32("n").unwrap()).try_collect().await.unwrap()
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        eventually(what, async || holds(self).await.then_some(())).await;
    }

    async fn finish(self) {
        self.relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_fault_is_parked_with_its_key_and_all_others_go_on() {
    let bench = Bench::new().await;
    let consumer = bench.consumer(KEYS_MAX);
    bench.put(&["a", "b"], 1).await;
    bench
        .until("both are done", async |bench| bench.effects("a").await == [1] && bench.effects("b").await == [1])
        .await;
    bench.smuggle("a").await;
    for n in 2..=3 {
        bench.put(&["a", "b"], n).await;
    }
    bench.until("the other goes on", async |bench| bench.effects("b").await == [1, 2, 3]).await;
    bench.until("the key waits", async |bench| bench.waiting("a").await == 3).await;
    assert_eq!(bench.effects("a").await, [1], "nothing is taken in behind a message at fault");
    let waiting = parked::show(&bench.db, TOPIC, "a").await.unwrap();
    assert_eq!((waiting[0].payload.as_slice(), waiting[0].kind.as_ref()), (&b"\xff\0{"[..], None));
    assert_eq!(waiting.iter().map(|one| one.reason.is_none()).collect::<Vec<_>>(), [false, true, true]);

    parked::replay(&bench.db, TOPIC, "a").await.unwrap();
    bench.until("it is still at fault", async |bench| !bench.parked().await[0].replaying).await;
    let dropped = parked::drop(&bench.db, TOPIC, "a", false).await.unwrap();
    assert_eq!((dropped.messages, dropped.left), (vec![(waiting[0].id, None)], 2));
    assert_eq!(parked::replay(&bench.db, TOPIC, "a").await.unwrap(), 2);
    bench.until("the rest is done", async |bench| bench.effects("a").await == [1, 2, 3]).await;
    assert_eq!((bench.parked().await, count(&bench.db, "parked_message").await), (vec![], 0));
    let places = Offsets::new(bench.db.clone()).load(TOPIC, &[0, 1, 2]).await.unwrap();
    assert!(places.values().all(|place| !place.parked), "{places:?}");
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_parked_key_too_many_ends_the_consumer_until_there_is_room() {
    let bench = Bench::new().await;
    let consumer = bench.consumer(1);
    bench.smuggle("a").await;
    bench.until("it is parked", async |bench| bench.waiting("a").await == 1).await;
    bench.smuggle("b").await;
    for consumer in [consumer, bench.consumer(1)] {
        let ended = tokio::time::timeout(PATIENCE, consumer.task).await.unwrap().unwrap();
        assert!(matches!(ended, Err(ConsumerError::TooManyParked { parked: 1, .. })), "{ended:?}");
    }
    assert_eq!(parked::drop(&bench.db, TOPIC, "a", true).await.unwrap().messages.len(), 1);
    let consumer = bench.consumer(1);
    bench.until("there was room", async |bench| bench.waiting("b").await == 1).await;
    assert_eq!(parked::count(&bench.db).await.unwrap(), 1);
    consumer.stop().await;
    bench.finish().await;
}

/// A batch that knows nothing of a key that was parked or freed since is fenced.
#[tokio::test]
async fn a_batch_that_does_not_know_what_is_parked_is_fenced() {
    let db = database().await;
    Offsets::new(db.clone()).load(TOPIC, &[0]).await.unwrap();
    let mut ignorant = crate::support::batch(0, &[Uuid::now_v7()]);
    let offset = db.collection::<Document>("consumer_offset");
    for (stored, known) in [(true, false), (false, true)] {
        offset.update_many(doc! {}, doc! { "$set": { "parked": stored } }).await.unwrap();
        ignorant.positions[0].parked = known;
        let mut tx = Transaction::begin(&db).await.unwrap();
        assert!(matches!(tx.accept(&ignorant).await, Err(HandleError::Fenced)));
        tx.abort().await.unwrap();
    }
}

/// As its namesake for Postgres; what collides here is a write conflict, and tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_not_overtaken_whoever_reads_the_partition() {
    let bench = Arc::new(Bench::new().await);
    let mut consumer = bench.consumer(KEYS_MAX);
    let enough = CancellationToken::new();
    let writing = tokio::spawn({
        let (bench, enough) = (Arc::clone(&bench), enough.clone());
        async move {
            let mut n = 0;
            while !enough.is_cancelled() {
                n += 1;
                bench.put(&["a", "b"], n).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            n
        }
    });
    for _ in 0..3 {
        bench.smuggle("a").await;
        bench.until("the key is parked", async |bench| bench.waiting("a").await > 2).await;
        let other = bench.consumer(KEYS_MAX);
        consumer.stop().await;
        consumer = other;
        let joined = bench.waiting("a").await;
        bench.until("messages join at the other", async |bench| bench.waiting("a").await > joined).await;
        parked::drop(&bench.db, TOPIC, "a", false).await.unwrap();
        parked::replay(&bench.db, TOPIC, "a").await.unwrap();
        bench.until("the key is free", async |bench| bench.waiting("a").await == 0).await;
    }
    enough.cancel();
    let written = writing.await.unwrap();
    let all: Vec<i32> = (1..=written).collect();
    for key in ["a", "b"] {
        bench.until("all are done", async |bench| bench.effects(key).await.len() >= all.len()).await;
        assert_eq!(bench.effects(key).await, all, "{key}");
    }
    consumer.stop().await;
    Arc::into_inner(bench).unwrap().finish().await;
}

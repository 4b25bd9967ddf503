//! Messages at fault: their keys are parked, all others go on, and what is mended is taken in after all.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use messaging::{
    Batch, HandleError,
    consumer::ConsumerError,
    parked::{Dropped, ParkedKey},
    postgres::{inbox, parked},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use uuid::Uuid;

use crate::support::{Bench, TOPIC, Take, With, commit, eventually, take};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const TEN_MB: usize = 10 * 1024 * 1024;

impl Bench {
    /// Somebody who is none of ours and writes to our topic: what is said of `settings` holds for the client.
    fn stranger(&self, settings: &[(&str, &str)]) -> FutureProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.brokers).set("partitioner", "murmur2_random");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().unwrap()
    }

    /// Writes one record, as a stranger.
    async fn smuggle(&self, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &[u8])]) {
        let topic = self.broker.full_name(TOPIC);
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&topic);
        (record.key, record.payload) = (key, value);
        let add = |all: OwnedHeaders, one: &(&str, &[u8])| all.insert(Header { key: one.0, value: Some(one.1) });
        record.headers = Some(headers.iter().fold(OwnedHeaders::new(), add));
        self.stranger(&[]).send(record, Duration::from_secs(20)).await.unwrap();
    }

    /// A message of `key` that looks like ours and holds `value`.
    async fn smuggle_message(&self, key: &str, value: &str) -> Uuid {
        let id = Uuid::now_v7();
        let headers = [("ce_id", id.to_string()), ("ce_type", "it.happened.v2".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_bytes()));
        self.smuggle(Some(key.as_bytes()), Some(value.as_bytes()), &headers).await;
        id
    }

    async fn parked(&self) -> Vec<ParkedKey> {
        parked::list(&self.db).await.unwrap()
    }

    /// How many messages of `key` are parked.
    async fn waiting(&self, key: &str) -> i64 {
        self.parked().await.iter().find(|parked| parked.key == key).map_or(0, |parked| parked.messages)
    }

    /// The numbers of `key` that took effect, in their order.
    async fn effects_of(&self, key: &str) -> Vec<i32> {
        self.effects().await.remove(key).unwrap_or_default()
    }

    /// Waits until `n` has taken effect for each of `keys`.
    async fn done(&self, keys: &[&str], n: i32) {
        eventually("the others go on", async || {
            let effects = self.effects().await;
            keys.iter().all(|key| effects.get(*key).is_some_and(|numbers| numbers.contains(&n)))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_parked_with_its_key_and_all_others_go_on() {
    let bench = Bench::new().await;
    let (relay, consumer) = (bench.relay(), bench.consumer(Take(bench.db.clone())));
    commit(&bench.db, &KEYS, 1).await;
    bench.done(&KEYS, 1).await;
    let garbage = b"\xff\0\x1b[31m{";
    bench.smuggle(Some(b"a"), Some(garbage), &[("odd", b"\xff\0")]).await;
    bench.smuggle(Some(b"\xff\0"), Some(b"1"), &[]).await;
    bench.smuggle(None, Some(b"1"), &[("ce_id", Uuid::now_v7().to_string().as_bytes()), ("ce_type", b"t")]).await;
    bench.smuggle(Some(&[b'k'; 100_000]), None, &[]).await;
    for n in 2..=3 {
        commit(&bench.db, &KEYS, n).await;
    }
    bench.done(&KEYS[1..], 3).await;
    eventually("all is parked", async || bench.parked().await.len() == 4 && bench.waiting("a").await == 3).await;
    assert_eq!(bench.effects_of("a").await, [1], "nothing is taken in behind a message at fault");

    let waiting = parked::show(&bench.db, TOPIC, "a").await.unwrap();
    assert_eq!((waiting[0].payload.as_slice(), waiting[0].raw_key.as_slice()), (&garbage[..], &b"a"[..]));
    assert_eq!(waiting[0].headers, r#"[["odd","\\xff\\x00"]]"#);
    assert!(waiting[0].reason.as_ref().unwrap().contains("ce_id"), "{waiting:?}");
    assert_eq!(waiting.iter().map(|one| one.reason.is_none()).collect::<Vec<_>>(), [false, true, true]);

    // What is no message cannot be replayed.
    assert_eq!(parked::replay(&bench.db, TOPIC, "a").await.unwrap(), 3);
    eventually("it is still at fault", async || bench.parked().await.iter().all(|key| !key.replaying)).await;
    assert_eq!(bench.waiting("a").await, 3);
    let Dropped { messages, left } = parked::drop(&bench.db, TOPIC, "a", false).await.unwrap();
    assert_eq!((messages, left), (vec![(waiting[0].id, None)], 2));
    parked::replay(&bench.db, TOPIC, "a").await.unwrap();
    bench.done(&["a"], 3).await;
    assert_eq!(bench.effects_of("a").await, [1, 2, 3]);

    for key in bench.parked().await {
        assert_eq!(parked::drop(&bench.db, TOPIC, &key.key, true).await.unwrap().left, 0);
    }
    assert_eq!(bench.ask("select count(*) from consumer_offset where parked and $1 <> ''").await, 0);
    commit(&bench.db, &KEYS, 4).await;
    bench.done(&KEYS, 4).await;
    assert_eq!(bench.count_effects().await, 24, "each took effect once");
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

/// The broker holds its limit against what is sent; what was compressed may be larger when it is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_10_mb_is_refused_by_the_broker_or_parked() {
    let bench = Bench::new().await;
    let topic = bench.broker.full_name(TOPIC);
    let (relay, consumer) = (bench.relay(), bench.consumer(Take(bench.db.clone())));
    let large = vec![b'1'; TEN_MB];
    let send = async |producer: &FutureProducer, key: &str| {
        let record = FutureRecord::to(&topic).key(key).payload(&large);
        producer.send(record, Duration::from_secs(20)).await.map_err(|(error, _)| error)
    };
    let plain = bench.stranger(&[("message.max.bytes", "20000000")]);
    let refused = send(&plain, "a").await.unwrap_err();
    assert_eq!(refused, KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
    let compressing = bench.stranger(&[("message.max.bytes", "20000000"), ("compression.type", "gzip")]);
    send(&compressing, "a").await.unwrap();

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &bench.broker.brokers).create().unwrap();
    let allowed = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", "20000000");
    admin.alter_configs([&allowed], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    eventually("the topic allows it", async || send(&plain, "b").await.is_ok()).await;

    for n in 1..=2 {
        commit(&bench.db, &KEYS, n).await;
    }
    bench.done(&KEYS[2..], 2).await;
    eventually("both are parked", async || bench.waiting("a").await == 3 && bench.waiting("b").await == 3).await;
    for key in ["a", "b"] {
        let parked = parked::show(&bench.db, TOPIC, key).await.unwrap().remove(0);
        assert_eq!((parked.bytes, parked.payload.len()), (10_485_761, 1_048_588), "its beginning is kept");
        assert!(parked.reason.as_ref().unwrap().contains("10485761 bytes"), "{parked:?}");
        parked::drop(&bench.db, TOPIC, key, false).await.unwrap();
        parked::replay(&bench.db, TOPIC, key).await.unwrap();
    }
    bench.done(&KEYS, 2).await;
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

/// A version that nobody knows yet waits for the program that does.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_waits_for_the_program_that_knows_it() {
    let bench = Bench::new().await;
    let (relay, consumer) = (bench.relay(), bench.consumer(Take(bench.db.clone())));
    commit(&bench.db, &KEYS, 1).await;
    bench.done(&KEYS, 1).await;
    let id = bench.smuggle_message("a", r#"{"n":2}"#).await;
    for n in 3..=4 {
        commit(&bench.db, &KEYS, n).await;
    }
    bench.done(&KEYS[1..], 4).await;
    eventually("its key is parked", async || bench.waiting("a").await == 3).await;
    let first = parked::show(&bench.db, TOPIC, "a").await.unwrap().remove(0);
    assert_eq!((first.id, first.kind.as_deref()), (id, Some("it.happened.v2")));

    parked::replay(&bench.db, TOPIC, "a").await.unwrap();
    eventually("the old program does not know it", async || !bench.parked().await[0].replaying).await;
    assert_eq!((bench.waiting("a").await, bench.effects_of("a").await), (3, vec![1]));
    // Marked while nobody runs.
    consumer.stop().await;
    parked::replay(&bench.db, TOPIC, "a").await.unwrap();
    let db = bench.db.clone();
    let mended = bench.consumer(With(move |mut batch: Arc<Batch>| {
        let db = db.clone();
        async move {
            for record in Arc::make_mut(&mut batch).records.iter_mut().filter(|record| record.kind.ends_with("v2")) {
                record.payload = b"2".to_vec();
            }
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            Ok(tx.commit().await?)
        }
    }));
    bench.done(&["a"], 4).await;
    assert_eq!(bench.effects_of("a").await, [1, 2, 3, 4]);
    eventually("nothing is parked", async || bench.parked().await.is_empty()).await;
    mended.stop().await;
    relay.stop().await;
    bench.finish().await;
}

/// The database refuses a batch for one of its messages: the guilty one is found, and the others are done.
#[tokio::test(flavor = "multi_thread")]
async fn the_message_that_breaks_a_constraint_is_found_among_many() {
    let bench = Bench::new().await;
    sqlx::raw_sql("alter table effect add constraint unlucky check (key <> 'k13')").execute(&bench.db).await.unwrap();
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let relay = bench.relay();
    for n in 1..=2 {
        commit(&bench.db, &keys, n).await;
    }
    eventually("all are sent", async || bench.topic().len() == 200).await;
    let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (db, note) = (bench.db.clone(), Arc::clone(&sizes));
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, note) = (db.clone(), Arc::clone(&note));
        async move {
            note.lock().unwrap().push(batch.records.len());
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            Ok(tx.commit().await?)
        }
    }));
    eventually("all others are done", async || bench.count_effects().await == 198).await;
    eventually("one key is parked", async || bench.waiting("k13").await == 2).await;
    assert_eq!(bench.parked().await.len(), 1);
    assert!(bench.parked().await[0].reason.contains("unlucky"), "{:?}", bench.parked().await);
    {
        let sizes = sizes.lock().unwrap();
        assert!(sizes[0] > 10 && sizes.contains(&1), "a batch was halved down to one message: {sizes:?}");
        assert!(sizes.len() < 40, "in few transactions: {sizes:?}");
    }
    sqlx::raw_sql("alter table effect drop constraint unlucky").execute(&bench.db).await.unwrap();
    parked::replay(&bench.db, TOPIC, "k13").await.unwrap();
    bench.done(&["k13"], 2).await;
    assert_eq!(bench.effects_of("k13").await, [1, 2]);
    assert_eq!(bench.count_effects().await, 200, "each took effect once");
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

/// A handler that can name the message at fault loses nothing else of the batch, and no time.
#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_transition_is_named_by_its_handler() {
    let bench = Bench::new().await;
    let (allowed, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (db, may, count) = (bench.db.clone(), Arc::clone(&allowed), Arc::clone(&calls));
    let relay = bench.relay();
    for n in 1..=3 {
        commit(&bench.db, &KEYS, n).await;
    }
    eventually("all are sent", async || bench.topic().len() == 18).await;
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, may, count) = (db.clone(), Arc::clone(&may), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let mut tx = db.begin().await?;
            for record in inbox::accept(&mut tx, &batch).await? {
                let n: i32 = record.decode()?;
                if record.key == "c" && n == 2 && !may.load(Ordering::SeqCst) {
                    return Err(HandleError::this_message(record.id, "impossible"));
                }
                let effect = sqlx::query("insert into effect (key, n) values ($1, $2)").bind(&record.key).bind(n);
                effect.execute(&mut *tx).await?;
            }
            Ok(tx.commit().await?)
        }
    }));
    eventually("all others are done", async || bench.count_effects().await == 16).await;
    eventually("its key is parked", async || bench.waiting("c").await == 2).await;
    assert_eq!(bench.effects_of("c").await, [1], "what came before it is done");
    assert!(calls.load(Ordering::SeqCst) <= 8, "one call more for a message at fault");
    allowed.store(true, Ordering::SeqCst);
    parked::replay(&bench.db, TOPIC, "c").await.unwrap();
    bench.done(&["c"], 3).await;
    assert_eq!(bench.effects_of("c").await, [1, 2, 3]);
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_parked_key_too_many_ends_the_consumer_until_there_is_room() {
    let bench = Bench::new().await;
    let start = || bench.consumer_that_parks(2, 500, Take(bench.db.clone()));
    let (relay, consumer) = (bench.relay(), start());
    for key in ["a", "b"] {
        bench.smuggle_message(key, "?").await;
    }
    eventually("two are parked", async || bench.parked().await.len() == 2).await;
    bench.smuggle_message("a", "?").await;
    eventually("one more of a parked key is none too many", async || bench.waiting("a").await == 2).await;
    bench.smuggle_message("c", "?").await;
    for consumer in [consumer, start()] {
        let error = consumer.error().await;
        assert!(matches!(&error, ConsumerError::TooManyParked { parked: 2, .. }), "{error:?}");
        assert!(error.to_string().contains("replay or drop"), "{error}");
    }
    commit(&bench.db, &["c", "d"], 1).await;
    assert_eq!((bench.parked().await.len(), bench.count_effects().await), (2, 0));

    parked::drop(&bench.db, TOPIC, "b", true).await.unwrap();
    let consumer = start();
    bench.done(&["d"], 1).await;
    eventually("there was room", async || bench.waiting("c").await == 2).await;
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

/// Messages keep coming, the partitions move to another instance and back, keys are parked, replayed, parked again: each
/// message of a key takes effect once and in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_not_overtaken_whoever_reads_the_partition() {
    let bench = Arc::new(Bench::new().await);
    let relay = bench.relay();
    let mut consumer = bench.consumer_of_batches(5, Take(bench.db.clone()));
    let writing = tokio::spawn({
        let bench = Arc::clone(&bench);
        async move {
            for n in 1..=600 {
                commit(&bench.db, &KEYS[..3], n).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let mut rounds = 0;
    while !writing.is_finished() {
        rounds += 1;
        bench.smuggle_message("a", "?").await;
        // The last message may have been written: then nothing joins.
        bench.eventually("the key is parked", async || bench.waiting("a").await > 2 || writing.is_finished()).await;
        // Another instance takes over: what it knows of the key, it knows from the database.
        let other = bench.consumer_of_batches(5, Take(bench.db.clone()));
        consumer.stop().await;
        consumer = other;
        let joined = bench.waiting("a").await;
        bench
            .eventually("messages join at the other", async || {
                bench.waiting("a").await > joined || writing.is_finished()
            })
            .await;
        bench.eventually("it is parked", async || bench.waiting("a").await > 0).await;
        parked::drop(&bench.db, TOPIC, "a", false).await.unwrap();
        parked::replay(&bench.db, TOPIC, "a").await.unwrap();
        bench.eventually("the key is free", async || bench.waiting("a").await == 0).await;
    }
    writing.await.unwrap();
    assert!(rounds > 1, "{rounds} rounds");
    bench.done(&KEYS[..3], 600).await;
    for key in &KEYS[..3] {
        assert_eq!(bench.effects_of(key).await, (1..=600).collect::<Vec<_>>(), "{key}");
    }
    consumer.stop().await;
    relay.stop().await;
    Arc::into_inner(bench).unwrap().finish().await;
}

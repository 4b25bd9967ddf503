//! Consumers, their groups and their fences.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use messaging::{
    Batch, Condition, HandleError, Offsets, Place, Position,
    consumer::BoxError,
    parked::ParkedMessage,
    postgres::{self, inbox},
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use tokio::sync::Notify;

use crate::support::{Bench, PARTITIONS, TOPIC, Take, With, commit, eventually, take};

const KEYS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

#[tokio::test]
async fn a_batch_that_was_done_already_is_fenced_and_changes_nothing() {
    let bench = Bench::new().await;
    let seen: Arc<Mutex<Vec<Batch>>> = Arc::default();
    let (db, note) = (bench.db.clone(), Arc::clone(&seen));
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, note) = (db.clone(), Arc::clone(&note));
        async move {
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            note.lock().unwrap().push((*batch).clone());
            Ok(tx.commit().await?)
        }
    }));
    let relay = bench.relay();
    commit(&bench.db, &["a", "a"], 1).await;
    eventually("the effects", async || bench.count_effects().await == 2).await;
    relay.stop().await;
    consumer.stop().await;

    let stale = seen.lock().unwrap()[0].clone();
    assert!(!stale.records.is_empty() && stale.positions.len() == 1);
    let mut tx = bench.db.begin().await.unwrap();
    assert!(matches!(inbox::accept(&mut tx, &stale).await, Err(HandleError::Fenced)));
    tx.rollback().await.unwrap();

    // The same messages at later offsets, as a relay that begins again sends them: the offset moves, nothing is new.
    let position = &stale.positions[0];
    let (from, generation) = (position.to, position.to_generation);
    let again = Position { from, to: from + 2, from_generation: generation, ..position.clone() };
    let older = Position { from_generation: generation - 1, ..again.clone() };
    let older = Batch { positions: vec![older], ..stale.clone() };
    let mut tx = bench.db.begin().await.unwrap();
    assert!(matches!(inbox::accept(&mut tx, &older).await, Err(HandleError::Fenced)), "of another generation");
    tx.rollback().await.unwrap();
    let again = Batch { positions: vec![again], ..stale.clone() };
    let mut tx = bench.db.begin().await.unwrap();
    assert!(inbox::accept(&mut tx, &again).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_consumer_goes_on_where_the_other_has_come_to() {
    let bench = Bench::new().await;
    let fenced = Arc::new(AtomicUsize::new(0));
    let (db, count) = (bench.db.clone(), Arc::clone(&fenced));
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, count) = (db.clone(), Arc::clone(&count));
        async move {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                // Another instance does the same batch first.
                let mut other = db.begin().await?;
                take(&mut other, &batch).await?;
                other.commit().await?;
            }
            let mut tx = db.begin().await?;
            let taken = take(&mut tx, &batch).await;
            assert_eq!(matches!(taken, Err(HandleError::Fenced)), count.load(Ordering::SeqCst) == 1);
            taken?;
            Ok(tx.commit().await?)
        }
    }));
    let relay = bench.relay();
    for n in 1..=20 {
        commit(&bench.db, &KEYS, n).await;
    }
    eventually("all effects", async || bench.count_effects().await >= 240).await;
    commit(&bench.db, &KEYS, 21).await;
    eventually("the last effects", async || bench.count_effects().await >= 252).await;
    for numbers in bench.effects().await.values() {
        assert_eq!(*numbers, (1..=21).collect::<Vec<_>>());
    }
    assert!(fenced.load(Ordering::SeqCst) > 1);
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_long_does_not_hold_up_the_others_of_its_group() {
    let bench = Bench::new().await;
    let (stuck, go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (db, is_stuck, wait) = (bench.db.clone(), Arc::clone(&stuck), Arc::clone(&go_on));
    let slow = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, is_stuck, wait) = (db.clone(), Arc::clone(&is_stuck), Arc::clone(&wait));
        async move {
            if !is_stuck.swap(true, Ordering::SeqCst) {
                wait.notified().await;
            }
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            Ok(tx.commit().await?)
        }
    }));
    let relay = bench.relay();
    commit(&bench.db, &KEYS, 1).await;
    eventually("the first is stuck", async || stuck.load(Ordering::SeqCst)).await;
    commit(&bench.db, &KEYS, 2).await;
    let other = bench.consumer(Take(bench.db.clone()));
    eventually("the second works", async || bench.count_effects().await > 0).await;
    go_on.notify_one();
    eventually("all effects", async || bench.count_effects().await >= 24).await;
    slow.stop().await;
    commit(&bench.db, &KEYS, 3).await;
    eventually("the second does all", async || bench.count_effects().await >= 36).await;
    for numbers in bench.effects().await.values() {
        assert_eq!(*numbers, [1, 2, 3]);
    }
    other.stop().await;
    relay.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_ours_is_tried_again_whole_and_parks_nothing() {
    let bench = Bench::new().await;
    let attempts: Arc<Mutex<Vec<Vec<i64>>>> = Arc::default();
    let (db, note) = (bench.db.clone(), Arc::clone(&attempts));
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, note) = (db.clone(), Arc::clone(&note));
        async move {
            let tries = {
                let mut attempts = note.lock().unwrap();
                attempts.push(batch.records.iter().map(|record| record.offset).collect());
                attempts.len()
            };
            if tries <= 2 {
                return Err(sqlx::Error::PoolTimedOut.into());
            }
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            Ok(tx.commit().await?)
        }
    }));
    let relay = bench.relay();
    commit(&bench.db, &["a", "a", "a"], 1).await;
    eventually("the effects", async || bench.count_effects().await == 3).await;
    assert_eq!(consumer.condition(), Condition::Works);
    {
        let attempts = attempts.lock().unwrap();
        assert_eq!(attempts[0], attempts[1]);
        assert_eq!(attempts[0], attempts[2]);
    }
    assert_eq!(bench.ask("select count(*) from parked_message where $1 <> ''").await, 0);
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

/// It lives, and says that it does not get on.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_batch_cannot_be_done_is_silent_until_it_is() {
    let bench = Bench::new().await;
    let (mended, db) = (Arc::new(AtomicBool::new(false)), bench.db.clone());
    let may = Arc::clone(&mended);
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (may, db) = (Arc::clone(&may), db.clone());
        async move {
            if !may.load(Ordering::SeqCst) {
                return Err(sqlx::Error::PoolTimedOut.into());
            }
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            Ok(tx.commit().await?)
        }
    }));
    let relay = bench.relay();
    eventually("it waits for messages", async || consumer.condition() == Condition::Works).await;
    commit(&bench.db, &["a"], 1).await;
    eventually("it is silent", async || consumer.condition() == Condition::Silent).await;
    mended.store(true, Ordering::SeqCst);
    eventually("it works again", async || consumer.condition() == Condition::Works).await;
    assert_eq!(bench.count_effects().await, 1);
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

/// Offsets that cannot be loaded before they are mended.
#[derive(Clone)]
struct Away {
    offsets: postgres::Offsets,
    asked: Arc<AtomicUsize>,
    mended: Arc<AtomicBool>,
}

impl Offsets for Away {
    async fn load(&self, topic: &str, partitions: &[i32]) -> Result<HashMap<i32, Place>, BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if !self.mended.load(Ordering::SeqCst) {
            return Err(sqlx::Error::PoolTimedOut.into());
        }
        self.offsets.load(topic, partitions).await
    }

    async fn marked(&self, partitions: &[(String, i32)]) -> Result<Vec<ParkedMessage>, BoxError> {
        self.offsets.marked(partitions).await
    }

    async fn unmark(&self, message: &ParkedMessage, reason: &str) -> Result<(), BoxError> {
        self.offsets.unmark(message, reason).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_silent_until_its_offsets_are_loaded() {
    let bench = Bench::new().await;
    let offsets = postgres::Offsets::new(bench.db.clone());
    let away = Away { offsets, asked: Arc::default(), mended: Arc::default() };
    let consumer = bench.consumer_with(away.clone(), 500, Take(bench.db.clone()));
    eventually("it is given partitions", async || away.asked.load(Ordering::SeqCst) > 3).await;
    assert_eq!(consumer.condition(), Condition::Silent);
    away.mended.store(true, Ordering::SeqCst);
    eventually("it knows where to read", async || consumer.condition() == Condition::Works).await;
    consumer.stop().await;
    bench.finish().await;
}

/// Whoever is no member of its group is silent; whoever is and has no partition is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_silent_until_its_group_has_it() {
    let mut bench = Bench::new().await;
    let consumers: Vec<_> = (0..=PARTITIONS).map(|_| bench.consumer(Take(bench.db.clone()))).collect();
    let brokers = std::mem::replace(&mut bench.broker.brokers, "127.0.0.1:1".to_owned());
    let alone = bench.consumer(Take(bench.db.clone()));
    bench.broker.brokers = brokers;
    let work = || consumers.iter().all(|one| one.condition() == Condition::Works);
    eventually("all are members", async || work()).await;
    assert_eq!(alone.condition(), Condition::Silent);
    for consumer in consumers.into_iter().chain([alone]) {
        consumer.stop().await;
    }
    bench.finish().await;
}

/// Makes the broker forget the first two records of each partition.
async fn forget_two(bench: &Bench) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &bench.broker.brokers).create().unwrap();
    let mut upto = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        upto.add_partition_offset(&bench.broker.full_name(TOPIC), partition, Offset::Offset(2)).unwrap();
    }
    admin.delete_records(&upto, &AdminOptions::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_begins_with_what_the_topic_still_has_if_it_is_new_or_its_place_is_gone() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    for n in 1..=2 {
        commit(&bench.db, &KEYS, n).await;
    }
    eventually("all are sent", async || bench.topic().len() >= 24).await;
    relay.stop().await;
    let sent = bench.topic().len();
    forget_two(&bench).await;
    let left = i64::try_from(bench.topic().len()).unwrap();
    assert!(left > 0 && usize::try_from(left).unwrap() < sent);

    let consumer = bench.consumer(Take(bench.db.clone()));
    eventually("what is left", async || bench.count_effects().await == left).await;
    consumer.stop().await;

    let places = "select sum(next_offset)::bigint from consumer_offset where $1 <> ''";
    let ends = bench.ask(places).await;
    for lost in [1, 1_000_000] {
        sqlx::query("update consumer_offset set next_offset = $1").bind(lost).execute(&bench.db).await.unwrap();
        let consumer = bench.consumer(Take(bench.db.clone()));
        eventually("all is read again", async || bench.ask(places).await == ends).await;
        consumer.stop().await;
    }
    assert_eq!(bench.count_effects().await, left, "what is read twice has no effect");
    bench.finish().await;
}

#[tokio::test]
async fn what_breaks_a_constraint_is_the_fault_of_the_message_and_a_lost_race_is_ours() {
    let bench = Bench::new().await;
    let fault = async |statement: &'static str| {
        HandleError::from(sqlx::raw_sql(statement).execute(&bench.db).await.unwrap_err())
    };
    assert!(matches!(fault("insert into counter values ('a', null)").await, HandleError::Message(_)));
    assert!(matches!(fault("select 1 / 0").await, HandleError::Message(_)));
    let late = fault("set statement_timeout = 1; select pg_sleep(10)").await;
    assert!(matches!(late, HandleError::Ours(_)), "{late:?}");
    assert!(matches!(HandleError::from(sqlx::Error::PoolTimedOut), HandleError::Ours(_)));
    bench.finish().await;
}

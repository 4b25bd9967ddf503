//! The outbox and its relay.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use messaging::{
    Condition, Outgoing, TooLarge,
    envelope::LARGEST,
    postgres::{outbox, relay},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{Bench, TOPIC, Take, commit, eventually, message};

pub(crate) const WRITERS: i32 = 8;
const ROUNDS: i32 = 100;
pub(crate) const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Counts one up and says so; every fifth time it changes its mind. Gives the message ids that must never be sent.
pub(crate) async fn write(db: PgPool, writer: i32) -> Vec<Uuid> {
    let mut dropped = Vec::new();
    for round in 0..ROUNDS {
        let key = KEYS[usize::try_from((writer * 3 + round) % 5).unwrap()];
        let mut tx = db.begin().await.unwrap();
        let n: i32 = sqlx::query_scalar(
            "insert into counter values ($1, 1) on conflict (key) do update set n = counter.n + 1 returning n",
        )
        .bind(key)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        let message = message(key, n);
        outbox::put(&mut tx, std::slice::from_ref(&message)).await.unwrap();
        if round % 5 == 4 {
            tx.rollback().await.unwrap();
            dropped.push(message.id);
        } else {
            tx.commit().await.unwrap();
        }
    }
    dropped
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_takes_effect_once_and_in_order_though_the_relay_dies_midway() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let consumer = bench.consumer(Take(bench.db.clone()));
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(bench.db.clone(), writer))).collect();

    // Nothing is confirmed within the first seconds, so the next relay sends again what this one has sent.
    eventually("some effects", async || bench.count_effects().await > 50).await;
    relay.kill().await;
    let relay = bench.relay();
    let mut dropped = HashSet::new();
    for writer in writers {
        dropped.extend(writer.await.unwrap());
    }
    // The relay that died may have sent all there was by then. It cannot have sent this, and in front of it the next one
    // sends what came before.
    commit(&bench.db, &["last"], 1).await;
    let committed = i64::from(WRITERS * ROUNDS * 4 / 5) + 1;
    eventually("all effects", async || bench.count_effects().await >= committed).await;

    let mut effects = bench.effects().await;
    assert_eq!(effects.remove("last"), Some(vec![1]));
    let counted: Vec<(String, i32)> = sqlx::query_as("select key, n from counter").fetch_all(&bench.db).await.unwrap();
    assert_eq!((effects.len(), counted.len()), (KEYS.len(), KEYS.len()));
    for (key, n) in counted {
        assert_eq!(effects[&key], (1..=n).collect::<Vec<_>>(), "key {key}");
    }
    let sent: Vec<Uuid> = bench.topic().into_iter().map(|(_, id)| id).collect();
    let distinct: HashSet<Uuid> = sent.iter().copied().collect();
    assert_eq!(i64::try_from(distinct.len()).unwrap(), committed);
    assert!(sent.len() > distinct.len(), "the relay that came second sent nothing again: the case was not reached");
    assert_eq!(dropped.len(), usize::try_from(WRITERS * ROUNDS / 5).unwrap());
    assert!(distinct.is_disjoint(&dropped));

    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_relays_and_another_takes_over() {
    let bench = Bench::new().await;
    let consumer = bench.consumer(Take(bench.db.clone()));
    let first = bench.relay();
    commit(&bench.db, &["a"], 1).await;
    eventually("the first relay sends", async || bench.count_effects().await == 1).await;
    let second = bench.relay();
    eventually("the second waits", async || second.condition() == Condition::StandsBy).await;
    assert_eq!(first.condition(), Condition::Works);
    first.stop().await;
    commit(&bench.db, &["a"], 2).await;
    eventually("the second relay sends", async || bench.count_effects().await == 2).await;
    assert_eq!(second.condition(), Condition::Works);
    assert_eq!(bench.effects().await["a"], [1, 2]);
    second.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// Two replicas that start at once both find no slot. One makes it, which takes until all transactions of that moment have
/// ended, and until then it stands nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_another_replica_is_making_is_no_fault() {
    let bench = Bench::new().await;
    bench.drop_slot().await;
    let mut gate = bench.db.begin().await.unwrap();
    sqlx::raw_sql("lock table relay").execute(&mut *gate).await.unwrap();
    let (db, slot) = (bench.db.clone(), bench.slot());
    let late = tokio::spawn(async move { relay::prepare(&db, &slot).await });
    let waiting = "select count(*) from pg_locks where relation = 'relay'::regclass and not granted and $1 <> ''";
    eventually("it has found no slot", async || bench.ask(waiting).await == 1).await;
    let mut long = bench.db.begin().await.unwrap();
    sqlx::query("insert into other values (1)").execute(&mut *long).await.unwrap();
    let being_made = "select count(*) from pg_replication_slots where slot_name = $1 and confirmed_flush_lsn is null";
    let making = async {
        eventually("the slot is being made", async || bench.ask(being_made).await == 1).await;
        gate.rollback().await.unwrap();
        late.await.unwrap().unwrap();
        assert_eq!(bench.ask(being_made).await, 1, "it was not waited for");
        long.commit().await.unwrap();
    };
    tokio::join!(bench.make_slot(), making);
    assert_eq!(bench.ask(being_made).await, 0);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_confirmed_when_the_broker_had_time_to_write_and_past_what_is_not_ours() {
    // To where the log is written, or will be: a commit need not be on the disk when it returns.
    const LOG: &str = "select (pg_current_wal_insert_lsn() - '0/0')::bigint where $1 <> ''";
    // The broker's disk is a second behind, and as much again is to spare.
    const EARLIEST: Duration = Duration::from_secs(2);
    let bench = Bench::new().await;
    let relay = bench.relay();
    let committed = Instant::now();
    commit(&bench.db, &["a"], 1).await;
    let ours = bench.ask(LOG).await;
    eventually("our commit is confirmed", async || bench.confirmed().await >= ours).await;
    assert!(committed.elapsed() > EARLIEST, "confirmed as soon as it was acknowledged");
    assert_eq!(bench.topic().len(), 1);

    sqlx::query("insert into other select generate_series(1, 1000)").execute(&bench.db).await.unwrap();
    let theirs = bench.ask(LOG).await;
    assert!(theirs > ours);
    eventually("what others wrote is confirmed", async || bench.confirmed().await >= theirs).await;
    relay.stop().await;
    bench.finish().await;
}

/// The largest message the broker takes.
async fn limit_messages_to(bench: &Bench, bytes: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &bench.broker.brokers).create().unwrap();
    let topic = bench.broker.full_name(TOPIC);
    let limit = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", bytes);
    admin.alter_configs(&[limit], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_a_message_that_the_broker_refuses() {
    let bench = Bench::new().await;
    limit_messages_to(&bench, "1000").await;
    let consumer = bench.consumer(Take(bench.db.clone()));
    let relay = bench.relay();
    commit(&bench.db, &["a"], 1).await;
    eventually("the first effect", async || bench.count_effects().await == 1).await;
    let reader = bench.reader_of_the_log().await.unwrap();
    let mut large = message("a", 2);
    large.traceparent = Some("0".repeat(2000));
    let mut tx = bench.db.begin().await.unwrap();
    outbox::put(&mut tx, &[large]).await.unwrap();
    tx.commit().await.unwrap();
    for n in 3..=20 {
        commit(&bench.db, &["a"], n).await;
    }
    eventually("the relay begins again", async || bench.reader_of_the_log().await.is_some_and(|again| again != reader))
        .await;
    let sent = bench.topic();
    assert!(sent.iter().all(|message| *message == sent[0]), "a later message overtook the refused one");

    limit_messages_to(&bench, "1000000").await;
    eventually("all effects", async || bench.count_effects().await == 20).await;
    assert_eq!(bench.effects().await["a"], (1..=20).collect::<Vec<_>>());
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_sent_whole_and_in_order() {
    const MESSAGES: i32 = 25_000;
    let bench = Bench::new().await;
    let mut tx = bench.db.begin().await.unwrap();
    let messages: Vec<_> = (1..=MESSAGES).map(|n| message("a", n)).collect();
    outbox::put(&mut tx, &messages).await.unwrap();
    tx.commit().await.unwrap();
    let relay = bench.relay();
    let consumer = bench.consumer(Take(bench.db.clone()));
    eventually("all effects", async || bench.count_effects().await == i64::from(MESSAGES)).await;
    assert_eq!(bench.effects().await["a"], (1..=MESSAGES).collect::<Vec<_>>());
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// The database holds its reading of one transaction to the limit, too: measured, it hangs up in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_sending_takes_longer_than_its_role_may_be_in_one_is_sent_once() {
    const MESSAGES: i32 = 50_000;
    const LIMIT: Duration = Duration::from_millis(200);
    let bench = Bench::new().await;
    let role = format!("{}_relay", bench.slot());
    let limited = format!(
        "create role {role} login replication password 'x'; alter role {role} set transaction_timeout = {}",
        LIMIT.as_millis()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(limited)).execute(&bench.db).await.unwrap();
    let mut tx = bench.db.begin().await.unwrap();
    let messages: Vec<_> = (1..=MESSAGES).map(|n| message("a", n)).collect();
    outbox::put(&mut tx, &messages).await.unwrap();
    tx.commit().await.unwrap();
    let end = bench.log_end().await;

    let (_, host) = bench.url().split_once('@').unwrap();
    let relay = bench.relay_as(format!("postgres://{role}:x@{host}"));
    eventually("the first are sent", async || bench.ends().await > 0).await;
    let began = Instant::now();
    let all = i64::from(MESSAGES);
    eventually("all are sent", async || bench.ends().await >= all).await;
    assert!(began.elapsed() > LIMIT, "a transaction of so many is none that takes long: {:?}", began.elapsed());
    eventually("it is confirmed", async || bench.known().await >= end).await;
    assert_eq!(bench.ends().await, all, "none was sent again");
    relay.stop().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop role {role}"))).execute(&bench.db).await.unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn a_message_that_could_not_leave_is_not_let_in() {
    let bench = Bench::new().await;
    let mut tx = bench.db.begin().await.unwrap();
    let large = |bytes| Outgoing { payload: "x".repeat(bytes), ..message("a", 1) };
    let refused = outbox::put(&mut tx, &[large(LARGEST)]).await.unwrap_err();
    let sqlx::Error::Encode(refused) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.downcast_ref::<TooLarge>().unwrap().bytes, LARGEST + 15);
    outbox::put(&mut tx, &[large(LARGEST - 15)]).await.unwrap();
    tx.commit().await.unwrap();
    let relay = bench.relay();
    eventually("the largest message leaves", async || bench.topic().len() == 1).await;
    relay.stop().await;
    bench.finish().await;
}

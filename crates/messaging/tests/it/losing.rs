//! What was kept elsewhere is lost, and nothing is missing.

use std::collections::{HashMap, HashSet};

use messaging::postgres::relay;
use sqlx::PgPool;
use testkit::TestPostgres;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    relaying::{KEYS, WRITERS, write},
    support::{Bench, Take, commit, eventually},
};

/// How a slot is lost while no relay runs.
async fn lose_slot(bench: &Bench, how: &str) {
    bench.drop_slot().await;
    match how {
        "dropped" => {}
        "prepared again" => relay::prepare(&bench.db, &bench.slot()).await.unwrap(),
        "made again by somebody else" => bench.make_slot().await,
        "never made" => {
            sqlx::query("delete from relay").execute(&bench.db).await.unwrap();
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_while_the_slot_was_lost_is_sent_behind_what_is_sent_again() {
    let ways = ["dropped", "prepared again", "made again by somebody else", "never made"];
    futures::future::join_all(ways.map(send_again_when_lost)).await;
}

async fn send_again_when_lost(how: &str) {
    let bench = Bench::new().await;
    let consumer = bench.consumer(Take(bench.db.clone()));
    let relay = bench.relay();
    commit(&bench.db, &KEYS, 1).await;
    let ours = bench.log_end().await;
    eventually("our commit is confirmed", async || bench.confirmed().await >= ours).await;
    relay.stop().await;
    commit(&bench.db, &KEYS, 2).await;
    lose_slot(&bench, how).await;
    commit(&bench.db, &KEYS, 3).await;

    let relay = bench.relay();
    eventually(how, async || bench.count_effects().await == 15).await;
    for key in KEYS {
        assert_eq!(bench.effects().await[key], [1, 2, 3], "{how}");
    }
    let copies = copies(&bench);
    assert_eq!(copies.len(), 15);
    let again = copies.values().filter(|times| **times > 1).count();
    assert!(again >= 5, "{how}: what was confirmed before was not sent again, so the outbox was not read");

    // Once what was sent again is confirmed, the next relay begins where this one ended.
    let ours = bench.log_end().await;
    commit(&bench.db, &KEYS, 4).await;
    eventually("all is confirmed", async || bench.known().await >= ours).await;
    relay.stop().await;
    let sent = bench.topic().len();
    let relay = bench.relay();
    commit(&bench.db, &KEYS, 5).await;
    eventually("the last effects", async || bench.count_effects().await == 25).await;
    assert!(bench.topic().len() <= sent + 10, "{how}: the outbox was read a second time");
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// How often each message stands in the topic.
fn copies(bench: &Bench) -> HashMap<Uuid, usize> {
    let mut copies = HashMap::new();
    for (_, id) in bench.topic() {
        *copies.entry(id).or_default() += 1;
    }
    copies
}

async fn write_until(enough: CancellationToken, db: PgPool, writer: i32) {
    while !enough.is_cancelled() {
        write(db.clone(), writer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_overtaken_though_the_slot_is_dropped_under_load() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let consumer = bench.consumer(Take(bench.db.clone()));
    let enough = CancellationToken::new();
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write_until(enough.clone(), bench.db.clone(), writer)));
    let writers: Vec<_> = writers.collect();
    for _ in 0..3 {
        let before = bench.count_effects().await;
        eventually("some effects", async || bench.count_effects().await > before + 100).await;
        bench.drop_slot().await;
    }
    enough.cancel();
    futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    let committed = bench.ask("select sum(n) from counter where $1 <> ''").await;
    eventually("all effects", async || bench.count_effects().await >= committed).await;
    let effects = bench.effects().await;
    let counted: Vec<(String, i32)> = sqlx::query_as("select key, n from counter").fetch_all(&bench.db).await.unwrap();
    for (key, n) in counted {
        assert_eq!(effects[&key], (1..=n).collect::<Vec<_>>(), "key {key}");
    }
    let ids: HashSet<Uuid> = bench.topic().into_iter().map(|(_, id)| id).collect();
    assert_eq!(i64::try_from(ids.len()).unwrap(), committed);
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_the_database_gave_up_is_made_anew() {
    let postgres = TestPostgres::with_log_of("postgres-small-log", 1).await;
    let bench = Bench::on(&postgres).await;
    let consumer = bench.consumer(Take(bench.db.clone()));
    let relay = bench.relay();
    commit(&bench.db, &["a"], 1).await;
    eventually("the first effect", async || bench.count_effects().await == 1).await;
    relay.stop().await;
    commit(&bench.db, &["a"], 2).await;
    eventually("the database gives the slot up", async || {
        // A segment of the log, 16 MB, is the least it can let go.
        sqlx::query("insert into other select generate_series(1, 100000)").execute(&bench.db).await.unwrap();
        sqlx::query("select pg_switch_wal()").execute(&bench.db).await.unwrap();
        sqlx::query("checkpoint").execute(&bench.db).await.unwrap();
        bench.ask("select count(*) from pg_replication_slots where slot_name = $1 and wal_status = 'lost'").await == 1
    })
    .await;
    commit(&bench.db, &["a"], 3).await;
    let relay = bench.relay();
    eventually("all effects", async || bench.count_effects().await == 3).await;
    assert_eq!(bench.effects().await["a"], [1, 2, 3]);
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

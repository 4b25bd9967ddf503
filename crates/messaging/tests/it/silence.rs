//! The relay hears nothing from the database's log.

use std::time::{Duration, Instant};

use messaging::Condition;
use sqlx::{AssertSqlSafe, Connection as _, PgPool, postgres::PgPoolOptions};
use testkit::Proxy;

use crate::support::{Bench, Take, commit, eventually};

/// The connection that reads the slot.
const READER: &str = "select coalesce(max(active_pid), 0)::bigint from pg_replication_slots where slot_name = $1";

/// How long the database waits for a relay of which it hears nothing, from the next connection on.
async fn wal_sender_timeout(db: &PgPool, database: &str, timeout: &str) {
    let set = format!("alter database {database} set wal_sender_timeout = '{timeout}'");
    sqlx::raw_sql(AssertSqlSafe(set)).execute(db).await.unwrap();
}

/// As when a firewall forgets the connection: the database gives it up, and its farewell never comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_connection_was_forgotten_notices_and_sends_over_another() {
    let bench = Bench::new().await;
    wal_sender_timeout(&bench.db, &bench.slot(), "2s").await;
    let (proxy, url) = Proxy::before(bench.url()).await;
    let relay = bench.relay_as(url);
    let consumer = bench.consumer(Take(bench.db.clone()));
    commit(&bench.db, &["a"], 1).await;
    eventually("it sends", async || bench.count_effects().await == 1).await;
    proxy.forget();
    let forgotten = Instant::now();
    commit(&bench.db, &["a"], 2).await;
    bench.eventually("it sends over another", async || bench.count_effects().await == 2).await;
    eprintln!("sent {:?} after the connection was forgotten", forgotten.elapsed());
    assert_eq!(bench.effects().await["a"], [1, 2]);
    eventually("it works", async || relay.condition() == Condition::Works).await;
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// Else two would say that they work.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_connection_was_forgotten_and_whose_place_is_taken_stands_by() {
    let bench = Bench::new().await;
    // It is asked after 2 s and 4 s: by then the other one has the place.
    wal_sender_timeout(&bench.db, &bench.slot(), "3s").await;
    let (proxy, url) = Proxy::before(bench.url()).await;
    let first = bench.relay_as(url);
    eventually("the first works", async || first.condition() == Condition::Works).await;
    let second = bench.relay();
    eventually("the second stands by", async || second.condition() == Condition::StandsBy).await;
    proxy.stall();
    eventually("the second works", async || second.condition() == Condition::Works).await;
    proxy.forget();
    proxy.forward();
    eventually("the first stands by", async || first.condition() == Condition::StandsBy).await;
    assert_eq!(second.condition(), Condition::Works);
    first.stop().await;
    second.stop().await;
    bench.finish().await;
}

/// All connections, those of the pool as well; it does not test them first, and gives up those that were waited for in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_all_of_whose_connections_were_forgotten_goes_on_over_others() {
    let bench = Bench::new().await;
    let (proxy, url) = Proxy::before(bench.url()).await;
    let limit = Duration::from_secs(1);
    let pool = PgPoolOptions::new()
        .min_connections(3)
        .max_connections(3)
        .acquire_timeout(limit)
        .test_before_acquire(false)
        .after_release(move |connection, _| {
            let answered = tokio::time::timeout(limit, connection.flush());
            Box::pin(async { answered.await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true) })
        })
        .connect(&url)
        .await
        .unwrap();
    let relay = bench.relay_over(url, pool);
    let consumer = bench.consumer(Take(bench.db.clone()));
    commit(&bench.db, &["a"], 1).await;
    eventually("it sends", async || bench.count_effects().await == 1).await;
    proxy.forget();
    commit(&bench.db, &["a"], 2).await;
    eventually("it does not say that it works", async || relay.condition() == Condition::Silent).await;
    bench.eventually("it sends over others", async || bench.count_effects().await == 2).await;
    eventually("it works", async || relay.condition() == Condition::Works).await;
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// The connection is forgotten before the log is read over it.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_never_let_in_tries_another_connection() {
    let bench = Bench::new().await;
    let (proxy, url) = Proxy::before(bench.url()).await;
    proxy.stall();
    let relay = bench.relay_as(url);
    eventually("it has connected", async || proxy.connections() > 0).await;
    assert_eq!(bench.ask(READER).await, 0);
    assert_eq!(relay.condition(), Condition::Silent);
    proxy.forget();
    proxy.forward();
    bench.eventually("it works", async || relay.condition() == Condition::Works).await;
    relay.stop().await;
    bench.finish().await;
}

/// A database that reads through much that is not ours says nothing meanwhile, nor does one that is held up.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_silent_and_still_has_the_connection_is_waited_for() {
    let bench = Bench::new().await;
    wal_sender_timeout(&bench.db, &bench.slot(), "10min").await;
    let (proxy, url) = Proxy::before(bench.url()).await;
    let relay = bench.relay_as(url);
    let consumer = bench.consumer(Take(bench.db.clone()));
    commit(&bench.db, &["a"], 1).await;
    eventually("it sends", async || bench.count_effects().await == 1).await;
    let reader = bench.ask(READER).await;
    assert_ne!(reader, 0);
    proxy.stall();
    commit(&bench.db, &["a"], 2).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    eventually("it works", async || relay.condition() == Condition::Works).await;
    assert_eq!(bench.count_effects().await, 1);
    proxy.forward();
    bench.eventually("it sends", async || bench.count_effects().await == 2).await;
    assert_eq!(bench.ask(READER).await, reader, "over the same connection");
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

//! The database goes without a word.

use std::time::Duration;

use messaging::{Consumer, consumer::ConsumerError, postgres::Offsets};
use sqlx::PgPool;
use testkit::Proxy;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    relaying::KEYS,
    support::{Bench, TOPIC, Take, commit, eventually},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long the consumer waits for its batch.
const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_waits_for_an_answer_that_never_comes_ends_and_the_next_goes_on() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let (proxy, url) = Proxy::before(bench.url()).await;
    let start = async || {
        let db = PgPool::connect(&url).await.unwrap();
        let offsets = Offsets::new(db.clone());
        let consumer = Consumer::new(bench.broker.clone(), &bench.slot(), &[TOPIC], offsets, 500).batch_timeout(LIMIT);
        let stop = CancellationToken::new();
        (tokio::spawn(consumer.run(Take(db), stop.clone())), stop)
    };
    let (running, _stop) = start().await;
    commit(&bench.db, &KEYS, 1).await;
    eventually("it takes in", async || bench.count_effects().await == 5).await;
    proxy.stall();
    commit(&bench.db, &KEYS, 2).await;
    let ended = timeout(PATIENCE, running).await.expect("it waits for ever").unwrap().unwrap_err();
    assert!(matches!(ended, ConsumerError::Stuck { limit: LIMIT }), "{ended}");
    assert_eq!(bench.count_effects().await, 5);

    proxy.forward();
    let (running, stop) = start().await;
    eventually("the next goes on", async || bench.count_effects().await == 10).await;
    for key in KEYS {
        assert_eq!(bench.effects().await[key], [1, 2]);
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    relay.stop().await;
    bench.finish().await;
}

//! What stops is done with what it has begun, and others go on at once.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use messaging::{Condition, postgres::relay::RelayError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    relaying::{KEYS, WRITERS, write},
    support::{Bench, Running, Take, commit, eventually},
};

/// Until another relay streams: it looks twice a second whether the slot is free.
const TAKEOVER: Duration = Duration::from_secs(3);

/// The one relay that streams, taken out of `relays`; the others stand by.
async fn the_one_that_streams(relays: &mut Vec<Running<RelayError>>) -> Running<RelayError> {
    let is = |relay: &Running<RelayError>, condition| relay.condition() == condition;
    eventually("one streams, and the others stand by", async || {
        let waiting = relays.iter().filter(|relay| is(relay, Condition::StandsBy)).count();
        waiting + 1 == relays.len() && relays.iter().any(|relay| is(relay, Condition::Works))
    })
    .await;
    let at = relays.iter().position(|relay| is(relay, Condition::Works)).unwrap();
    relays.remove(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_relays_one_streams_and_one_that_is_stopped_leaves_nothing_to_send_again() {
    let bench = Bench::new().await;
    let mut relays = vec![bench.relay(), bench.relay(), bench.relay()];
    let consumer = bench.consumer(Take(bench.db.clone()));
    let first = the_one_that_streams(&mut relays).await;
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(bench.db.clone(), writer))).collect();
    eventually("some effects", async || bench.count_effects().await > 50).await;
    let told = Instant::now();
    first.stop().await;
    let stopped = told.elapsed();
    let second = the_one_that_streams(&mut relays).await;
    let first_takeover = told.elapsed();
    for writer in writers {
        writer.await.unwrap();
    }
    let committed = i64::from(WRITERS * 80);
    eventually("all effects", async || bench.count_effects().await == committed).await;
    let sent: Vec<Uuid> = bench.topic().into_iter().map(|(_, id)| id).collect();
    assert_eq!(sent.iter().collect::<HashSet<_>>().len(), sent.len(), "nothing is sent twice");
    assert_eq!(bench.metric("messaging_duplicates_dropped_total"), Some(0.0));

    // One that dies has confirmed nothing of the last seconds: then the last one sends it again.
    let died = Instant::now();
    second.kill().await;
    let third = the_one_that_streams(&mut relays).await;
    let second_takeover = died.elapsed();
    eprintln!("stopped in {stopped:?}; the next streamed after {first_takeover:?}, after a death {second_takeover:?}");
    assert!(first_takeover < TAKEOVER && second_takeover < TAKEOVER);
    commit(&bench.db, &KEYS, 1_000).await;
    eventually("the third sends", async || bench.count_effects().await == committed + 5).await;
    third.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_stopped_leaves_its_partitions_to_the_others_at_once() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let take = || bench.consumer_of_batches(20, Take(bench.db.clone()));
    let mut consumers = vec![take(), take(), take()];
    let (written, stop) = (Arc::new(AtomicI32::new(0)), CancellationToken::new());
    let writing = tokio::spawn({
        let (db, written, stop) = (bench.db.clone(), Arc::clone(&written), stop.clone());
        async move {
            while !stop.is_cancelled() {
                let n = written.load(Ordering::SeqCst) + 1;
                commit(&db, &KEYS, n).await;
                written.store(n, Ordering::SeqCst);
            }
        }
    });
    let done = async |n: i32| {
        let last: Vec<i32> = bench.effects().await.values().map(|numbers| numbers[numbers.len() - 1]).collect();
        last.len() == KEYS.len() && last.into_iter().all(|last| last >= n)
    };
    let mut took = Vec::new();
    while consumers.len() > 1 {
        // What is written from here on is read in all partitions.
        let n = written.load(Ordering::SeqCst) + 20;
        eventually("all read", async || done(n).await).await;
        consumers.remove(0).stop().await;
        let left = Instant::now();
        let n = written.load(Ordering::SeqCst) + 2;
        eventually("the others read all", async || done(n).await).await;
        took.push(left.elapsed());
    }
    stop.cancel();
    writing.await.unwrap();
    let n = written.load(Ordering::SeqCst);
    eventually("all effects", async || done(n).await).await;
    for key in KEYS {
        assert_eq!(bench.effects().await[key], (1..=n).collect::<Vec<_>>(), "{key}");
    }
    eprintln!("of {n} rounds; the others read all {took:?} after one had stopped");
    assert!(
        took.iter().all(|took| *took < Duration::from_secs(4)),
        "{took:?}: one that is silent is given up after 6 s"
    );
    assert_eq!(bench.metric("messaging_duplicates_dropped_total"), Some(0.0), "what was read was done");
    consumers.remove(0).stop().await;
    relay.stop().await;
    bench.finish().await;
}

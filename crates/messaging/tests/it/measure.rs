//! How fast it is. Run by hand: `cargo test -p messaging --test it measure -- --ignored --nocapture --test-threads 1`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use messaging::{Batch, Outgoing, postgres::outbox};
use tokio::sync::mpsc;

use crate::support::{Bench, Take, With, commit, eventually, message, take};

const MESSAGES: i32 = 50_000;
const SELF: &str = "self";

/// User and system time of a process.
fn cpu(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn latency_of_single_messages() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let db = bench.db.clone();
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let begun = Instant::now();
        let (db, arrived) = (db.clone(), arrived.clone());
        async move {
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            tx.commit().await?;
            arrived.send((begun, Instant::now())).unwrap();
            Ok(())
        }
    }));
    commit(&bench.db, &["a"], 0).await;
    arrivals.recv().await.unwrap();
    let (mut to_handler, mut to_effect) = (Vec::new(), Vec::new());
    for n in 1..=200 {
        commit(&bench.db, &["a"], n).await;
        let committed = Instant::now();
        let (begun, done) = arrivals.recv().await.unwrap();
        to_handler.push(begun.saturating_duration_since(committed));
        to_effect.push(done.saturating_duration_since(committed));
    }
    for (name, times) in [("handler", &mut to_handler), ("effect", &mut to_effect)] {
        times.sort();
        println!("commit to {name}: median {:?}, p99 {:?}, max {:?}", times[100], times[198], times[199]);
    }
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn throughput_in_batches() {
    for size in [100, 500] {
        let bench = Bench::new().await;
        let (began, cpu_before) = (Instant::now(), cpu(SELF));
        for first in (0..MESSAGES).step_by(size) {
            let last = first + i32::try_from(size).unwrap();
            let messages: Vec<Outgoing> = (first..last).map(|n| message(&format!("key {}", n % 997), n)).collect();
            let mut tx = bench.db.begin().await.unwrap();
            outbox::put(&mut tx, &messages).await.unwrap();
            tx.commit().await.unwrap();
        }
        report(&format!("written in transactions of {size}"), began, cpu(SELF) - cpu_before);

        let (began, cpu_before) = (Instant::now(), cpu(SELF));
        let relay = bench.relay();
        let consumer = bench.consumer_of_batches(size, Take(bench.db.clone()));
        eventually("all", async || bench.count_effects().await == i64::from(MESSAGES)).await;
        report(&format!("relayed, and in effect in batches of {size}"), began, cpu(SELF) - cpu_before);
        relay.stop().await;
        consumer.stop().await;
        bench.finish().await;
    }
}

fn report(what: &str, began: Instant, spent: Duration) {
    let (took, messages) = (began.elapsed(), u128::try_from(MESSAGES).unwrap());
    let per_second = messages * 1000 / took.as_millis();
    let cpu_us = spent.as_micros() / messages;
    println!("{MESSAGES} messages {what}: {took:?}, {per_second} per s, {cpu_us} us of our CPU each");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn cost_of_waiting() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let consumer = bench.consumer(Take(bench.db.clone()));
    commit(&bench.db, &["a"], 1).await;
    eventually("the effect", async || bench.count_effects().await == 1).await;
    let theirs = bench.reader_of_the_log().await.unwrap().to_string();
    let before = (cpu(SELF), cpu(&theirs));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (ours, database) = (cpu(SELF) - before.0, cpu(&theirs) - before.1);
    println!("10 s without messages: relay and consumer {ours:?} of CPU, the database's sender {database:?}");
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

//! What operators see is what happened.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use messaging::{Batch, HandleError};

use crate::support::{Bench, Take, With, commit, eventually, take};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_taken_in_and_dropped_is_counted() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    eventually("the relay streams", async || bench.metric("messaging_relay_streaming") == Some(1.0)).await;
    let consumer = bench.consumer(Take(bench.db.clone()));
    commit(&bench.db, &KEYS, 1).await;
    eventually("the effects", async || bench.count_effects().await == 5).await;
    eventually("the records", async || bench.metric("messaging_records_total") == Some(5.0)).await;
    assert!(bench.metric("messaging_batches_total") >= Some(1.0));
    assert_eq!(bench.metric("messaging_published_total"), Some(5.0));
    assert_eq!(bench.metric("messaging_generation"), Some(1.0));
    for none in ["duplicates_dropped", "fenced", "retried_batches", "rescans", "delivery_errors"] {
        assert_eq!(bench.metric(&format!("messaging_{none}_total")), Some(0.0), "{none}");
    }
    relay.stop().await;
    assert_eq!(bench.metric("messaging_relay_streaming"), Some(0.0));

    bench.drop_slot().await;
    let relay = bench.relay();
    eventually("all is sent again", async || bench.metric("messaging_rescans_total") == Some(1.0)).await;
    let all = Some(5.0);
    eventually("and dropped", async || bench.metric("messaging_duplicates_dropped_total") == all).await;
    assert_eq!(bench.metric("messaging_records_total"), Some(10.0));
    assert_eq!(bench.count_effects().await, 5);
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_are_fenced_or_tried_again_are_counted() {
    let bench = Bench::new().await;
    let (db, tries) = (bench.db.clone(), Arc::new(AtomicUsize::new(0)));
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, tries) = (db.clone(), Arc::clone(&tries));
        async move {
            let mut tx = db.begin().await?;
            match tries.fetch_add(1, Ordering::SeqCst) {
                0 => return Err(HandleError::Ours("for a test".into())),
                1 => {
                    // Another instance does the same batch first.
                    let mut other = db.begin().await?;
                    take(&mut other, &batch).await?;
                    other.commit().await?;
                }
                _ => {}
            }
            take(&mut tx, &batch).await?;
            Ok(tx.commit().await?)
        }
    }));
    let relay = bench.relay();
    commit(&bench.db, &KEYS, 1).await;
    eventually("the effects", async || bench.count_effects().await == 5).await;
    eventually("the fence", async || bench.metric("messaging_fenced_total") == Some(1.0)).await;
    assert_eq!(bench.metric("messaging_retried_batches_total"), Some(1.0));
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// A consumer that is stuck, and an outbox that is never idle.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_waiting_is_told() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let (db, go_on) = (bench.db.clone(), Arc::new(AtomicBool::new(false)));
    let may_go_on = Arc::clone(&go_on);
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, may_go_on) = (db.clone(), Arc::clone(&may_go_on));
        async move {
            while !may_go_on.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            Ok(tx.commit().await?)
        }
    }));
    for n in 1..=30 {
        commit(&bench.db, &KEYS, n).await;
    }
    let lag = || bench.metric("messaging_lag").unwrap_or_default();
    eventually("all is waiting", async || lag() == 150.0).await;
    let mut n = 30;
    // What is sent is confirmed after three seconds, not before.
    eventually("the outbox has an age", async || {
        n += 1;
        commit(&bench.db, &KEYS, n).await;
        bench.metric("messaging_outbox_age_seconds").is_some_and(|age| (2.0..6.0).contains(&age))
    })
    .await;
    assert!(bench.metric("messaging_retained_wal_bytes") > Some(0.0));
    go_on.store(true, Ordering::SeqCst);
    eventually("nothing is waiting", async || lag() == 0.0 && bench.count_effects().await == i64::from(5 * n)).await;
    eventually("the outbox is at rest", async || bench.metric("messaging_outbox_age_seconds") == Some(0.0)).await;
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

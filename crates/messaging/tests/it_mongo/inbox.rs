//! Batches are taken in once, or not at all.

use std::time::{Duration, Instant};

use messaging::{
    HandleError, Offsets as _, Place, Position,
    mongo::{Offsets, Transaction},
};
use mongodb::{Database, error::TRANSIENT_TRANSACTION_ERROR};
use uuid::Uuid;

use crate::support::{TOPIC, batch, commit, count, database, eventually, message};

#[tokio::test]
async fn a_second_copy_of_a_message_is_dropped() {
    let db = database().await;
    assert_eq!(offset(&db).await, 0);
    let [first, second, third] = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];

    let copies_in_one_batch = batch(0, &[first, second, first]);
    let mut tx = Transaction::begin(&db).await.unwrap();
    let fresh = tx.accept(&copies_in_one_batch).await.unwrap();
    assert_eq!(fresh.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1]);
    tx.commit().await.unwrap();
    assert_eq!(offset(&db).await, 3);

    let copy_of_an_earlier_one = batch(3, &[second, third]);
    let mut tx = Transaction::begin(&db).await.unwrap();
    let fresh = tx.accept(&copy_of_an_earlier_one).await.unwrap();
    assert_eq!(fresh.iter().map(|record| record.id).collect::<Vec<_>>(), [third]);
    tx.commit().await.unwrap();

    let nothing_new = batch(5, &[third]);
    let mut tx = Transaction::begin(&db).await.unwrap();
    assert!(tx.accept(&nothing_new).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    assert_eq!((offset(&db).await, count(&db, "inbox").await), (6, 3));
}

#[tokio::test]
async fn whoever_has_lost_one_partition_is_fenced_and_leaves_no_trace() {
    let db = database().await;
    let offsets = Offsets::new(db.clone());
    offsets.load(TOPIC, &[0, 1]).await.unwrap();
    let mut stale = batch(0, &[Uuid::now_v7()]);
    stale.positions.push(Position { topic: TOPIC.into(), partition: 1, from: 7, to: 8, ..Position::default() });

    let mut tx = Transaction::begin(&db).await.unwrap();
    let refused = tx.accept(&stale).await;
    assert!(matches!(refused, Err(HandleError::Fenced)), "{refused:?}");
    tx.abort().await.unwrap();

    assert_eq!(offsets.load(TOPIC, &[0, 1]).await.unwrap(), [(0, Place::default()), (1, Place::default())].into());
    assert_eq!(count(&db, "inbox").await, 0);
}

#[tokio::test]
async fn a_transaction_that_ends_early_leaves_no_trace() {
    let db = database().await;
    offset(&db).await;
    let taken = batch(0, &[Uuid::now_v7()]);
    let mut tx = Transaction::begin(&db).await.unwrap();
    tx.accept(&taken).await.unwrap();
    tx.put(&[message("a")]).await.unwrap();
    tx.abort().await.unwrap();
    assert_eq!((offset(&db).await, count(&db, "inbox").await, count(&db, "outbox").await), (0, 0, 0));

    commit(&db, &[message("a")]).await;
    assert_eq!(count(&db, "outbox").await, 1, "what is committed stays");
}

#[tokio::test]
async fn a_write_conflict_keeps_the_label_that_says_try_again() {
    let db = database().await;
    offset(&db).await;
    let taken = batch(0, &[Uuid::now_v7()]);
    let mut winner = Transaction::begin(&db).await.unwrap();
    let mut loser = Transaction::begin(&db).await.unwrap();
    winner.accept(&taken).await.unwrap();
    let Err(HandleError::Ours(error)) = loser.accept(&taken).await else { panic!("two hold one partition") };
    let error = error.downcast::<mongodb::error::Error>().unwrap();
    assert!(error.contains_label(TRANSIENT_TRANSACTION_ERROR), "{error}");
    winner.commit().await.unwrap();

    let mut again = Transaction::begin(&db).await.unwrap();
    assert!(matches!(again.accept(&taken).await, Err(HandleError::Fenced)));
    again.abort().await.unwrap();
}

#[tokio::test]
async fn instances_that_load_the_same_partitions_at_once_agree() {
    let db = database().await;
    let loads = (0..8).map(|_| async { Offsets::new(db.clone()).load(TOPIC, &[0, 1, 2]).await.unwrap() });
    for loaded in futures::future::join_all(loads).await {
        assert_eq!(loaded, [0, 1, 2].map(|partition| (partition, Place::default())).into());
    }
}

/// The offset of partition 0.
async fn offset(db: &Database) -> i64 {
    Offsets::new(db.clone()).load(TOPIC, &[0]).await.unwrap()[&0].offset
}

/// Its connection is closed, and that is all the server hears of it: see the settings of the server.
#[tokio::test]
async fn what_a_killed_process_had_begun_does_not_hold_up_the_next_for_long() {
    let db = database().await;
    offset(&db).await;
    let mut begun = Transaction::begin(&db).await.unwrap();
    begun.accept(&batch(0, &[Uuid::now_v7()])).await.unwrap();
    // Dropping it would roll it back.
    std::mem::forget(begun);

    let id = Uuid::now_v7();
    let taken_in = eventually("the next takes its batch in", async || {
        let mut next = Transaction::begin(&db).await.unwrap();
        match next.accept(&batch(0, &[id])).await {
            Ok(_) => next.commit().await.ok(),
            Err(_) => {
                next.abort().await.ok();
                None
            }
        }
    });
    let waited = Instant::now();
    taken_in.await;
    assert!(waited.elapsed() > Duration::from_millis(500), "there was something to wait for");
    // The server's limit is set to five seconds; of itself it waits for a minute.
    assert!(waited.elapsed() < Duration::from_secs(30), "{:?}", waited.elapsed());
    assert_eq!((offset(&db).await, count(&db, "inbox").await), (1, 1));
}

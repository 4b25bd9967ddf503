//! What is old is forgotten, and nothing that is still needed.

use std::time::{Duration, SystemTime};

use bson::{Bson, Document, Timestamp, doc};
use messaging::{kept, mongo::prune};
use mongodb::Database;
use uuid::Uuid;

use crate::{
    relay::Running,
    support::{Arrivals, TOPIC, broker, commit, count, database, eventually, message},
};

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> u32 {
    u32::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn ago(time: Duration) -> Timestamp {
    Timestamp { time: now() - u32::try_from(time.as_secs()).unwrap(), increment: 1 }
}

/// A message that was put so long ago.
async fn put_ago(db: &Database, time: Duration) -> Uuid {
    let id = Uuid::now_v7();
    let message = doc! { "_id": bson::Uuid::from(id), "sequence": ago(time), "topic": TOPIC, "key": "old",
    "kind": "it.happened.v1", "payload": "{}" };
    db.collection::<Document>("outbox").insert_one(message).await.unwrap();
    id
}

#[tokio::test]
async fn the_relay_deletes_what_it_confirmed_an_hour_ago() {
    let (db, broker) = (database().await, broker().await);
    let mut arrivals = Arrivals::of(&broker);
    let old = put_ago(&db, 2 * HOUR).await;
    let young = put_ago(&db, HOUR / 2).await;
    let relay = Running::start(&db, &broker);
    let new = [message("a")];
    commit(&db, &new).await;
    arrivals.wait_for(&new).await;
    eventually("the old one is deleted", async || (count(&db, "outbox").await == 2).then_some(())).await;
    arrivals.look();
    assert!(arrivals.times().contains_key(&old), "not before it was sent");
    let left = db.collection::<Document>("outbox").find_one(doc! { "key": "old" }).await.unwrap().unwrap();
    assert_eq!(left.get("_id").unwrap(), &Bson::from(bson::Uuid::from(young)));
    relay.stop().await;
}

#[tokio::test]
async fn only_what_was_put_long_before_the_last_confirmed_message_is_deleted() {
    let db = database().await;
    put_ago(&db, 5 * HOUR / 2).await;
    let two_hours_ago = now() - 7200;
    assert_eq!(prune::outbox(&db, two_hours_ago, kept::OUTBOX).await.unwrap(), 0);
    assert_eq!(prune::outbox(&db, now(), kept::OUTBOX).await.unwrap(), 1);
}

#[tokio::test]
async fn ids_are_forgotten_when_no_copy_can_come_any_more() {
    let db = database().await;
    let taken = [13, 15].map(|days| doc! { "_id": bson::Uuid::from(Uuid::now_v7()), "at": ago(days * 24 * HOUR) });
    db.collection::<Document>("inbox").insert_many(taken).await.unwrap();
    assert_eq!(prune::inbox(&db, kept::INBOX).await.unwrap(), 1);
    assert_eq!(count(&db, "inbox").await, 1);
}

//! What is old is forgotten, and nothing that is still needed.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use messaging::{kept, postgres::prune};

use crate::{
    relaying::KEYS,
    support::{Bench, Take, commit, eventually},
};

const HOUR: Duration = Duration::from_secs(3600);
const MESSAGES: &str = "select count(*) from outbox where $1 <> ''";

/// Makes all messages of the outbox as old as `age`, in the part where they would be by then.
async fn grow_old(bench: &Bench, age: Duration) {
    let age = i64::try_from(age.as_secs()).unwrap();
    let old = "update outbox set created_at = created_at - $1 * interval '1 second'";
    sqlx::query(old).bind(age).execute(&bench.db).await.unwrap();
    let part = "update outbox set part = extract(epoch from created_at)::bigint / 1800 % 6";
    sqlx::query(part).execute(&bench.db).await.unwrap();
}

fn now() -> Timestamp {
    std::time::SystemTime::now().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_empties_what_is_old_and_confirmed_and_the_rest_can_still_be_sent_again() {
    let bench = Bench::new().await;
    let consumer = bench.consumer(Take(bench.db.clone()));
    commit(&bench.db, &KEYS, 1).await;
    grow_old(&bench, 2 * HOUR).await;
    commit(&bench.db, &KEYS, 2).await;
    assert_eq!(bench.ask(MESSAGES).await, 10);
    let relay = bench.relay();
    eventually("the old part is empty", async || bench.ask(MESSAGES).await == 5).await;
    // Some twice: for the log, a row that moves to another part is put anew.
    let sent = bench.topic();
    assert_eq!(sent.iter().map(|(_, id)| id).collect::<HashSet<_>>().len(), 10, "not before it was sent");
    relay.stop().await;

    bench.drop_slot().await;
    let relay = bench.relay();
    eventually("the rest is sent again", async || bench.topic().len() == sent.len() + 5).await;
    commit(&bench.db, &KEYS, 3).await;
    eventually("all effects", async || bench.count_effects().await == 15).await;
    for key in KEYS {
        assert_eq!(bench.effects().await[key], [1, 2, 3]);
    }
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test]
async fn only_what_was_put_long_before_the_last_confirmed_commit_is_emptied() {
    let bench = Bench::new().await;
    commit(&bench.db, &KEYS, 1).await;
    grow_old(&bench, 5 * HOUR / 2).await;
    let emptied = async |confirmed: Timestamp| prune::outbox(&bench.db, confirmed, kept::OUTBOX).await.unwrap();
    assert_eq!(emptied(now() - 2 * HOUR).await, 0, "put half an hour before what is confirmed");
    assert_eq!(bench.ask(MESSAGES).await, 5);

    // Somebody is about to put another message beside them.
    let mut tx = bench.db.begin().await.unwrap();
    let another = "insert into outbox (id, topic, key, kind, payload, part, created_at)
                   select id, topic, key, kind, payload, part, created_at from outbox limit 1";
    sqlx::query(another).execute(&mut *tx).await.unwrap();
    assert_eq!(emptied(now()).await, 0, "nobody waits for the other, and nothing is lost");
    tx.rollback().await.unwrap();
    assert_eq!(emptied(now()).await, 1);
    assert_eq!(bench.ask(MESSAGES).await, 0);
    commit(&bench.db, &KEYS, 2).await;
    assert_eq!(emptied(now()).await, 0, "what is new stays");
    bench.finish().await;
}

#[tokio::test]
async fn ids_are_forgotten_when_no_copy_can_come_any_more() {
    let bench = Bench::new().await;
    let forgotten = async || prune::inbox(&bench.db, kept::INBOX).await.unwrap();
    let taken = "insert into inbox
                 select gen_random_uuid(), now() - n * interval '1 hour' from generate_series(0, 399) n";
    sqlx::query(taken).execute(&bench.db).await.unwrap();
    assert_eq!(forgotten().await, 400 - 14 * 24);
    assert_eq!(forgotten().await, 0);
    assert_eq!(bench.ask("select count(*) from inbox where $1 <> ''").await, 14 * 24);
    bench.finish().await;
}

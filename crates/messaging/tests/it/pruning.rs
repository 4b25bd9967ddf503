//! What is old is forgotten, and nothing that is still needed.

use std::{collections::HashSet, pin::pin, time::Duration};

use jiff::Timestamp;
use messaging::{kept, postgres::prune};
use sqlx::postgres::PgPoolOptions;

use crate::{
    relaying::KEYS,
    support::{Bench, Take, commit, eventually},
};

const HOUR: Duration = Duration::from_secs(3600);
const MESSAGES: &str = "select count(*) from outbox where $1 <> ''";
/// The files in which the outbox lies. To empty a part is to give it another; and whoever looks at a part itself is in the way.
const FILES: &str = "select sum(relfilenode::bigint)::bigint from pg_class where relname like 'outbox%' and $1 <> ''";

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
    let files = bench.ask(FILES).await;
    let relay = bench.relay();
    eventually("a part is emptied", async || bench.ask(FILES).await != files).await;
    assert_eq!(bench.ask(MESSAGES).await, 5, "the old part is empty");
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

/// As after a lock timeout: the others are emptied, and the failure is told.
#[tokio::test]
async fn a_part_that_cannot_be_looked_at_keeps_no_other_from_being_emptied() {
    let bench = Bench::new().await;
    for age in 7..10 {
        commit(&bench.db, &KEYS, 1).await;
        let old = "update outbox set created_at = now() - $1 * interval '30 minutes' where created_at > now() - $2";
        sqlx::query(old).bind(age).bind(HOUR).execute(&bench.db).await.unwrap();
    }
    grow_old(&bench, Duration::ZERO).await;
    let parts = "select count(distinct part) from outbox where $1 <> ''";
    assert_eq!((bench.ask(parts).await, bench.ask(MESSAGES).await), (3, 15));
    let first: i16 = sqlx::query_scalar("select min(part) from outbox").fetch_one(&bench.db).await.unwrap();
    let mut tx = bench.db.begin().await.unwrap();
    let lock = format!("lock table outbox_{first} in access exclusive mode");
    sqlx::query(sqlx::AssertSqlSafe(lock)).execute(&mut *tx).await.unwrap();

    let hasty = bench.db.connect_options().as_ref().clone().options([("lock_timeout", "200ms")]);
    let hasty = sqlx::PgPool::connect_with(hasty).await.unwrap();
    let refused = prune::outbox(&hasty, now(), kept::OUTBOX).await.unwrap_err();
    assert!(refused.to_string().contains("lock timeout"), "{refused}");
    tx.rollback().await.unwrap();
    assert_eq!((bench.ask(parts).await, bench.ask(MESSAGES).await), (1, 5), "the two others are empty");
    assert_eq!(prune::outbox(&hasty, now(), kept::OUTBOX).await.unwrap(), 1);
    bench.finish().await;
}

/// A relay that is interrupted drops its pruning wherever that is. What is committed on a connection that somebody else
/// left in a transaction is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_pruning_that_is_dropped_leaves_no_transaction_open() {
    let bench = Bench::new().await;
    let one = PgPoolOptions::new().max_connections(1).connect(bench.url()).await.unwrap();
    let open = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in %'
                and $1 <> ''";
    for polls in 0..40 {
        commit(&bench.db, &KEYS, 1).await;
        grow_old(&bench, 3 * HOUR).await;
        {
            let mut pruning = pin!(prune::outbox(&one, now(), kept::OUTBOX));
            for _ in 0..polls {
                if futures::poll!(pruning.as_mut()).is_ready() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        // It is given back by now.
        drop(one.acquire().await.unwrap());
        assert_eq!(bench.ask(open).await, 0, "dropped after it was polled {polls} times");
    }
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

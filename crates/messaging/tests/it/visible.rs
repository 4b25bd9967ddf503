//! A commit stands in Postgres' log before others can see it.

use std::time::Duration;

use messaging::postgres::outbox;
use sqlx::PgPool;

use crate::support::{Bench, Take, eventually, message};

/// A commit that waits for a standby is in the log, and is not visible until the standby answers. None ever does, so the
/// moment lasts as long as the test wants.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_it_can_be_seen() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let consumer = bench.consumer(Take(bench.db.clone()));
    // A producer takes its time before its first message. The commits below shall meet one that is ready.
    commit(&bench.db, 0).await.unwrap();
    eventually("a first message", async || bench.topic().len() == 1).await;
    standby(&bench.db, "alter system set synchronous_standby_names = 'nobody'").await;
    let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database()";
    // The setting reaches each session in its own time: commit until one waits. (Only these commits ask for a standby;
    // all others on a test server are content with their own log.)
    let committing = tokio::spawn(commit_until_held(bench.db.clone(), waits));
    eventually("a commit that waits", async || count(&bench.db, waits).await == 1).await;
    let sent = "select count(*) from pg_stat_replication where sent_lsn >= pg_current_wal_flush_lsn()
                and pid = (select active_pid from pg_replication_slots where database = current_database())";
    eventually("the log is read", async || count(&bench.db, sent).await == 1).await;
    let visible = count(&bench.db, "select count(*) from outbox").await;
    let sent = || i64::try_from(bench.topic().len()).unwrap();
    eventually("what can be seen is sent", async || sent() >= visible).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // A relay that does not wait has sent it by now.
    let early = sent();
    standby(&bench.db, "alter system reset synchronous_standby_names").await;

    assert_eq!(early, visible, "what was sent could be seen, and the commit that waits could not");
    let committed = committing.await.unwrap();
    assert_eq!(committed, visible, "all but the first, and the one that waited");
    eventually("all effects", async || bench.count_effects().await == 1 + committed).await;
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// Commits, one after the other, until a commit was held back. Gives their number.
async fn commit_until_held(db: PgPool, waits: &'static str) -> i64 {
    let mut committed = 0;
    loop {
        let (holding, held) = tokio::join!(commit(&db, committed + 1), async {
            // Long enough for a commit that is not held.
            tokio::time::sleep(Duration::from_millis(50)).await;
            count(&db, waits).await > 0
        });
        holding.unwrap();
        committed += 1;
        if held {
            return committed;
        }
    }
}

async fn commit(db: &PgPool, n: i64) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("set local synchronous_commit = on").execute(&mut *tx).await?;
    outbox::put(&mut tx, &[message("a", i32::try_from(n).unwrap())]).await?;
    tx.commit().await
}

async fn standby(db: &PgPool, setting: &'static str) {
    sqlx::query(setting).execute(db).await.unwrap();
    sqlx::query("select pg_reload_conf()").execute(db).await.unwrap();
}

async fn count(db: &PgPool, question: &'static str) -> i64 {
    sqlx::query_scalar(question).fetch_one(db).await.unwrap()
}

//! Outbox and inbox forget what is old.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::sleep;

use crate::{broker::chain, kept};

/// The parts of the outbox, `outbox_0` and so on: see `schema.sql`.
const PARTS: i16 = 6;
/// Ids that one statement deletes from the inbox, at most.
const CHUNK: i64 = 10_000;

/// Prunes outbox and inbox now and then. `confirmed` is the time, in microseconds since 1970, of the last commit whose
/// messages are confirmed; 0 if there is none yet.
pub(super) async fn keep_pruning(pool: &PgPool, confirmed: &AtomicI64) -> Infallible {
    loop {
        let Ok(Some(time)) = Timestamp::from_microsecond(confirmed.load(Ordering::Relaxed))
            .map(|time| (time != Timestamp::UNIX_EPOCH).then_some(time))
        else {
            sleep(kept::FIRST_PRUNING).await;
            continue;
        };
        if let Err(error) = prune(pool, time).await {
            tracing::warn!(error = %chain(&error), "outbox or inbox could not be pruned");
        }
        sleep(kept::PRUNING_INTERVAL).await;
    }
}

async fn prune(pool: &PgPool, confirmed: Timestamp) -> sqlx::Result<()> {
    let parts = outbox(pool, confirmed, kept::OUTBOX).await?;
    let ids = inbox(pool, kept::INBOX).await?;
    if parts + ids > 0 {
        tracing::debug!(parts, ids, "outbox and inbox are pruned");
    }
    Ok(())
}

/// Empties the parts of the outbox whose messages were all put in `kept`, and some, before `confirmed`, the time of a
/// commit whose messages are confirmed. Gives their number.
///
/// # Errors
/// Whatever the database says.
pub async fn outbox(pool: &PgPool, confirmed: Timestamp, kept: Duration) -> sqlx::Result<u64> {
    let kept = SignedDuration::try_from(kept + kept::LONGEST_TRANSACTION).unwrap_or(SignedDuration::MAX);
    let Ok(before) = confirmed.checked_sub(kept) else { return Ok(0) };
    let mut emptied = 0;
    for part in 0..PARTS {
        emptied += u64::from(empty(pool, part, before).await?);
    }
    Ok(emptied)
}

/// Empties one part if its newest message is older than `before`. While it looks nobody can write there; a part that
/// somebody writes to, or reads to send it again, is left for another time.
async fn empty(pool: &PgPool, part: i16, before: Timestamp) -> sqlx::Result<bool> {
    let newest = format!(
        "-- prune::empty: is it old
         select coalesce((select extract(epoch from max(created_at)) < $1::bigint from outbox_{part}), false)"
    );
    let is_old = async |conn: &mut sqlx::PgConnection| {
        let before = before.as_second();
        sqlx::query_scalar::<_, bool>(AssertSqlSafe(newest.clone())).bind(before).fetch_one(conn).await
    };
    // Always ended here, and not by being dropped, which takes its time: a look is a lock, too, and would be in the way of
    // the next.
    let mut tx = pool.begin().await?;
    // Without the lock first: nearly always there is nothing to do.
    if !is_old(&mut tx).await? {
        return tx.rollback().await.map(|()| false);
    }
    let lock = format!("-- prune::empty: alone\nlock table outbox_{part} in access exclusive mode nowait");
    if let Err(error) = sqlx::query(AssertSqlSafe(lock)).execute(&mut *tx).await {
        tracing::debug!(part, %error, "a part of the outbox is in use");
        return tx.rollback().await.map(|()| false);
    }
    if !is_old(&mut tx).await? {
        return tx.rollback().await.map(|()| false);
    }
    sqlx::query(AssertSqlSafe(format!("-- prune::empty\ntruncate outbox_{part}"))).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Forgets the ids of messages taken in longer than `kept` ago. Gives their number.
///
/// # Errors
/// Whatever the database says.
pub async fn inbox(pool: &PgPool, kept: Duration) -> sqlx::Result<u64> {
    let kept = i64::try_from(kept.as_secs()).unwrap_or(i64::MAX);
    let mut forgotten = 0;
    loop {
        let deleted = sqlx::query(
            "-- prune::inbox
             delete from inbox where message_id = any (array(
                 select message_id from inbox where received_at < now() - $1 * interval '1 second'
                 order by received_at limit $2))",
        )
        .bind(kept)
        .bind(CHUNK)
        .execute(pool)
        .await?
        .rows_affected();
        forgotten += deleted;
        if deleted < CHUNK.unsigned_abs() {
            return Ok(forgotten);
        }
    }
}

//! Outbox and inbox forget what is old.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use metrics::Counter;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::sleep;

use crate::{broker::chain, kept};

/// The parts of the outbox, `outbox_0` and so on: see `schema.sql`.
const PARTS: i16 = 6;
/// What the time at which a message was put may be wrong by: it is that of the beginning of a transaction, which may have
/// ended so much later; and of a part we look at the message that was numbered last, not at the one that was put last.
const SLACK: Duration = kept::LONGEST_TRANSACTION.saturating_mul(2);
/// When a message was put, in seconds since 1970.
const TIME_OF_EACH: &str = "select extract(epoch from created_at)::bigint from outbox";
/// SQLSTATE: somebody holds a lock, and we did not wish to wait.
const LOCKED: &str = "55P03";
/// Ids that one statement deletes from the inbox, at most.
const CHUNK: i64 = 10_000;

/// Prunes outbox and inbox now and then. `confirmed` is the time, in microseconds since 1970, of the last commit whose
/// messages are confirmed; 0 if there is none yet.
pub(super) async fn keep_pruning(pool: &PgPool, confirmed: &AtomicI64, failures: &Counter) -> Infallible {
    loop {
        let Ok(Some(time)) = Timestamp::from_microsecond(confirmed.load(Ordering::Relaxed))
            .map(|time| (time != Timestamp::UNIX_EPOCH).then_some(time))
        else {
            sleep(kept::FIRST_PRUNING).await;
            continue;
        };
        // What cannot be pruned today is no reason to leave the other alone.
        let (parts, ids) = (outbox(pool, time, kept::OUTBOX).await, inbox(pool, kept::INBOX).await);
        for (what, pruned) in [("parts of the outbox", parts), ("ids of the inbox", ids)] {
            match pruned {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "old {what} are gone"),
                Err(error) => {
                    failures.increment(1);
                    tracing::warn!(error = %chain(&error), "{what} could not be pruned");
                }
            }
        }
        sleep(kept::PRUNING_INTERVAL).await;
    }
}

/// Empties the parts of the outbox whose messages were all put in `kept`, and some, before `confirmed`, the time of a
/// commit whose messages are confirmed. Gives their number. A part that fails does not keep the others from it.
///
/// # Errors
/// Whatever the database says, of the first part that failed.
pub async fn outbox(pool: &PgPool, confirmed: Timestamp, kept: Duration) -> sqlx::Result<u64> {
    let kept = SignedDuration::try_from(kept + SLACK).unwrap_or(SignedDuration::MAX);
    let Ok(before) = confirmed.checked_sub(kept) else { return Ok(0) };
    let (mut emptied, mut failed) = (0, Ok(()));
    for part in 0..PARTS {
        match empty(pool, part, before).await {
            Ok(done) => emptied += u64::from(done),
            Err(error) => {
                tracing::debug!(part, %error, "a part of the outbox could not be emptied");
                failed = failed.and(Err(error));
            }
        }
    }
    failed.map(|()| emptied)
}

/// Empties one part if its newest message is older than `before`. While it looks nobody can write there; a part that
/// somebody writes to, or reads to send it again, is left for another time.
///
/// This is dropped whenever the relay is interrupted, and a `begin` that is dropped midway leaves a transaction open that
/// nobody knows of. So no transaction is begun: what belongs together is one statement.
async fn empty(pool: &PgPool, part: i16, before: Timestamp) -> sqlx::Result<bool> {
    let before = before.as_second();
    // Without the lock first: nearly always there is nothing to do.
    if !is_old(pool, part, before).await? {
        return Ok(false);
    }
    let alone = format!(
        "-- prune::empty
         do $$ begin
             lock table outbox_{part} in access exclusive mode nowait;
             if ({TIME_OF_EACH}_{part} order by sequence desc limit 1) < {before} then
                 truncate outbox_{part};
             end if;
         end $$"
    );
    match sqlx::raw_sql(AssertSqlSafe(alone)).execute(pool).await {
        Ok(_) => Ok(!is_old(pool, part, before).await?),
        Err(error) if error.as_database_error().is_some_and(|said| said.code().as_deref() == Some(LOCKED)) => {
            tracing::debug!(part, %error, "a part of the outbox is in use");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether the last message of `part` was put before `before`, in seconds since 1970; no, if there is none. It is found by
/// the index of the sequence, however full the part is. Another may have been put later under a lower number, but not by
/// more than the longest transaction.
async fn is_old(pool: &PgPool, part: i16, before: i64) -> sqlx::Result<bool> {
    let last = format!("-- prune::is_old\n{TIME_OF_EACH}_{part} order by sequence desc limit 1");
    let last: Option<i64> = sqlx::query_scalar(AssertSqlSafe(last)).fetch_optional(pool).await?;
    Ok(last.is_some_and(|last| last < before))
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

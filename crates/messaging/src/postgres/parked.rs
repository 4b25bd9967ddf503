//! Parked messages in Postgres, in table `parked_message`: see [`crate::parked`].

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::{Acquire as _, FromRow, PgConnection, PgPool, postgres::PgRow};
use uuid::Uuid;

use crate::{
    Batch, HandleError, Record,
    parked::{self, Division, Dropped, Key, ParkedKey, ParkedMessage},
};

/// Every parked key, the oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn list(pool: &PgPool) -> sqlx::Result<Vec<ParkedKey>> {
    let rows: Vec<(String, String, i64, i64, Option<String>, bool)> = sqlx::query_as(
        "-- parked::list
         select topic, key, count(*), (extract(epoch from min(parked_at)) * 1000000)::bigint,
                (array_agg(reason order by sequence))[1], bool_or(replay)
         from parked_message group by topic, key order by min(sequence)",
    )
    .fetch_all(pool)
    .await?;
    let key = |(topic, key, messages, since, reason, replaying): (_, _, _, i64, Option<String>, _)| ParkedKey {
        topic,
        key,
        messages,
        since: Timestamp::from_microsecond(since).unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        replaying,
    };
    Ok(rows.into_iter().map(key).collect())
}

/// The messages that are parked under `key` of `topic`, in their order.
///
/// # Errors
/// Whatever the database says.
pub async fn show(pool: &PgPool, topic: &str, key: &str) -> sqlx::Result<Vec<ParkedMessage>> {
    sqlx::query_as("-- parked::show\nselect * from parked_message where topic = $1 and key = $2 order by sequence")
        .bind(topic)
        .bind(key)
        .fetch_all(pool)
        .await
}

/// Marks all messages of a key: their consumer will take them in, in their order. Gives their number.
///
/// # Errors
/// Whatever the database says.
pub async fn replay(pool: &PgPool, topic: &str, key: &str) -> sqlx::Result<u64> {
    let mut tx = pool.begin().await?;
    // What is joining them right now is marked by whoever comes second.
    lock(&mut tx, topic, key).await?;
    let marked = mark(&mut tx, topic, key, true).await?;
    tx.commit().await?;
    Ok(marked)
}

/// Drops the first message of a key, or all.
///
/// # Errors
/// Whatever the database says.
pub async fn drop(pool: &PgPool, topic: &str, key: &str, all: bool) -> sqlx::Result<Dropped> {
    let mut tx = pool.begin().await?;
    lock(&mut tx, topic, key).await?;
    let messages: Vec<(Uuid, Option<String>)> = sqlx::query_as(
        "-- parked::drop
         with gone as (
             delete from parked_message where topic = $1 and key = $2
                 and ($3 or sequence = (select min(sequence) from parked_message where topic = $1 and key = $2))
             returning sequence, message_id, kind
         )
         select message_id, kind from gone order by sequence",
    )
    .bind(topic)
    .bind(key)
    .bind(all)
    .fetch_all(&mut *tx)
    .await?;
    let left: i64 = sqlx::query_scalar(
        "-- parked::drop: what is left
         with freed as (
             update consumer_offset place set parked = false
             where topic = $1 and parked and not exists (
                 select from parked_message one where one.topic = place.topic and one.partition = place.partition)
         )
         select count(*) from parked_message where topic = $1 and key = $2",
    )
    .bind(topic)
    .bind(key)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Dropped { messages, left: left.unsigned_abs() })
}

/// Locks the partition of a parked key, so that nobody joins it meanwhile. Without anything parked it locks nothing.
async fn lock(conn: &mut PgConnection, topic: &str, key: &str) -> sqlx::Result<()> {
    sqlx::query(
        "-- parked::lock
         select from consumer_offset where topic = $1
             and partition = (select partition from parked_message where topic = $1 and key = $2 limit 1)
         for update",
    )
    .bind(topic)
    .bind(key)
    .execute(conn)
    .await?;
    Ok(())
}

async fn mark(conn: &mut PgConnection, topic: &str, key: &str, replay: bool) -> sqlx::Result<u64> {
    let marked = sqlx::query("-- parked::mark\nupdate parked_message set replay = $3 where topic = $1 and key = $2")
        .bind(topic)
        .bind(key)
        .bind(replay)
        .execute(conn)
        .await?;
    Ok(marked.rows_affected())
}

/// See [`Offsets::marked`](crate::Offsets::marked).
pub(super) async fn marked(pool: &PgPool, partitions: &[(String, i32)]) -> sqlx::Result<Vec<ParkedMessage>> {
    let (topics, numbers): (Vec<&str>, Vec<i32>) = partitions.iter().map(|one| (one.0.as_str(), one.1)).unzip();
    sqlx::query_as(
        "-- parked::marked
         select distinct on (topic, key) * from parked_message
         where replay and (topic, partition) in (select * from unnest($1::text[], $2::int[]))
         order by topic, key, sequence",
    )
    .bind(topics)
    .bind(numbers)
    .fetch_all(pool)
    .await
}

/// See [`Offsets::unmark`](crate::Offsets::unmark).
///
/// It is waited for only for a while, and a `begin` that is dropped midway leaves a transaction open that nobody knows of.
/// So the connection is not used again; this is rare.
pub(super) async fn unmark(pool: &PgPool, message: &ParkedMessage, reason: &str) -> sqlx::Result<()> {
    let mut connection = pool.acquire().await?;
    connection.close_on_drop();
    let mut tx = connection.begin().await?;
    lock(&mut tx, &message.topic, &message.key).await?;
    mark(&mut tx, &message.topic, &message.key, false).await?;
    sqlx::query("-- parked::unmark\nupdate parked_message set reason = $2 where message_id = $1")
        .bind(message.id)
        .bind(parked::said(reason))
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// Takes the one record of a replay out, if it is the first of its key. Its partition's row is locked first, and tells
/// whether anything is left there.
pub(super) async fn take_out(conn: &mut PgConnection, record: &Record, key: &str) -> Result<(), HandleError> {
    lock(&mut *conn, &record.topic, key).await?;
    let gone = sqlx::query(
        "-- parked::take_out
         delete from parked_message where message_id = $1 and replay
             and sequence = (select min(sequence) from parked_message where topic = $2 and key = $3)",
    )
    .bind(record.id)
    .bind(&record.topic)
    .bind(key)
    .execute(&mut *conn)
    .await?;
    if gone.rows_affected() != 1 {
        return Err(HandleError::Fenced);
    }
    sqlx::query(
        "-- parked::take_out: is anything left
         update consumer_offset set parked = exists (select from parked_message where topic = $1 and partition = $2)
         where topic = $1 and partition = $2",
    )
    .bind(&record.topic)
    .bind(record.partition)
    .execute(conn)
    .await?;
    Ok(())
}

/// Parks what is at fault and what belongs behind it; gives back the rest of what is `fresh`. The rows of the offsets are
/// locked by now.
pub(super) async fn divide<'b>(
    conn: &mut PgConnection,
    batch: &'b Batch,
    fresh: HashSet<Uuid>,
) -> Result<Vec<&'b Record>, HandleError> {
    let (topics, keys): (Vec<String>, Vec<String>) = parked::keys(batch).into_iter().unzip();
    let known: Vec<Key> = sqlx::query_as(
        "-- parked::divide: which keys are
         select distinct topic, key from parked_message
         where (topic, key) in (select * from unnest($1::text[], $2::text[]))",
    )
    .bind(topics)
    .bind(keys)
    .fetch_all(&mut *conn)
    .await?;
    let Division { taken, parked, new_keys } = parked::divide(batch, fresh, &known.into_iter().collect());
    if !new_keys.is_empty() {
        let count = "-- parked::divide: how many are\nselect count(distinct (topic, key)) from parked_message";
        let keys: i64 = sqlx::query_scalar(count).fetch_one(&mut *conn).await?;
        let (parked, max) = (usize::try_from(keys).unwrap_or_default(), batch.parked_keys_max);
        if parked + new_keys.len() > max {
            return Err(HandleError::TooManyParked { parked, max });
        }
    }
    insert(conn, &parked).await?;
    Ok(taken)
}

async fn insert(conn: &mut PgConnection, messages: &[ParkedMessage]) -> sqlx::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($($field:tt)+) => { messages.iter().map(|one| one.$($field)+).collect::<Vec<_>>() };
    }
    sqlx::query(
        "-- parked::insert
         with added as (
             insert into parked_message (message_id, topic, partition, place, key, kind, traceparent, raw_key, headers,
                                         payload, bytes, reason, replay)
             select id, topic, partition, place, key, kind, traceparent, raw_key, headers, payload, bytes, reason,
                    coalesce((select bool_or(replay) from parked_message before
                              where before.topic = one.topic and before.key = one.key), false)
             from unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                         $8::bytea[], $9::text[], $10::bytea[], $11::bigint[], $12::text[]) with ordinality
                  as one (id, topic, partition, place, key, kind, traceparent, raw_key, headers, payload, bytes,
                          reason, number)
             order by number
             on conflict (message_id) do nothing
             returning topic, partition
         )
         update consumer_offset place set parked = true
         from (select distinct topic, partition from added) as here
         where place.topic = here.topic and place.partition = here.partition and not parked",
    )
    .bind(column!(id))
    .bind(column!(topic.as_str()))
    .bind(column!(partition))
    .bind(column!(offset))
    .bind(column!(key.as_str()))
    .bind(column!(kind.as_deref()))
    .bind(column!(traceparent.as_deref()))
    .bind(column!(raw_key.as_slice()))
    .bind(column!(headers.as_str()))
    .bind(column!(payload.as_slice()))
    .bind(column!(bytes))
    .bind(column!(reason.as_deref()))
    .execute(conn)
    .await?;
    Ok(())
}

impl FromRow<'_, PgRow> for ParkedMessage {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        use sqlx::Row;
        Ok(Self {
            id: row.try_get("message_id")?,
            topic: row.try_get("topic")?,
            partition: row.try_get("partition")?,
            offset: row.try_get("place")?,
            key: row.try_get("key")?,
            kind: row.try_get("kind")?,
            traceparent: row.try_get("traceparent")?,
            raw_key: row.try_get("raw_key")?,
            headers: row.try_get("headers")?,
            payload: row.try_get("payload")?,
            bytes: row.try_get("bytes")?,
            reason: row.try_get("reason")?,
        })
    }
}

//! Messages are taken in once: by their offset, and by their id.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Batch, HandleError, Record};

/// Moves the offsets of `batch` and gives back the records never seen before, in the order of the batch.
///
/// Call it first in the transaction: it locks the offset rows, in their order, before anything else is locked.
///
/// # Errors
/// [`HandleError::Fenced`] if an offset is not where the batch began.
pub async fn accept<'b>(conn: &mut PgConnection, batch: &'b Batch) -> Result<Vec<&'b Record>, HandleError> {
    move_offsets(conn, batch).await?;
    let ids: Vec<Uuid> = batch.records.iter().map(|record| record.id).collect();
    let fresh: Vec<Uuid> = sqlx::query_scalar(
        "-- inbox::accept
         insert into inbox (message_id) select unnest($1::uuid[]) on conflict do nothing returning message_id",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let mut fresh: HashSet<Uuid> = fresh.into_iter().collect();
    // `remove`: of two copies in one batch the first counts.
    Ok(batch.records.iter().filter(|record| fresh.remove(&record.id)).collect())
}

async fn move_offsets(conn: &mut PgConnection, batch: &Batch) -> Result<(), HandleError> {
    let mut positions: Vec<_> = batch.positions.iter().collect();
    positions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let topics: Vec<&str> = positions.iter().map(|position| position.topic.as_str()).collect();
    let partitions: Vec<i32> = positions.iter().map(|position| position.partition).collect();
    let from: Vec<i64> = positions.iter().map(|position| position.from).collect();
    let to: Vec<i64> = positions.iter().map(|position| position.to).collect();
    let moved = sqlx::query(
        "-- inbox::move_offsets
         with step as (
             select stored.topic, stored.partition, step.upto
             from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) as step (topic, partition, since, upto)
             join consumer_offset stored using (topic, partition)
             where stored.next_offset = step.since
             order by stored.topic, stored.partition
             for update of stored
         )
         update consumer_offset stored set next_offset = step.upto
         from step where stored.topic = step.topic and stored.partition = step.partition",
    )
    .bind(topics)
    .bind(partitions)
    .bind(from)
    .bind(to)
    .execute(conn)
    .await?
    .rows_affected();
    if moved == positions.len() as u64 { Ok(()) } else { Err(HandleError::Fenced) }
}

//! Messages are taken in once: by their offset, and by their id.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::parked;
use crate::{Batch, HandleError, Record};

/// Moves the offsets of `batch` and gives back the records to be taken in, in the order of the batch: those never seen
/// before. What is at fault, and what comes behind it, is parked instead.
///
/// Call it first in the transaction: it locks the offset rows before anything else is locked, so of two instances that
/// have the same batch one waits here, and is fenced when the other commits.
///
/// # Errors
/// [`HandleError::Fenced`] if a partition is not where the batch began, [`HandleError::TooManyParked`] if one key more
/// would be parked than may be. The transaction must not be committed then.
pub async fn accept<'b>(conn: &mut PgConnection, batch: &'b Batch) -> Result<Vec<&'b Record>, HandleError> {
    if let Some((record, key)) = batch.replayed_key() {
        parked::take_out(conn, record, &key).await?;
        return Ok(vec![record]);
    }
    let mut positions: Vec<_> = batch.positions.iter().collect();
    positions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let topics: Vec<&str> = positions.iter().map(|position| position.topic.as_str()).collect();
    let partitions: Vec<i32> = positions.iter().map(|position| position.partition).collect();
    let from: Vec<i64> = positions.iter().map(|position| position.from).collect();
    let to: Vec<i64> = positions.iter().map(|position| position.to).collect();
    let from_generations: Vec<i64> = positions.iter().map(|position| position.from_generation).collect();
    let to_generations: Vec<i64> = positions.iter().map(|position| position.to_generation).collect();
    let parked: Vec<bool> = positions.iter().map(|position| position.parked).collect();
    let faulty = batch.faulty.iter().map(|message| message.id);
    let ids: Vec<Uuid> = batch.records.iter().map(|record| record.id).chain(faulty).collect();
    // One round trip. `fresh` reads the count of `moved`, so the offsets are locked before the inbox is touched, and the
    // inbox is not touched at all by a batch that is fenced. Two batches that share partitions (one of them a zombie's)
    // may lock them in different orders; then one is a deadlock's victim, tried again and fenced.
    let (moved, fresh): (i64, Vec<Uuid>) = sqlx::query_as(
        "-- inbox::accept
         with step as (
             select * from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $6::bigint[], $7::bigint[], $8::bool[])
                  as step (topic, partition, since, upto, since_generation, upto_generation, parked)
         ), moved as (
             update consumer_offset stored set generation = step.upto_generation, next_offset = step.upto
             from step
             where stored.topic = step.topic and stored.partition = step.partition and stored.next_offset = step.since
               and stored.generation = step.since_generation and stored.parked = step.parked
             returning 1
         ), fence as (
             select count(*) as moved from moved
         ), fresh as (
             insert into inbox (message_id)
             select id from fence, unnest($5::uuid[]) as id where fence.moved = cardinality($1)
             on conflict do nothing
             returning message_id
         )
         select (select moved from fence), array(select message_id from fresh)",
    )
    .bind(topics)
    .bind(partitions)
    .bind(from)
    .bind(to)
    .bind(ids)
    .bind(from_generations)
    .bind(to_generations)
    .bind(parked)
    .fetch_one(&mut *conn)
    .await?;
    if usize::try_from(moved) != Ok(positions.len()) {
        return Err(HandleError::Fenced);
    }
    batch.dropped.note(batch.records.len() + batch.faulty.len(), fresh.len());
    let mut fresh: HashSet<Uuid> = fresh.into_iter().collect();
    if !batch.faulty.is_empty() || positions.iter().any(|position| position.parked) {
        return parked::divide(conn, batch, fresh).await;
    }
    // `remove`: of two copies in one batch the first counts.
    Ok(batch.records.iter().filter(|record| fresh.remove(&record.id)).collect())
}

//! Messages are taken in once: by their offset, and by their id.

use std::collections::HashSet;

use bson::{Timestamp, doc};
use mongodb::{ClientSession, Database};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CONSUMER_OFFSET, INBOX, Statement, offsets, outbox::FILLED_BY_SERVER, parked, update};
use crate::{Batch, HandleError, Position, Record};

/// A document of the inbox.
#[derive(Serialize)]
struct Taken {
    #[serde(rename = "_id")]
    message: bson::Uuid,
    /// When, by the server's clock: what is old enough can be dropped one day.
    at: Timestamp,
}

/// Moves the offsets of `batch` and gives back the records to be taken in, in the order of the batch: those never seen
/// before. What is at fault, and what comes behind it, is parked instead.
///
/// Call it first in the transaction of `session`: whoever has lost the partition fails before it does anything else.
///
/// # Errors
/// [`HandleError::Fenced`] if an offset is not where the batch began, [`HandleError::TooManyParked`] if one key more would
/// be parked than may be.
pub async fn accept<'b>(
    session: &mut ClientSession,
    db: &Database,
    batch: &'b Batch,
) -> Result<Vec<&'b Record>, HandleError> {
    if let Some((record, key)) = batch.replayed_key() {
        parked::take_out(session, db, record, &key).await?;
        return Ok(vec![record]);
    }
    move_offsets(session, db, &batch.positions).await?;
    let ids = batch.records.iter().map(|record| record.id).chain(batch.faulty.iter().map(|message| message.id));
    let mut seen = known(session, db, ids.clone().map(bson::Uuid::from).collect()).await?;
    // `insert`: of two copies in one batch the first counts.
    let fresh: Vec<Uuid> = ids.filter(|id| seen.insert(*id)).collect();
    if !fresh.is_empty() {
        let taken = fresh.iter().map(|id| Taken { message: (*id).into(), at: FILLED_BY_SERVER });
        db.collection::<Taken>(INBOX).insert_many(taken).session(&mut *session).await?;
    }
    batch.dropped.note(batch.records.len() + batch.faulty.len(), fresh.len());
    let mut fresh: HashSet<Uuid> = fresh.into_iter().collect();
    if !batch.faulty.is_empty() || batch.positions.iter().any(|position| position.parked) {
        return parked::divide(session, db, batch, fresh).await;
    }
    Ok(batch.records.iter().filter(|record| fresh.remove(&record.id)).collect())
}

async fn move_offsets(session: &mut ClientSession, db: &Database, positions: &[Position]) -> Result<(), HandleError> {
    let statements: Vec<Statement> = positions
        .iter()
        .map(|position| {
            let id = offsets::id(&position.topic, position.partition);
            // A document from before anything was ever parked does not say.
            let parked = if position.parked {
                doc! { "$eq": true }
            } else {
                doc! { "$ne": true }
            };
            let from = position.from;
            Statement::new(
                doc! { "_id": id, "generation": position.from_generation, "next_offset": from, "parked": parked },
                doc! { "$set": { "generation": position.to_generation, "next_offset": position.to } },
            )
        })
        .collect();
    let moved = update::run(Some(session), db, CONSUMER_OFFSET, &statements).await?;
    if moved == positions.len() as u64 { Ok(()) } else { Err(HandleError::Fenced) }
}

/// Which of `ids` the inbox has already. Asked first, because inserting one of them again would abort the whole
/// transaction.
async fn known(
    session: &mut ClientSession,
    db: &Database,
    ids: Vec<bson::Uuid>,
) -> mongodb::error::Result<HashSet<Uuid>> {
    #[derive(Deserialize)]
    struct Known {
        #[serde(rename = "_id")]
        message: bson::Uuid,
    }
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let mut cursor = db
        .collection::<Known>(INBOX)
        .find(doc! { "_id": { "$in": ids } })
        .projection(doc! { "_id": 1 })
        .session(&mut *session)
        .await?;
    let mut known = HashSet::new();
    while let Some(found) = cursor.next(session).await.transpose()? {
        known.insert(found.message.into());
    }
    Ok(known)
}

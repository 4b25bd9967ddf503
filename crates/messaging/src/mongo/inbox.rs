//! Messages are taken in once: by their offset, and by their id.

use std::collections::HashSet;

use bson::{Timestamp, doc};
use mongodb::{ClientSession, Database};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CONSUMER_OFFSET, INBOX, Statement, offsets, outbox::FILLED_BY_SERVER, update};
use crate::{Batch, HandleError, Position, Record};

/// A document of the inbox.
#[derive(Serialize)]
struct Taken {
    #[serde(rename = "_id")]
    message: bson::Uuid,
    /// When, by the server's clock: what is old enough can be dropped one day.
    at: Timestamp,
}

/// Moves the offsets of `batch` and gives back the records never seen before, in the order of the batch.
///
/// Call it first in the transaction of `session`: whoever has lost the partition fails before it does anything else.
///
/// # Errors
/// [`HandleError::Fenced`] if an offset is not where the batch began.
pub async fn accept<'b>(
    session: &mut ClientSession,
    db: &Database,
    batch: &'b Batch,
) -> Result<Vec<&'b Record>, HandleError> {
    move_offsets(session, db, &batch.positions).await?;
    let mut seen = known(session, db, &batch.records).await?;
    // `insert`: of two copies in one batch the first counts.
    let fresh: Vec<&Record> = batch.records.iter().filter(|record| seen.insert(record.id)).collect();
    if !fresh.is_empty() {
        let taken = fresh.iter().map(|record| Taken { message: record.id.into(), at: FILLED_BY_SERVER });
        db.collection::<Taken>(INBOX).insert_many(taken).session(session).await?;
    }
    batch.dropped.note(batch.records.len(), fresh.len());
    Ok(fresh)
}

async fn move_offsets(session: &mut ClientSession, db: &Database, positions: &[Position]) -> Result<(), HandleError> {
    let statements: Vec<Statement> = positions
        .iter()
        .map(|position| {
            let id = offsets::id(&position.topic, position.partition);
            Statement::new(
                doc! { "_id": id, "generation": position.from_generation, "next_offset": position.from },
                doc! { "$set": { "generation": position.to_generation, "next_offset": position.to } },
            )
        })
        .collect();
    let moved = update::run(Some(session), db, CONSUMER_OFFSET, &statements).await?;
    if moved == positions.len() as u64 { Ok(()) } else { Err(HandleError::Fenced) }
}

/// Which of `records` the inbox has already. Asked first, because inserting one of them again would abort the whole
/// transaction.
async fn known(
    session: &mut ClientSession,
    db: &Database,
    records: &[Record],
) -> mongodb::error::Result<HashSet<Uuid>> {
    #[derive(Deserialize)]
    struct Known {
        #[serde(rename = "_id")]
        message: bson::Uuid,
    }
    if records.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<bson::Uuid> = records.iter().map(|record| record.id.into()).collect();
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

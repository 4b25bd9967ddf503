//! The offsets to read from next, where the transactions of the batches move them.

use std::collections::HashMap;

use bson::doc;
use futures::TryStreamExt;
use mongodb::{Database, options::ReadConcern};
use serde::Deserialize;

use super::{CONSUMER_OFFSET, Statement, parked, update};
use crate::{Place, consumer::BoxError, parked::ParkedMessage};

/// The stored offsets of one database.
#[derive(Debug, Clone)]
pub struct Offsets {
    db: Database,
}

/// A document of `consumer_offset`.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    generation: i64,
    next_offset: i64,
    #[serde(default)]
    parked: bool,
}

impl Offsets {
    /// Those in `db`.
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    async fn places(&self, topic: &str, partitions: &[i32]) -> mongodb::error::Result<HashMap<i32, Place>> {
        let partition_of: HashMap<String, i32> =
            partitions.iter().map(|partition| (id(topic, *partition), *partition)).collect();
        let ids: Vec<&String> = partition_of.keys().collect();
        let missing: Vec<Statement> = ids
            .iter()
            .map(|id| {
                Statement::upsert(
                    doc! { "_id": id },
                    doc! { "$setOnInsert": { "generation": 0_i64, "next_offset": 0_i64 } },
                )
            })
            .collect();
        update::run(None, &self.db, CONSUMER_OFFSET, &missing).await?;
        let stored: Vec<Stored> = self
            .db
            .collection::<Stored>(CONSUMER_OFFSET)
            .find(doc! { "_id": { "$in": ids } })
            .read_concern(ReadConcern::majority())
            .await?
            .try_collect()
            .await?;
        let place = |row: &Stored| Place { generation: row.generation, offset: row.next_offset, parked: row.parked };
        Ok(stored.iter().map(|row| (partition_of[&row.id], place(row))).collect())
    }
}

impl crate::Offsets for Offsets {
    async fn load(&self, topic: &str, partitions: &[i32]) -> Result<HashMap<i32, Place>, BoxError> {
        Ok(self.places(topic, partitions).await?)
    }

    async fn marked(&self, partitions: &[(String, i32)]) -> Result<Vec<ParkedMessage>, BoxError> {
        Ok(parked::marked(&self.db, partitions).await?)
    }

    async fn unmark(&self, message: &ParkedMessage, reason: &str) -> Result<(), BoxError> {
        parked::unmark(&self.db, message, reason).await
    }
}

/// The `_id` of a partition's document.
pub(super) fn id(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

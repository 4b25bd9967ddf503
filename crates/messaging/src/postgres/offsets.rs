//! The next offsets of a consumer, in table `consumer_offset`.

use std::collections::HashMap;

use sqlx::PgPool;

use super::parked;
use crate::{Place, consumer::BoxError, parked::ParkedMessage};

/// The offsets in one database.
#[derive(Debug, Clone)]
pub struct Offsets {
    db: PgPool,
}

impl Offsets {
    /// Those in the database of `db`.
    pub fn new(db: PgPool) -> Self {
        Self { db }
    }
}

impl crate::Offsets for Offsets {
    async fn load(&self, topic: &str, partitions: &[i32]) -> Result<HashMap<i32, Place>, BoxError> {
        sqlx::query(
            "-- Offsets::load: partitions read for the first time
             insert into consumer_offset (topic, partition, next_offset)
             select $1, partition, 0 from unnest($2::int[]) as partition order by partition
             on conflict do nothing",
        )
        .bind(topic)
        .bind(partitions)
        .execute(&self.db)
        .await?;
        let places: Vec<(i32, i64, i64, bool)> = sqlx::query_as(
            "-- Offsets::load
             select partition, generation, next_offset, parked from consumer_offset
             where topic = $1 and partition = any($2)",
        )
        .bind(topic)
        .bind(partitions)
        .fetch_all(&self.db)
        .await?;
        Ok(places
            .into_iter()
            .map(|(partition, generation, offset, parked)| (partition, Place { generation, offset, parked }))
            .collect())
    }

    async fn marked(&self, partitions: &[(String, i32)]) -> Result<Vec<ParkedMessage>, BoxError> {
        Ok(parked::marked(&self.db, partitions).await?)
    }

    async fn unmark(&self, message: &ParkedMessage, reason: &str) -> Result<(), BoxError> {
        Ok(parked::unmark(&self.db, message, reason).await?)
    }
}

//! M: what was read was taken in. A key that is parked is a violation until somebody has replayed or dropped it: its order
//! may look whole, and still miss a message.

use mongodb::bson::Document;
use serde::Deserialize;
use sqlx::FromRow;

use super::{Books, Finding, books::rows};

/// A partition that a service reads.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Partition {
    #[sqlx(skip)]
    pub(super) service: &'static str,
    pub(super) topic: String,
    pub(super) partition: i32,
    /// What its row of the offsets says: something of it is parked.
    pub(super) parked: bool,
    /// The keys of all messages of it that are.
    pub(super) keys: Vec<String>,
}

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let at =
        |Partition { service, topic, partition, .. }: &Partition| format!("{service} service, {topic}/{partition}");
    vec![
        Finding::of("M6 no message that was read is parked", &books.partitions, |one| {
            let key = one.keys.first()?;
            Some(format!("{}: {} parked, the first under key {}", at(one), one.keys.len(), key.escape_debug()))
        }),
        Finding::of("M6 a partition says whether something of it is parked", &books.partitions, |one| {
            (one.parked == one.keys.is_empty()).then(|| at(one))
        }),
    ]
}

/// The partitions that a service on Postgres reads.
pub(super) async fn of_postgres(pool: &sqlx::PgPool, service: &'static str) -> anyhow::Result<Vec<Partition>> {
    let query = "select topic, partition, parked,
                        array(select key from parked_message waiting
                              where waiting.topic = place.topic and waiting.partition = place.partition
                              order by sequence) as keys
                 from consumer_offset place";
    let partitions: Vec<Partition> = rows(pool, query).await?;
    Ok(partitions.into_iter().map(|one| Partition { service, ..one }).collect())
}

#[derive(Deserialize)]
struct Place {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    parked: bool,
}

#[derive(Deserialize)]
struct Waiting {
    topic: String,
    partition: i32,
    key: String,
}

/// The partitions that a service on MongoDB reads, from the documents of its two collections.
pub(super) fn of_mongo(
    places: Vec<Document>,
    waiting: Vec<Document>,
    service: &'static str,
) -> anyhow::Result<Vec<Partition>> {
    let waiting = waiting.into_iter().map(mongodb::bson::deserialize_from_document::<Waiting>);
    let waiting: Vec<Waiting> = waiting.collect::<Result<_, _>>()?;
    let partition = |place: Document| {
        let Place { id, parked } = mongodb::bson::deserialize_from_document(place)?;
        let (topic, partition) = id.rsplit_once('/').ok_or_else(|| anyhow::anyhow!("an offset of {id}"))?;
        let (topic, partition) = (topic.to_owned(), partition.parse()?);
        let here = waiting.iter().filter(|one| one.topic == topic && one.partition == partition);
        let keys = here.map(|one| one.key.clone()).collect();
        Ok(Partition { service, topic, partition, parked, keys })
    };
    places.into_iter().map(partition).collect()
}

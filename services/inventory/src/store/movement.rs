//! Movements: what each transaction made of the stock of a SKU, and why. Append-only: one document per SKU and time, and
//! no two changes of a SKU have the same time, so the stock at any time is in the newest movement up to then.

use bson::{Document, doc};
use contracts::{OrderId, Sku, Warehouse};
use jiff::Timestamp;
use messaging::mongo::Transaction;
use mongodb::{Database, options::ReadConcern};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::stock::{By, Cause, Change, Kind, Levels, Warehouses};

pub(crate) const COLLECTION: &str = "movement";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: Id,
    causes: Vec<StoredCause>,
    /// What it was then, all causes together.
    warehouses: Warehouses,
}

/// As a key it sorts by SKU, then time: the order of the fields is that of the index.
#[derive(Serialize, Deserialize)]
struct Id {
    sku: Sku,
    at: bson::DateTime,
}

#[derive(Serialize, Deserialize)]
struct StoredCause {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<bson::Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
    warehouse: Warehouse,
    pieces: u32,
}

pub(super) fn validator() -> Document {
    doc! { "$jsonSchema": {
        "required": ["causes", "warehouses"],
        "properties": { "causes": { "bsonType": "array", "minItems": 1 } },
    } }
}

/// Writes down `changes`. That another has written the same is a conflict like any other.
pub(super) async fn insert(tx: &mut Transaction, changes: &[Change<'_>]) -> Result<(), StoreError> {
    let movements: Vec<Stored> = changes.iter().map(Stored::from).collect();
    Ok(tx.insert(COLLECTION, &movements).await?)
}

/// What there was of `sku` at `at`; none before anything had moved.
pub(crate) async fn levels_at(db: &Database, sku: &Sku, at: Timestamp) -> Result<Option<Levels>, StoreError> {
    let id = |at| doc! { "sku": sku.as_str(), "at": at };
    let until = doc! { "_id": { "$gte": id(bson::DateTime::MIN), "$lte": id(bson::DateTime::from_jiff(at)) } };
    let collection = db.collection::<Stored>(COLLECTION);
    let newest = collection.find_one(until).sort(doc! { "_id": -1 }).read_concern(ReadConcern::majority());
    let found = newest.await?;
    Ok(found.map(|movement| Levels { at: movement.id.at.to_jiff(), warehouses: movement.warehouses }))
}

impl From<&Change<'_>> for Stored {
    fn from(change: &Change<'_>) -> Self {
        let id = Id { sku: change.sku.clone(), at: bson::DateTime::from_jiff(change.at) };
        Self { id, causes: change.causes.iter().map(StoredCause::from).collect(), warehouses: change.to.clone() }
    }
}

impl From<&Cause> for StoredCause {
    fn from(cause: &Cause) -> Self {
        let Cause { kind, by, warehouse, pieces } = cause.clone();
        let stored = |id: OrderId| bson::Uuid::from(id.as_uuid());
        let (order, receipt) = match by {
            By::Order(id) => (Some(stored(id)), None),
            By::Receipt(id) => (None, Some(id.as_str().to_owned())),
        };
        Self { kind, order, receipt, warehouse, pieces }
    }
}

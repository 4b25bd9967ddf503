//! Receipts: pieces that came in, by the key of the request. Append-only.

use std::collections::HashMap;

use bson::{Document, doc};
use contracts::{Sku, Warehouse};
use messaging::mongo::Transaction;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::{
    receive::{Pieces, Receipt},
    request::RequestId,
};

pub(crate) const COLLECTION: &str = "receipt";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: String,
    sku: Sku,
    warehouse: Warehouse,
    pieces: Pieces,
    at: bson::DateTime,
}

pub(super) fn validator() -> Document {
    doc! { "$jsonSchema": {
        "required": ["sku", "warehouse", "pieces", "at"],
        "properties": { "pieces": { "bsonType": ["int", "long"], "minimum": 1 } },
    } }
}

/// Those of `receipts` that were booked before.
pub(crate) async fn load(
    tx: &mut Transaction,
    receipts: &[&RequestId],
) -> Result<HashMap<RequestId, Receipt>, StoreError> {
    let ids: Vec<&str> = receipts.iter().map(|id| id.as_str()).collect();
    let found: Vec<Stored> = super::all(tx, COLLECTION, doc! { "_id": { "$in": ids } }).await?;
    Ok(found.into_iter().map(Receipt::from).map(|receipt| (receipt.id.clone(), receipt)).collect())
}

/// Books `receipts`, none of which was booked before.
pub(crate) async fn insert(tx: &mut Transaction, receipts: &[Receipt]) -> Result<(), StoreError> {
    let receipts: Vec<Stored> = receipts.iter().map(Stored::from).collect();
    Ok(tx.insert(COLLECTION, &receipts).await?)
}

impl From<&Receipt> for Stored {
    fn from(receipt: &Receipt) -> Self {
        let Receipt { id, sku, warehouse, pieces, at } = receipt.clone();
        Self { id: id.as_str().to_owned(), sku, warehouse, pieces, at: bson::DateTime::from_jiff(at) }
    }
}

impl From<Stored> for Receipt {
    fn from(stored: Stored) -> Self {
        let Stored { id, sku, warehouse, pieces, at } = stored;
        Self { id: RequestId::stored(id), sku, warehouse, pieces, at: at.to_jiff() }
    }
}

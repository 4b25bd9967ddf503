//! Movements: what changed the number of pieces in the warehouse. Append-only.

use std::collections::HashMap;

use bson::{Document, doc};
use contracts::Sku;
use messaging::mongo::Transaction;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::receive::{Pieces, Receipt, ReceiptId};

pub(crate) const COLLECTION: &str = "movement";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: String,
    kind: Kind,
    sku: Sku,
    pieces: Pieces,
    at: bson::DateTime,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Received,
}

pub(super) fn validator() -> Document {
    doc! { "$jsonSchema": {
        "required": ["kind", "sku", "pieces", "at"],
        "properties": { "pieces": { "bsonType": ["int", "long"], "minimum": 1 } },
    } }
}

/// Those of `receipts` that were booked before.
pub(crate) async fn load(
    tx: &mut Transaction,
    receipts: &[&ReceiptId],
) -> Result<HashMap<ReceiptId, Receipt>, StoreError> {
    let ids: Vec<&str> = receipts.iter().map(|id| id.as_str()).collect();
    let found: Vec<Stored> = super::all(tx, COLLECTION, doc! { "_id": { "$in": ids } }).await?;
    Ok(found.into_iter().map(Receipt::from).map(|receipt| (receipt.id.clone(), receipt)).collect())
}

/// Books `receipts`, none of which was booked before.
pub(crate) async fn insert(tx: &mut Transaction, receipts: &[Receipt]) -> Result<(), StoreError> {
    let movements: Vec<Stored> = receipts.iter().map(Stored::from).collect();
    Ok(tx.insert(COLLECTION, &movements).await?)
}

impl From<&Receipt> for Stored {
    fn from(receipt: &Receipt) -> Self {
        Self {
            id: receipt.id.as_str().to_owned(),
            kind: Kind::Received,
            sku: receipt.sku.clone(),
            pieces: receipt.pieces,
            at: bson::DateTime::from_jiff(receipt.at),
        }
    }
}

impl From<Stored> for Receipt {
    fn from(stored: Stored) -> Self {
        let Stored { id, kind: Kind::Received, sku, pieces, at } = stored;
        Self { id: ReceiptId::stored(id), sku, pieces, at: at.to_jiff() }
    }
}

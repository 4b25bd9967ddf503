//! Shipments: pieces that left, by the key of the request. Append-only.

use std::collections::HashMap;

use bson::{Document, doc};
use contracts::{OrderId, Warehouse, inventory::StockLine};
use messaging::mongo::Transaction;
use mongodb::IndexModel;
use serde::{Deserialize, Serialize};

use super::{StoreError, hold::StoredLine};
use crate::{
    request::RequestId,
    ship::{Dispatch, Shipment},
};

pub(crate) const COLLECTION: &str = "shipment";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    request: String,
    shipment: bson::Uuid,
    order: bson::Uuid,
    warehouse: Warehouse,
    /// What was asked for, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Vec<StoredLine>>,
    lines: Vec<StoredLine>,
    complete: bool,
    at: bson::DateTime,
}

pub(super) fn validator() -> Document {
    doc! { "$jsonSchema": {
        "required": ["shipment", "order", "warehouse", "lines", "complete", "at"],
        "properties": { "lines": { "bsonType": "array", "minItems": 1 } },
    } }
}

/// What finds the shipments of an order.
pub(super) fn index() -> IndexModel {
    IndexModel::builder().keys(doc! { "order": 1 }).build()
}

/// Those of `requests` that were shipped before.
pub(crate) async fn load(
    tx: &mut Transaction,
    requests: &[&RequestId],
) -> Result<HashMap<RequestId, Shipment>, StoreError> {
    let ids: Vec<&str> = requests.iter().map(|id| id.as_str()).collect();
    let found: Vec<Stored> = super::all(tx, COLLECTION, doc! { "_id": { "$in": ids } }).await?;
    Ok(found.into_iter().map(Shipment::from).map(|shipment| (shipment.asked.id.clone(), shipment)).collect())
}

/// All of one order, the first first.
pub(crate) async fn of_order(tx: &mut Transaction, order: OrderId) -> Result<Vec<Shipment>, StoreError> {
    let order = bson::Uuid::from(order.as_uuid());
    let found: Vec<Stored> = super::all(tx, COLLECTION, doc! { "order": order }).await?;
    let mut shipments: Vec<Shipment> = found.into_iter().map(Shipment::from).collect();
    shipments.sort_by_key(|shipment| (shipment.at, shipment.id));
    Ok(shipments)
}

/// Books `shipments`, none of which was booked before.
pub(crate) async fn insert(tx: &mut Transaction, shipments: &[Shipment]) -> Result<(), StoreError> {
    let shipments: Vec<Stored> = shipments.iter().map(Stored::from).collect();
    Ok(tx.insert(COLLECTION, &shipments).await?)
}

impl From<&Shipment> for Stored {
    fn from(shipment: &Shipment) -> Self {
        let Shipment { id, asked, lines, complete, at } = shipment;
        let stored = |lines: &Vec<StockLine>| lines.iter().map(StoredLine::from).collect();
        Self {
            request: asked.id.as_str().to_owned(),
            shipment: id.as_uuid().into(),
            order: asked.order.as_uuid().into(),
            warehouse: asked.warehouse.clone(),
            asked: asked.lines.as_ref().map(stored),
            lines: stored(lines),
            complete: *complete,
            at: bson::DateTime::from_jiff(*at),
        }
    }
}

impl From<Stored> for Shipment {
    fn from(stored: Stored) -> Self {
        let lines = |lines: Vec<StoredLine>| lines.into_iter().map(StockLine::from).collect();
        let asked = Dispatch {
            id: RequestId::stored(stored.request),
            order: stored.order.to_uuid_1().into(),
            warehouse: stored.warehouse,
            lines: stored.asked.map(lines),
        };
        let (id, at) = (stored.shipment.to_uuid_1().into(), stored.at.to_jiff());
        Self { id, asked, lines: lines(stored.lines), complete: stored.complete, at }
    }
}

//! Holds: one document per order.

use std::{collections::HashSet, ops::Not};

use bson::{Document, doc};
use contracts::{CommandId, OrderId, Quantity, Sku, inventory::StockLine};
use messaging::mongo::{Statement, Transaction};
use mongodb::{Database, options::ReadConcern};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::{
    decide::Holds,
    hold::{Answer, Answered, Hold, State},
    stock::Pick,
};

pub(crate) const COLLECTION: &str = "hold";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    order: bson::Uuid,
    state: State,
    lines: Vec<StoredLine>,
    picks: Vec<Pick>,
    commands: Vec<StoredCommand>,
    #[serde(default, skip_serializing_if = "Not::not")]
    late_cleanup: bool,
    at: bson::DateTime,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredLine {
    sku: Sku,
    quantity: Quantity,
}

#[derive(Serialize, Deserialize)]
struct StoredCommand {
    id: CommandId,
    answer: Answer,
    at: bson::DateTime,
}

/// What the audit counts on: a hold has lines and commands.
pub(super) fn validator() -> Document {
    doc! { "$jsonSchema": {
        "required": ["state", "lines", "picks", "commands", "at"],
        "properties": {
            "lines": { "bsonType": "array" }, "picks": { "bsonType": "array" },
            "commands": { "bsonType": "array", "minItems": 1 },
        },
    } }
}

/// The holds of `orders`, as far as there are any.
pub(crate) async fn load(tx: &mut Transaction, orders: &HashSet<OrderId>) -> Result<Holds, StoreError> {
    let ids: Vec<bson::Uuid> = orders.iter().map(|order| order.as_uuid().into()).collect();
    let found: Vec<Stored> = super::all(tx, COLLECTION, doc! { "_id": { "$in": ids } }).await?;
    Ok(found.into_iter().map(Hold::from).collect())
}

/// Writes the holds that are new or have changed.
///
/// # Errors
/// [`StoreError::Outrun`] if one that has changed is gone.
pub(crate) async fn write(tx: &mut Transaction, holds: &Holds) -> Result<(), StoreError> {
    let new: Vec<Stored> = holds.added().map(Stored::from).collect();
    tx.insert(COLLECTION, &new).await?;
    let altered: Vec<Statement> = holds.altered().map(replacement).collect::<Result<_, _>>()?;
    let mut matched = tx.update(COLLECTION, &altered).await?;
    let allocated: Vec<&Hold> = holds.allocated().collect();
    matched += allocate(tx, &allocated).await?;
    if matched == (altered.len() + allocated.len()) as u64 { Ok(()) } else { Err(StoreError::Outrun) }
}

/// All that one transaction has allocated, in one statement. It gives the number of those that are there.
async fn allocate(tx: &mut Transaction, holds: &[&Hold]) -> Result<u64, StoreError> {
    let Some(first) = holds.first() else { return Ok(0) };
    let ids: Vec<bson::Uuid> = holds.iter().map(|hold| hold.order.as_uuid().into()).collect();
    let state = bson::serialize_to_bson(&first.state).map_err(mongodb::error::Error::from)?;
    let change = doc! { "$set": { "state": state, "at": bson::DateTime::from_jiff(first.at) } };
    let (session, db) = tx.parts();
    let collection = db.collection::<Stored>(COLLECTION);
    let update = collection.update_many(doc! { "_id": { "$in": ids } }, change).session(session).await?;
    Ok(update.matched_count)
}

fn replacement(hold: &Hold) -> mongodb::error::Result<Statement> {
    let order: bson::Uuid = hold.order.as_uuid().into();
    let document = bson::serialize_to_document(&Stored::from(hold))?;
    Ok(Statement::new(doc! { "_id": order }, document))
}

/// The hold of `order` as it was last committed.
pub(crate) async fn find(db: &Database, order: OrderId) -> Result<Option<Hold>, StoreError> {
    let by_order = doc! { "_id": bson::Uuid::from(order.as_uuid()) };
    let found = db.collection::<Stored>(COLLECTION).find_one(by_order).read_concern(ReadConcern::majority()).await?;
    Ok(found.map(Hold::from))
}

impl From<&Hold> for Stored {
    fn from(hold: &Hold) -> Self {
        let command = |answered: &Answered| StoredCommand {
            id: answered.command.clone(),
            answer: answered.answer.clone(),
            at: bson::DateTime::from_jiff(answered.at),
        };
        Self {
            order: hold.order.as_uuid().into(),
            state: hold.state.clone(),
            lines: hold.lines.iter().map(StoredLine::from).collect(),
            picks: hold.picks.clone(),
            commands: hold.commands.iter().map(command).collect(),
            late_cleanup: hold.late_cleanup,
            at: bson::DateTime::from_jiff(hold.at),
        }
    }
}

impl From<Stored> for Hold {
    fn from(stored: Stored) -> Self {
        let command =
            |command: StoredCommand| Answered { command: command.id, answer: command.answer, at: command.at.to_jiff() };
        Self {
            order: stored.order.to_uuid_1().into(),
            state: stored.state,
            lines: stored.lines.into_iter().map(StoredLine::into).collect(),
            picks: stored.picks,
            commands: stored.commands.into_iter().map(command).collect(),
            late_cleanup: stored.late_cleanup,
            at: stored.at.to_jiff(),
        }
    }
}

impl From<&StockLine> for StoredLine {
    fn from(line: &StockLine) -> Self {
        Self { sku: line.sku.clone(), quantity: line.quantity }
    }
}

impl From<StoredLine> for StockLine {
    fn from(StoredLine { sku, quantity }: StoredLine) -> Self {
        Self { sku, quantity }
    }
}

//! Stock: one document per SKU, with sums. Written by the one stock writer of each process, and by nobody else but for
//! the first document of a new product.

use std::collections::BTreeSet;

use bson::{Document, doc};
use contracts::Sku;
use messaging::mongo::{Statement, Transaction};
use mongodb::{Database, options::ReadConcern};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::stock::{Change, Level, Stock};

pub(crate) const COLLECTION: &str = "stock";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    sku: Sku,
    on_hand: i64,
    held: i64,
}

/// The last line of defence: a mistake in the service fails here instead of selling what is not there.
pub(super) fn validator() -> Document {
    doc! { "$expr": { "$and": [{ "$gte": ["$held", 0] }, { "$gte": ["$on_hand", "$held"] }] } }
}

/// The stock of `skus`; those without a product are missing in it.
pub(crate) async fn load(tx: &mut Transaction, skus: &BTreeSet<Sku>) -> Result<Stock, StoreError> {
    if skus.is_empty() {
        return Ok(Stock::default());
    }
    let skus: Vec<&str> = skus.iter().map(Sku::as_str).collect();
    let found: Vec<Stored> = super::all(tx, COLLECTION, doc! { "_id": { "$in": skus } }).await?;
    Ok(found.into_iter().map(|stored| (stored.sku, Level { on_hand: stored.on_hand, held: stored.held })).collect())
}

/// Writes the sums that changed, all in one command. They were read in the same transaction, so the server refuses the
/// write if another has changed one since. Naming the document by its id alone spares the server a query plan for each.
///
/// # Errors
/// [`StoreError::Outrun`] if one of them is gone.
pub(crate) async fn write(tx: &mut Transaction, stock: &Stock) -> Result<(), StoreError> {
    let statements: Vec<Statement> = stock.changes().map(statement).collect();
    let matched = tx.update(COLLECTION, &statements).await?;
    if matched == statements.len() as u64 { Ok(()) } else { Err(StoreError::Outrun) }
}

fn statement(change: Change<'_>) -> Statement {
    let Change { sku, to } = change;
    Statement::new(doc! { "_id": sku.as_str() }, doc! { "$set": { "on_hand": to.on_hand, "held": to.held } })
}

/// A product that is new has a level, of nothing.
pub(crate) async fn insert_empty(tx: &mut Transaction, sku: &Sku) -> Result<(), StoreError> {
    let Level { on_hand, held } = Level::NONE;
    Ok(tx.insert(COLLECTION, &[Stored { sku: sku.clone(), on_hand, held }]).await?)
}

/// The level of `sku` as it was last committed; none if there is no such product.
pub(crate) async fn level(db: &Database, sku: &Sku) -> Result<Option<Level>, StoreError> {
    let by_sku = doc! { "_id": sku.as_str() };
    let found = db.collection::<Stored>(COLLECTION).find_one(by_sku).read_concern(ReadConcern::majority()).await?;
    Ok(found.map(|stored| Level { on_hand: stored.on_hand, held: stored.held }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    #[tokio::test]
    async fn sums_are_written_only_over_what_was_read() {
        let db = &testkit::mongo().await.database().await.database;
        store::prepare(db).await.unwrap();
        let (mug, cup): (Sku, Sku) = ("MUG".parse().unwrap(), "CUP".parse().unwrap());
        let stored = |sku: &Sku| Stored { sku: sku.clone(), on_hand: 5, held: 0 };
        db.collection::<Stored>(COLLECTION).insert_many([stored(&mug), stored(&cup)]).await.unwrap();
        let both = BTreeSet::from([mug.clone(), cup.clone()]);
        let mut late = Transaction::begin(db).await.unwrap();
        let mut outrun = load(&mut late, &both).await.unwrap();
        let mut tx = Transaction::begin(db).await.unwrap();
        let mut first = load(&mut tx, &both).await.unwrap();
        first.receive(&cup, 1).unwrap();
        write(&mut tx, &first).await.unwrap();
        tx.commit().await.unwrap();
        outrun.receive(&mug, 1).unwrap();
        outrun.receive(&cup, 1).unwrap();
        assert!(write(&mut late, &outrun).await.unwrap_err().is_conflict());
        late.abort().await.unwrap();
        assert_eq!(level(db, &cup).await.unwrap(), Some(Level { on_hand: 6, held: 0 }));
        assert_eq!(level(db, &mug).await.unwrap(), Some(Level { on_hand: 5, held: 0 }));
    }

    /// The sums of a SKU without a document are written nowhere, and that is noticed.
    #[tokio::test]
    async fn what_is_gone_is_not_written() {
        let db = &testkit::mongo().await.database().await.database;
        store::prepare(db).await.unwrap();
        let mug: Sku = "MUG".parse().unwrap();
        let mut stock: Stock = [(mug.clone(), Level { on_hand: 5, held: 0 })].into_iter().collect();
        stock.receive(&mug, 1).unwrap();
        let mut tx = Transaction::begin(db).await.unwrap();
        assert!(matches!(write(&mut tx, &stock).await, Err(StoreError::Outrun)));
        tx.abort().await.unwrap();
    }
}

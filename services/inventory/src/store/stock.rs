//! Stock: one document per SKU, with the sums of each warehouse. Written by the one stock writer of each process, and by
//! nobody else but for the first document of a new product.

use std::collections::BTreeSet;

use bson::{Document, doc};
use contracts::Sku;
use jiff::Timestamp;
use messaging::mongo::{Statement, Transaction};
use mongodb::{Database, options::ReadConcern};
use serde::{Deserialize, Serialize};

use super::{StoreError, movement};
use crate::stock::{Change, Levels, Stock, Warehouses};

pub(crate) const COLLECTION: &str = "stock";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    sku: Sku,
    at: bson::DateTime,
    warehouses: Warehouses,
}

/// The last line of defence: a mistake in the service fails here instead of selling what is not there.
pub(super) fn validator() -> Document {
    let (on_hand, held) = ("$$here.v.on_hand", "$$here.v.held");
    let fits = doc! { "$and": [{ "$gte": [held, 0] }, { "$gte": [on_hand, held] }] };
    let each = doc! { "$map": { "input": { "$objectToArray": "$warehouses" }, "as": "here", "in": fits } };
    doc! { "$expr": { "$allElementsTrue": [each] } }
}

/// The stock of `skus`; those without a product are missing in it.
pub(crate) async fn load(tx: &mut Transaction, skus: &BTreeSet<Sku>) -> Result<Stock, StoreError> {
    if skus.is_empty() {
        return Ok(Stock::default());
    }
    let skus: Vec<&str> = skus.iter().map(Sku::as_str).collect();
    let found: Vec<Stored> = super::all(tx, COLLECTION, doc! { "_id": { "$in": skus } }).await?;
    Ok(found.into_iter().map(|stored| (stored.sku.clone(), stored.into())).collect())
}

/// Writes the sums that changed, all in one command, and a movement for each. They were read in the same transaction, so
/// the server refuses the write if another has changed one since. Naming the document by its id alone spares the server a
/// query plan for each.
///
/// # Errors
/// [`StoreError::Outrun`] if one of them is gone.
pub(crate) async fn write(tx: &mut Transaction, stock: &Stock, now: Timestamp) -> Result<(), StoreError> {
    let changes: Vec<Change<'_>> = stock.changes(now).collect();
    let statements: Vec<Statement> = changes.iter().map(statement).collect::<Result<_, _>>()?;
    let matched = tx.update(COLLECTION, &statements).await?;
    if matched != statements.len() as u64 {
        return Err(StoreError::Outrun);
    }
    movement::insert(tx, &changes).await
}

fn statement(change: &Change<'_>) -> mongodb::error::Result<Statement> {
    let warehouses = bson::serialize_to_bson(change.to)?;
    let to = doc! { "at": bson::DateTime::from_jiff(change.at), "warehouses": warehouses };
    Ok(Statement::new(doc! { "_id": change.sku.as_str() }, doc! { "$set": to }))
}

/// A product that is new has a level, of nothing.
pub(crate) async fn insert_empty(tx: &mut Transaction, sku: &Sku, at: Timestamp) -> Result<(), StoreError> {
    let Levels { at, warehouses } = Levels::none(at);
    Ok(tx.insert(COLLECTION, &[Stored { sku: sku.clone(), at: bson::DateTime::from_jiff(at), warehouses }]).await?)
}

/// What there is of `sku`, as it was last committed; none if there is no such product.
pub(crate) async fn levels(db: &Database, sku: &Sku) -> Result<Option<Levels>, StoreError> {
    let by_sku = doc! { "_id": sku.as_str() };
    let found = db.collection::<Stored>(COLLECTION).find_one(by_sku).read_concern(ReadConcern::majority()).await?;
    Ok(found.map(Levels::from))
}

impl From<Stored> for Levels {
    fn from(stored: Stored) -> Self {
        Self { at: stored.at.to_jiff(), warehouses: stored.warehouses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        receive::Receipt,
        request::RequestId,
        stock::{
            tests::{levels, sku},
            total,
        },
        store,
    };

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn stored(sku: &Sku) -> Stored {
        let Levels { at, warehouses } = levels(&[("LYON", 5, 0)]);
        Stored { sku: sku.clone(), at: bson::DateTime::from_jiff(at), warehouses }
    }

    fn one_more(sku: &Sku) -> Receipt {
        let (id, warehouse) = (RequestId::of_operator("r"), "LYON".parse().unwrap());
        Receipt { id, sku: sku.clone(), warehouse, pieces: 1.try_into().unwrap(), at: NOW }
    }

    async fn on_hand(db: &Database, sku: &Sku) -> i64 {
        total(&super::levels(db, sku).await.unwrap().unwrap().warehouses).on_hand
    }

    #[tokio::test]
    async fn sums_are_written_only_over_what_was_read() {
        let db = &testkit::mongo().await.database().await.database;
        store::prepare(db).await.unwrap();
        let (mug, cup) = (sku("MUG"), sku("CUP"));
        db.collection::<Stored>(COLLECTION).insert_many([stored(&mug), stored(&cup)]).await.unwrap();
        let both = BTreeSet::from([mug.clone(), cup.clone()]);
        let mut late = Transaction::begin(db).await.unwrap();
        let mut outrun = load(&mut late, &both).await.unwrap();
        let mut tx = Transaction::begin(db).await.unwrap();
        let mut first = load(&mut tx, &both).await.unwrap();
        first.receive(&one_more(&cup)).unwrap();
        write(&mut tx, &first, NOW).await.unwrap();
        tx.commit().await.unwrap();
        outrun.receive(&one_more(&mug)).unwrap();
        outrun.receive(&one_more(&cup)).unwrap();
        assert!(write(&mut late, &outrun, NOW).await.unwrap_err().is_conflict());
        late.abort().await.unwrap();
        assert_eq!((on_hand(db, &cup).await, on_hand(db, &mug).await), (6, 5));
        assert_eq!(db.collection::<Document>(movement::COLLECTION).count_documents(doc! {}).await.unwrap(), 1);
    }

    /// The sums of a SKU without a document are written nowhere, and that is noticed.
    #[tokio::test]
    async fn what_is_gone_is_not_written() {
        let db = &testkit::mongo().await.database().await.database;
        store::prepare(db).await.unwrap();
        let mug = sku("MUG");
        let mut stock: Stock = [(mug.clone(), levels(&[("LYON", 5, 0)]))].into_iter().collect();
        stock.receive(&one_more(&mug)).unwrap();
        let mut tx = Transaction::begin(db).await.unwrap();
        assert!(matches!(write(&mut tx, &stock, NOW).await, Err(StoreError::Outrun)));
        tx.abort().await.unwrap();
    }
}

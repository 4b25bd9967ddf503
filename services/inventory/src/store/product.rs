//! Products: one document per SKU.

use bson::doc;
use contracts::{Money, Sku};
use futures::TryStreamExt;
use messaging::mongo::{Statement, Transaction};
use mongodb::{Database, options::ReadConcern};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::catalogue::{Details, Product};

pub(crate) const COLLECTION: &str = "product";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    sku: Sku,
    version: u32,
    name: String,
    description: String,
    category: String,
    price: Money,
    vat_rate: u32,
    at: bson::DateTime,
}

/// The product with this SKU, as the transaction sees it.
pub(crate) async fn load(tx: &mut Transaction, sku: &Sku) -> Result<Option<Product>, StoreError> {
    let found: Vec<Stored> = super::all(tx, COLLECTION, doc! { "_id": sku.as_str() }).await?;
    Ok(found.into_iter().next().map(Product::from))
}

/// Stores a product that is new.
pub(crate) async fn insert(tx: &mut Transaction, product: &Product) -> Result<(), StoreError> {
    Ok(tx.insert(COLLECTION, &[Stored::from(product)]).await?)
}

/// Stores `product` in place of its version before.
///
/// # Errors
/// [`StoreError::Outrun`] if another version is stored.
pub(crate) async fn replace(tx: &mut Transaction, product: &Product) -> Result<(), StoreError> {
    let before = i64::from(product.version) - 1;
    let document = bson::serialize_to_document(&Stored::from(product)).map_err(mongodb::error::Error::from)?;
    let statement = Statement::new(doc! { "_id": product.sku.as_str(), "version": before }, document);
    if tx.update(COLLECTION, &[statement]).await? == 1 { Ok(()) } else { Err(StoreError::Outrun) }
}

/// Writes to the stored `product` without changing it, so that whoever changes it at once conflicts.
///
/// # Errors
/// [`StoreError::Outrun`] if another version is stored.
pub(crate) async fn lock(tx: &mut Transaction, product: &Product) -> Result<(), StoreError> {
    let stored = doc! { "_id": product.sku.as_str(), "version": i64::from(product.version) };
    // A field of no meaning: a write that changes nothing at all would lock nothing.
    let statement = Statement::new(stored, doc! { "$inc": { "locked": 1_i64 } });
    if tx.update(COLLECTION, &[statement]).await? == 1 { Ok(()) } else { Err(StoreError::Outrun) }
}

/// The product with this SKU as it was last committed.
pub(crate) async fn find(db: &Database, sku: &Sku) -> Result<Option<Product>, StoreError> {
    let by_sku = doc! { "_id": sku.as_str() };
    let found = db.collection::<Stored>(COLLECTION).find_one(by_sku).read_concern(ReadConcern::majority()).await?;
    Ok(found.map(Product::from))
}

/// At most `limit` products behind `after`, ordered by SKU.
pub(crate) async fn page(db: &Database, after: Option<&Sku>, limit: u32) -> Result<Vec<Product>, StoreError> {
    let behind = after.map_or_else(|| doc! {}, |sku| doc! { "_id": { "$gt": sku.as_str() } });
    let found = db
        .collection::<Stored>(COLLECTION)
        .find(behind)
        .sort(doc! { "_id": 1 })
        .limit(i64::from(limit))
        .read_concern(ReadConcern::majority())
        .await?;
    let found: Vec<Stored> = found.try_collect().await?;
    Ok(found.into_iter().map(Product::from).collect())
}

impl From<&Product> for Stored {
    fn from(product: &Product) -> Self {
        let Product { sku, version, details, at } = product.clone();
        let Details { name, description, category, price, vat_rate } = details;
        Self { sku, version, name, description, category, price, vat_rate, at: bson::DateTime::from_jiff(at) }
    }
}

impl From<Stored> for Product {
    fn from(stored: Stored) -> Self {
        let Stored { sku, version, name, description, category, price, vat_rate, at } = stored;
        let details = Details { name, description, category, price, vat_rate };
        Self { sku, version, details, at: at.to_jiff() }
    }
}

//! This service's copy of the catalogue: the full state of each product, as inventory last said it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use contracts::{Money, Sku, Topic, inventory::CatalogueEvent};
use messaging::{Batch, Broker, HandleError, Handler, Record, consumer::caught_up, postgres::Offsets};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{App, store};

/// The topic the catalogue comes on.
pub(crate) const TOPIC: &str = Topic::InventoryCatalogue.name();

/// Sets `complete` once this copy has all that the topic had at the time of the call: without it, orders for products
/// that the shop does sell would be refused. Then there is nothing to do until `stop`.
pub(crate) async fn watch(
    broker: Broker,
    offsets: Offsets,
    complete: Arc<AtomicBool>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if stop.run_until_cancelled(caught_up(&broker, TOPIC, &offsets)).await.is_some() {
        tracing::info!("the copy of the catalogue is complete");
        complete.store(true, Ordering::Relaxed);
    }
    stop.cancelled().await;
    Ok(())
}

/// Takes changed products in.
pub(crate) struct Catalogue(pub(crate) App);

impl Handler for Catalogue {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let mut read = batch.records.iter().map(read).collect::<Result<HashMap<_, _>, _>>()?;
        let mut tx = self.0.db.begin().await?;
        let fresh = messaging::postgres::inbox::accept(&mut tx, batch).await?;
        let mut latest: HashMap<Sku, Product> = HashMap::new();
        for product in fresh.iter().filter_map(|record| read.remove(&record.id)) {
            if latest.get(&product.sku).is_none_or(|known| known.version < product.version) {
                latest.insert(product.sku.clone(), product);
            }
        }
        store::catalogue::put(&mut tx, latest.into_values()).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A product, as far as this copy keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Product {
    pub(crate) sku: Sku,
    pub(crate) version: i32,
    pub(crate) name: String,
    pub(crate) price: Money,
    pub(crate) vat_rate: i32,
}

/// The longest name, which is inventory's. Each line of an order carries one, and all of them in one message: 100 names of
/// 200 characters are 80 kB, far below the megabyte that the broker takes. Unit: characters.
const NAME_MAX: usize = 200;
/// As in inventory. Unit: hundredths of a percent.
const VAT_RATE_MAX: i32 = 10_000;

/// The event says what no product is: its own fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAProduct {
    #[error("{0} is no version of a product")]
    Version(u32),
    #[error("a name of {0} characters is too long")]
    Name(usize),
    #[error("{0} is no rate of VAT")]
    VatRate(u32),
}

fn read(record: &Record) -> Result<(Uuid, Product), HandleError> {
    // Before the transaction: there it could not be told from a row of ours that is wrong, and would be waited for.
    let product = Product::try_from(record.decode::<CatalogueEvent>()?);
    Ok((record.id, product.map_err(|error| HandleError::this_message(record.id, error))?))
}

impl TryFrom<CatalogueEvent> for Product {
    type Error = NotAProduct;

    fn try_from(event: CatalogueEvent) -> Result<Self, NotAProduct> {
        let CatalogueEvent::ProductChanged { sku, version, name, price, vat_rate, .. } = event;
        let length = name.chars().count();
        if length > NAME_MAX {
            return Err(NotAProduct::Name(length));
        }
        let version = version.try_into().map_err(|_| NotAProduct::Version(version))?;
        let rate = i32::try_from(vat_rate).ok().filter(|rate| *rate <= VAT_RATE_MAX);
        let vat_rate = rate.ok_or(NotAProduct::VatRate(vat_rate))?;
        Ok(Self { sku, version, name, price, vat_rate })
    }
}

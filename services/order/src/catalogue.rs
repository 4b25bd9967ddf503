//! This service's copy of the catalogue: the full state of each product, as inventory last said it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use contracts::{Topic, inventory::CatalogueEvent};
use messaging::{Batch, Broker, HandleError, Handler, Record, Undecodable, consumer::caught_up, postgres::Offsets};
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
        let mut latest = HashMap::new();
        for product in fresh.iter().filter_map(|record| read.remove(&record.id)) {
            let CatalogueEvent::ProductChanged { sku, version, .. } = &product;
            let replaces = |known: &(u32, CatalogueEvent)| known.0 < *version;
            if latest.get(sku).is_none_or(replaces) {
                latest.insert(sku.clone(), (*version, product));
            }
        }
        store::catalogue::put(&mut tx, latest.into_values().map(|(_, product)| product)).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn read(record: &Record) -> Result<(Uuid, CatalogueEvent), Undecodable> {
    Ok((record.id, record.decode()?))
}

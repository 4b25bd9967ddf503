//! This service's copy of the catalogue: the full state of each product, as inventory last said it.

use std::collections::HashMap;

use contracts::{Topic, inventory::CatalogueEvent};
use messaging::{Batch, HandleError, Handler};

use crate::{App, store};

/// The topic the catalogue comes on.
pub(crate) const TOPICS: [&str; 1] = [Topic::InventoryCatalogue.name()];

/// Takes changed products in.
pub(crate) struct Catalogue(pub(crate) App);

impl Handler for Catalogue {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let mut latest = HashMap::new();
        for record in &batch.records {
            let product: CatalogueEvent = record.decode()?;
            let CatalogueEvent::ProductChanged { sku, version, .. } = &product;
            let replaces = |known: &(u32, CatalogueEvent)| known.0 < *version;
            if latest.get(sku).is_none_or(replaces) {
                latest.insert(sku.clone(), (*version, product));
            }
        }
        let mut tx = self.0.db.begin().await?;
        // Which of the messages are new does not matter: a product is replaced by a higher version only.
        messaging::postgres::inbox::accept(&mut tx, batch).await?;
        store::catalogue::put(&mut tx, latest.into_values().map(|(_, product)| product)).await?;
        tx.commit().await?;
        Ok(())
    }
}

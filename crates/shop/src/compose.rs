//! What `docker-compose.yml` has done by this program, each in a container that runs to its end: secrets are made, stores
//! prepared, the catalogue filled. Each may be done again at any time and then changes nothing.
//!
//! Whoever needs a secret gets a volume of his own with that alone, so no container can read another's; the volume of the
//! shop's own folder is for these programs and for operators.

mod secrets;
mod stores;

use std::path::Path;

pub use secrets::make_secrets;
pub use stores::prepare_stores;

use crate::{Seed, ShopError, State, seed};

/// Fills the catalogue of the shop in `folder`, once. It needs the inventory service alone: the order service is not ready
/// until it knows the catalogue.
///
/// # Errors
/// [`ShopError::Seed`] if the service will not take it.
pub async fn fill_catalogue(folder: &Path) -> Result<(), ShopError> {
    seed::bring_in(folder, &State::read(folder)?, Seed::Whole).await.map(drop)
}

/// What the containers call each other: the names of the services in `docker-compose.yml`.
mod host {
    pub(super) const POSTGRES_ORDERS: &str = "postgres-orders";
    pub(super) const POSTGRES_BILLING: &str = "postgres-billing";
    pub(super) const MONGO: &str = "mongo";
    pub(super) const KAFKA: &str = "kafka";
    pub(super) const PROVIDER: &str = "provider";
}

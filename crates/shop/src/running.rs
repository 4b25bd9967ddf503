//! What can be done to a running shop, in this process or another.

use std::{path::Path, time::Duration};

use contracts::CustomerId;
use web::access::Principal;

use crate::{
    Service, ShopError, State,
    audit::{self, Stores},
    dead::Dead,
    load::Target,
    token,
};

/// How long an audit waits for orders that are on their way.
const SETTLE: Duration = Duration::from_secs(60);

/// Customers of a load.
const CUSTOMERS: usize = 32;

/// How long their tokens are valid.
const TOKENS_VALID: Duration = Duration::from_secs(24 * 3600);

impl State {
    /// Whether the books add up, once no order is on its way any more.
    ///
    /// # Errors
    /// A store cannot be read, or orders do not settle.
    pub async fn audit(&self) -> anyhow::Result<audit::Report> {
        let read_only = |url: &str| format!("{url}?options[default_transaction_read_only]=on");
        let Self { stores, .. } = self;
        let (orders, billing) = (read_only(&stores.orders), read_only(&stores.billing));
        let stores = Stores::connect(&orders, &billing, &stores.inventory, &stores.provider).await?;
        let running = stores.settle(SETTLE).await?;
        if running > 0 {
            let parked = match Dead::of(&self.stores).await?.list().await?.len() {
                0 => String::new(),
                keys => format!(", and {keys} keys are parked: see `cargo shop dead list`"),
            };
            anyhow::bail!("{running} sagas have not ended after {} s{parked}", SETTLE.as_secs());
        }
        Ok(audit::check(&stores.read().await?))
    }

    /// Whom a load is done to: the services, some customers, and every process, whose CPU time counts.
    ///
    /// # Errors
    /// [`ShopError::Keys`] if no tokens can be signed for the shop in `folder`.
    pub fn load_target(&self, folder: &Path) -> Result<Target, ShopError> {
        let customer = |_| {
            let id = CustomerId::mint();
            Ok((id, token::sign(folder, &Principal::Customer(id), TOKENS_VALID)?))
        };
        let process = |part: &crate::state::PartState| Some((kind(&part.name).to_owned(), part.pid?));
        Ok(Target {
            order_urls: self.services.get(&Service::Order).cloned().unwrap_or_default(),
            inventory_url: self.url(Service::Inventory).to_owned(),
            billing_url: self.url(Service::Billing).to_owned(),
            customers: (0..CUSTOMERS).map(customer).collect::<Result<_, ShopError>>()?,
            processes: self.parts.iter().filter_map(process).collect(),
        })
    }
}

/// The name of a part without the number of its replica.
fn kind(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((kind, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => kind,
        Some(_) | None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_of_one_kind() {
        assert_eq!([kind("order"), kind("order-2"), kind("pg-orders")], ["order", "order", "pg-orders"]);
    }
}

//! The catalogue: 200 products, brought in through the HTTP API like any other.

use std::{
    fs,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use contracts::{Currency, Money, Sku};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tracing::info;
use web::access::Principal;

use crate::{Seed, Service, ShopError, State, token};

/// The file that tells how many products have been brought in.
pub(crate) const MARKER: &str = "seeded";

/// Requests on their way at once.
const AT_ONCE: usize = 8;

/// How long the order service may take to learn of all products.
const REPLICA_LIMIT: Duration = Duration::from_secs(30);

/// How long a service may ask for patience (503), as one that has just come up on a busy machine does.
const AWAY_LIMIT: Duration = Duration::from_secs(60);

/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// A product of the catalogue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its name for programs.
    pub sku: Sku,
    /// Its name for people.
    pub name: String,
    /// A sentence or two.
    pub description: String,
    /// The shelf it stands on.
    pub category: String,
    /// Price of one piece, VAT included. Unit: cents.
    pub price_cents: i64,
    /// Unit: hundredths of a percent.
    pub vat_rate: u32,
    /// Pieces that come in at first, half of them into each of two warehouses. Some products have few or none, to show
    /// what happens then.
    pub stock: u32,
}

/// All 200 products.
pub fn catalogue() -> &'static [Product] {
    static CATALOGUE: LazyLock<Vec<Product>> =
        LazyLock::new(|| serde_json::from_str(include_str!("../catalogue.json")).expect("a test reads this file"));
    &CATALOGUE
}

/// Brings in what is missing and waits until the order service can sell it. Repeating it changes nothing.
pub(crate) async fn fill(folder: &Path, state: &State, seed: Seed) -> Result<(), ShopError> {
    match bring_in(folder, state, seed).await? {
        0 => Ok(()),
        wanted => wait_for_replica(&state.stores.orders, wanted).await,
    }
}

/// Brings in what is missing, and says how many products there are. It needs the inventory service alone.
pub(crate) async fn bring_in(folder: &Path, state: &State, seed: Seed) -> Result<usize, ShopError> {
    let wanted = match seed {
        Seed::Nothing => return Ok(0),
        Seed::First(count) => count.min(catalogue().len()),
        Seed::Whole => catalogue().len(),
    };
    let marker = folder.join(MARKER);
    let there = fs::read_to_string(&marker).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    if there < wanted {
        let operator = token::sign(folder, &Principal::Operator, Duration::from_secs(600))?;
        let inventory = Inventory { client: Client::new(), url: state.url(Service::Inventory), operator };
        let products = stream::iter(&catalogue()[there..wanted]);
        products.map(Ok).try_for_each_concurrent(AT_ONCE, |product| inventory.bring_in(product)).await?;
        token::write_for_owner(&marker, &wanted.to_string())?;
        info!("The catalogue has {wanted} products.");
    }
    Ok(wanted)
}

struct Inventory<'a> {
    client: Client,
    url: &'a str,
    operator: String,
}

impl Inventory<'_> {
    async fn bring_in(&self, product: &Product) -> Result<(), ShopError> {
        let Product { sku, name, description, category, price_cents, vat_rate, stock } = product;
        let price = Money::new(*price_cents, Currency::EUR);
        let body = json!({ "name": name, "description": description, "category": category,
                           "price": price, "vat_rate": vat_rate });
        self.send(self.client.put(format!("{}/v1/products/{sku}", self.url)).json(&body)).await?;
        for (warehouse, pieces) in [("HAMBURG", stock.div_ceil(2)), ("LYON", stock / 2)] {
            if pieces > 0 {
                let body = json!({ "warehouse": warehouse, "pieces": pieces });
                let receipt = self.client.post(format!("{}/v1/stock/{sku}/receipts", self.url)).json(&body);
                // The same key at every try, so the pieces come in once.
                self.send(receipt.header("Idempotency-Key", format!("seed-{sku}-{warehouse}"))).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, request: RequestBuilder) -> Result<(), ShopError> {
        let deadline = Instant::now() + AWAY_LIMIT;
        let answer = loop {
            let request = request.try_clone().expect("a body of JSON can be sent again");
            let answer = request.bearer_auth(&self.operator).send().await;
            let answer = answer.map_err(|error| ShopError::Seed(error.to_string()))?;
            if answer.status().is_success() {
                return Ok(());
            }
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE || Instant::now() > deadline {
                break answer;
            }
            tokio::time::sleep(TRY_EVERY).await;
        };
        let (status, url) = (answer.status(), answer.url().clone());
        let said = answer.text().await.unwrap_or_default();
        Err(ShopError::Seed(format!("{url} answered {status}: {said}")))
    }
}

/// Waits until the order service's replica has `wanted` products. It has no request for that, so we look ourselves.
async fn wait_for_replica(orders: &str, wanted: usize) -> Result<(), ShopError> {
    let database = |source| ShopError::Database { database: "orders", source };
    let mut orders = PgConnection::connect(orders).await.map_err(database)?;
    let deadline = Instant::now() + REPLICA_LIMIT;
    loop {
        let known: i64 =
            sqlx::query_scalar("select count(*) from product").fetch_one(&mut orders).await.map_err(database)?;
        if usize::try_from(known).is_ok_and(|known| known >= wanted) {
            return orders.close().await.map_err(database);
        }
        if Instant::now() > deadline {
            return Err(ShopError::Seed(format!("the order service knows {known} of {wanted} products")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_catalogue_has_200_products_that_a_shop_could_sell() {
        let products = catalogue();
        assert_eq!(products.len(), 200);
        assert_eq!(products.iter().map(|product| &product.sku).collect::<HashSet<_>>().len(), 200);
        assert_eq!(products.iter().map(|product| &product.name).collect::<HashSet<_>>().len(), 200);
        for product in products {
            assert!(product.price_cents > 0 && product.description.len() > 20, "{product:?}");
            assert!(matches!(product.vat_rate, 700 | 1900), "{product:?}");
        }
        assert!(products.iter().any(|product| product.stock == 0), "one to be out of stock");
        assert!(products.iter().any(|product| (1..10).contains(&product.stock)), "one to run out of stock");
    }

    #[test]
    fn the_first_products_can_show_everything() {
        let first = &catalogue()[..20];
        assert!(first.iter().any(|product| product.stock == 0) && first.iter().any(|product| product.stock > 100));
    }
}

//! Has the owners of messages send them again, from what they know to be true.

use anyhow::Context;
use contracts::{OrderId, Sku};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{Service, ShopError, State};

/// Requests on their way at once.
const AT_ONCE: usize = 16;
/// Orders that one query reads.
const PAGE: i64 = 1_000;

/// What is to be sent again.
#[derive(Debug, Clone)]
pub enum What {
    /// All that the three services have said about an order.
    Order(OrderId),
    /// A product as it is now.
    Product(Sku),
    /// Every order and every product.
    Everything,
}

/// A page of the catalogue.
#[derive(Deserialize)]
struct Products {
    data: Vec<Product>,
    next_cursor: Option<Sku>,
}

#[derive(Deserialize)]
struct Product {
    sku: Sku,
}

/// An owner's answer.
#[derive(Deserialize)]
struct Republished {
    messages: u64,
}

struct Owners<'s> {
    state: &'s State,
    client: Client,
    operator: String,
}

/// Has `what` sent again, as the operator with this token. Gives the number of messages.
///
/// # Errors
/// [`ShopError::Unknown`] if nobody knows it, [`ShopError::Republish`] if a service refuses or does not answer.
pub async fn republish(state: &State, what: &What, operator: String) -> anyhow::Result<u64> {
    let owners = Owners { state, client: Client::new(), operator };
    let messages = match what {
        What::Order(order) => owners.order(*order).await?,
        What::Product(sku) => owners.product(sku).await?,
        What::Everything => owners.everything().await?,
    };
    if messages == 0 {
        let what = match what {
            What::Order(order) => format!("order {order}"),
            What::Product(sku) => format!("product {sku}"),
            What::Everything => "order or product at all".to_owned(),
        };
        return Err(ShopError::Unknown { what }.into());
    }
    Ok(messages)
}

impl Owners<'_> {
    /// Each service has its own part of an order.
    async fn order(&self, order: OrderId) -> Result<u64, ShopError> {
        let mut messages = 0;
        let parts = [(Service::Order, "orders"), (Service::Inventory, "holds"), (Service::Billing, "payments")];
        for (service, part) in parts {
            messages += self.ask(service, &format!("/v1/{part}/{order}/republish")).await?;
        }
        Ok(messages)
    }

    async fn product(&self, sku: &Sku) -> Result<u64, ShopError> {
        self.ask(Service::Inventory, &format!("/v1/products/{sku}/republish")).await
    }

    async fn everything(&self) -> anyhow::Result<u64> {
        let mut messages = 0;
        let mut next = "/v1/products?limit=200".to_owned();
        loop {
            let url = format!("{}{next}", self.state.url(Service::Inventory));
            let page = self.client.get(&url).send().await.and_then(reqwest::Response::error_for_status)?;
            let Products { data, next_cursor } = page.json().await.context("the catalogue cannot be read")?;
            messages += self.all(data.into_iter().map(|product| What::Product(product.sku))).await?;
            let Some(cursor) = next_cursor else { break };
            next = format!("/v1/products?limit=200&cursor={cursor}");
        }
        let mut db = PgConnection::connect(&self.state.stores.orders).await.context("the order database is away")?;
        let mut last = Uuid::nil();
        loop {
            let page = "select id from orders where id > $1 order by id limit $2";
            let ids: Vec<Uuid> = sqlx::query_scalar(page).bind(last).bind(PAGE).fetch_all(&mut db).await?;
            let Some(end) = ids.last() else { break };
            last = *end;
            messages += self.all(ids.into_iter().map(|id| What::Order(id.into()))).await?;
        }
        db.close().await?;
        Ok(messages)
    }

    async fn all(&self, whats: impl Iterator<Item = What>) -> Result<u64, ShopError> {
        let sent = stream::iter(whats).map(async |what| match what {
            What::Order(order) => self.order(order).await,
            What::Product(sku) => self.product(&sku).await,
            What::Everything => Ok(0),
        });
        sent.buffer_unordered(AT_ONCE).try_fold(0, async |sum, messages| Ok(sum + messages)).await
    }

    /// How many messages the owner has sent; none if it knows nothing of that.
    async fn ask(&self, service: Service, path: &str) -> Result<u64, ShopError> {
        let failed = |said: String| ShopError::Republish { service: service.name(), said };
        let request = self.client.post(format!("{}{path}", self.state.url(service))).bearer_auth(&self.operator);
        let answer = request.send().await.map_err(|error| failed(error.to_string()))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(0);
        }
        let answer = answer.error_for_status().map_err(|error| failed(error.to_string()))?;
        let Republished { messages } = answer.json().await.map_err(|error| failed(error.to_string()))?;
        Ok(messages)
    }
}

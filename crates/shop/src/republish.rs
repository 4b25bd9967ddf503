//! Has the owners of messages send them again, from what they know to be true.

use anyhow::Context;
use contracts::{OrderId, Sku};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{Service, ShopError, State, status};

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
    next_cursor: Option<String>,
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
/// [`ShopError::Unknown`] if nobody knows it, [`ShopError::NotRepublished`] if a service refuses,
/// [`ShopError::Silent`] if it does not answer.
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
        let mut next = "/v1/products?limit=100".to_owned();
        loop {
            let url = format!("{}{next}", self.state.url(Service::Inventory));
            let page = self.client.get(&url).send().await.and_then(reqwest::Response::error_for_status)?;
            let Products { data, next_cursor } = page.json().await.context("the catalogue cannot be read")?;
            messages += all(data.iter().map(|product| self.product(&product.sku))).await?;
            let Some(cursor) = next_cursor else { break };
            next = format!("/v1/products?limit=100&cursor={cursor}");
        }
        let mut db = PgConnection::connect(&self.state.stores.orders).await.context("the order database is away")?;
        let mut last = Uuid::nil();
        loop {
            let page = "select id from orders where id > $1 order by id limit $2";
            let ids: Vec<Uuid> = sqlx::query_scalar(page).bind(last).bind(PAGE).fetch_all(&mut db).await?;
            let Some(end) = ids.last() else { break };
            last = *end;
            messages += all(ids.into_iter().map(|id| self.order(id.into()))).await?;
        }
        db.close().await?;
        Ok(messages)
    }

    /// How many messages the owner has sent; none if it knows nothing of that.
    async fn ask(&self, service: Service, path: &str) -> Result<u64, ShopError> {
        let service_name = service.name();
        let silent = |source| ShopError::Silent { service: service_name, source };
        let request = self.client.post(format!("{}{path}", self.state.url(service))).bearer_auth(&self.operator);
        let answer = request.send().await.map_err(silent)?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(0),
            status if status.is_success() => {
                let Republished { messages } = answer.json().await.map_err(silent)?;
                Ok(messages)
            }
            _ => Err(ShopError::NotRepublished { service: service_name, why: status::detail(answer).await }),
        }
    }
}

/// Does all of `requests`, some at once; how many messages that were.
async fn all(requests: impl Iterator<Item = impl Future<Output = Result<u64, ShopError>>>) -> Result<u64, ShopError> {
    let sent = stream::iter(requests).buffer_unordered(AT_ONCE);
    sent.try_fold(0, async |sum, messages| Ok(sum + messages)).await
}

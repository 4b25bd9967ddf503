//! `GET /v1/orders`: a customer's own orders, or everybody's; the latest first.

use std::collections::HashMap;

use axum::extract::State;
use contracts::{CustomerId, Money, OrderId, order::CancelReason};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use web::{
    access::Principal,
    extract::{Json, Query},
    page::{Cursor, Limit, List},
    problem::Problem,
};

use crate::{
    App,
    order::{Order, StatusName},
    problem,
    reference::Reference,
    store::{self, orders::Found},
};

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<Cursor<OrderId>>,
    /// Only orders that are so now.
    #[param(inline)]
    status: Option<StatusName>,
}

/// An order in a list: what is in it, and what happened to it, is shown at its own address.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrderSummary {
    id: OrderId,
    /// Whose it is.
    customer: CustomerId,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Reference>,
    version: u32,
    status: StatusName,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<CancelReason>,
    total: Money,
    placed_at: Timestamp,
    updated_at: Timestamp,
}

/// A customer's own orders; an operator gets those of all. A page may have fewer entries than asked for, or none, and the
/// list still go on: `has_more` says so.
#[utoipa::path(
    get,
    path = "/v1/orders",
    params(Page),
    responses((status = 200, description = "A page of the list, the latest orders first.", body = List<OrderSummary>))
)]
pub(super) async fn orders(
    State(app): State<App>,
    principal: Principal,
    Query(Page { limit, cursor, status }): Query<Page>,
) -> Result<Json<List<OrderSummary>>, Problem> {
    let (before, status) = (cursor.map(|Cursor(id)| id), status.map(StatusName::as_str));
    let mut conn = app.db.acquire().await.map_err(problem::store)?;
    let found = match principal {
        Principal::Customer(customer) => {
            store::orders::of_customer(&mut conn, customer, status, before, limit.and_one()).await
        }
        Principal::Operator => store::orders::of_everybody(&mut conn, status, before, limit.and_one()).await,
    };
    let found = found.map_err(problem::store)?;
    let ids: Vec<OrderId> = found.iter().map(|found| found.id).collect();
    let named = store::references::of_orders(&mut conn, &ids).await.map_err(problem::store)?;
    let mut named: HashMap<_, _> = named.into_iter().collect();
    let shown = |Found { id, order }| match (order, named.remove(&id).transpose()) {
        (Ok(order), Ok(reference)) => Some(OrderSummary::of(order, reference)),
        (Err(error), _) | (_, Err(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(order.id = %id, error, "an order of a list cannot be read and is left out");
            None
        }
    };
    Ok(Json(readable(List::of(found, limit, |found| found.id, shown))))
}

/// The page without what cannot be read. It goes on behind that all the same: where it ends was found before.
pub(crate) fn readable<T>(page: List<Option<T>>) -> List<T> {
    let List { data, has_more, next_cursor } = page;
    List { data: data.into_iter().flatten().collect(), has_more, next_cursor }
}

impl OrderSummary {
    fn of(order: Order, reference: Option<Reference>) -> Self {
        Self {
            id: order.id,
            customer: order.customer,
            reference,
            version: order.version,
            status: order.status.name(),
            cancel_reason: order.status.cancel_reason().cloned(),
            total: order.total,
            placed_at: order.placed_at,
            updated_at: order.updated_at,
        }
    }
}

//! `GET /v1/payments?state=parked`: what waits for an operator.

use axum::extract::State;
use contracts::OrderId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use web::access::Operator;
use web::extract::{Json, Query};
use web::page::{Cursor, Limit, List};
use web::problem::Problem;

use super::{Api, operations};
use crate::problem;
use crate::store::intents::{self, Parked};

/// Which payments, and which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Payments are listed when something is to be done about them, and only then.
    #[serde(rename = "state")]
    #[param(inline)]
    _state: Listed,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<Cursor<(OrderId, String, i32)>>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Listed {
    /// The provider said what cannot be booked, or turns the call away again and again; see `POST /v1/payments/{order}/resume`.
    Parked,
}

/// What the provider is not asked for until an operator has looked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ParkedPayment)]
pub(super) struct ParkedView {
    order: OrderId,
    #[schema(schema_with = operations)]
    operation: String,
    /// What the provider knows it by.
    key: String,
    tries: i32,
    /// Why it waits.
    parked: String,
}

/// Everything that waits for an operator.
#[utoipa::path(
    get,
    path = "/v1/payments",
    params(Page),
    responses((status = 200, description = "A page of the list.", body = List<ParkedView>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    _: Operator,
    Query(Page { limit, cursor, .. }): Query<Page>,
) -> Result<Json<List<ParkedView>>, Problem> {
    let after = cursor.map(|Cursor(key)| key);
    let found = intents::parked(&api.pool, after, limit.and_one()).await.map_err(problem::store)?;
    let key = |one: &Parked| (one.order, one.operation.clone(), one.attempt);
    Ok(Json(List::of(found, limit, key, ParkedView::from)))
}

impl From<Parked> for ParkedView {
    fn from(parked: Parked) -> Self {
        let key = parked.key();
        let Parked { order, operation, attempt: _, tries, reason } = parked;
        Self { order, operation, key, tries, parked: reason }
    }
}

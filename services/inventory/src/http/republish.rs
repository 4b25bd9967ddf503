//! `/v1/holds/{order}/republish`, `/v1/products/{sku}/republish`.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use contracts::{OrderId, Sku};
use serde::Serialize;
use utoipa::ToSchema;
use web::{
    access::Operator,
    extract::{Json, Path},
    problem::Problem,
};

use crate::{
    App, problem,
    republish::{self, Of},
};

/// What was sent again.
#[derive(Serialize, ToSchema)]
struct Republished {
    messages: usize,
}

/// Sends the answers about a hold again.
#[utoipa::path(
    post,
    path = "/v1/holds/{order}/republish",
    params(("order" = OrderId, Path, description = "The order.")),
    responses((status = 202, description = "They are on their way.", body = Republished))
)]
pub(super) async fn hold(
    State(app): State<App>,
    Operator: Operator,
    Path(order): Path<OrderId>,
) -> Result<impl IntoResponse, Problem> {
    again(app, Of::Hold(order)).await?.ok_or_else(|| problem::order_not_found(order))
}

/// Sends a product again.
#[utoipa::path(
    post,
    path = "/v1/products/{sku}/republish",
    params(("sku" = Sku, Path, description = "The product.")),
    responses((status = 202, description = "It is on its way.", body = Republished))
)]
pub(super) async fn product(
    State(app): State<App>,
    Operator: Operator,
    Path(sku): Path<Sku>,
) -> Result<impl IntoResponse, Problem> {
    again(app, Of::Product(sku.clone())).await?.ok_or_else(|| problem::product_not_found(&sku))
}

async fn again(app: App, of: Of) -> Result<Option<impl IntoResponse>, Problem> {
    let messages = republish::republish(&app, &of).await.map_err(problem::store)?;
    tracing::info!(?of, messages, "An operator has messages sent again.");
    Ok((messages > 0).then_some((StatusCode::ACCEPTED, Json(Republished { messages }))))
}

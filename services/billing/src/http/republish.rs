//! What was answered about a payment, sent again for readers whose topic has lost it: as new messages, behind all that was
//! sent before. A reader that knows an answer changes nothing.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use contracts::OrderId;
use messaging::Outgoing;
use messaging::postgres::outbox;
use serde::Serialize;
use service::message::outgoing;
use service::tasks::to_its_end;
use utoipa::ToSchema;
use web::access::Operator;
use web::extract::{Json, Path};
use web::problem::Problem;

use super::Api;
use crate::problem;
use crate::store::payments;

/// What was sent again.
#[derive(Debug, Serialize, ToSchema)]
struct Republished {
    messages: usize,
}

/// Sends the answers about a payment again.
#[utoipa::path(
    post,
    path = "/v1/payments/{order}/republish",
    params(("order" = OrderId, Path, description = "The order that is paid for.")),
    responses((status = 202, description = "They are on their way.", body = Republished))
)]
pub(super) async fn payment(
    State(api): State<Api>,
    _: Operator,
    Path(order): Path<OrderId>,
) -> Result<impl IntoResponse, Problem> {
    // A client that hangs up must not leave a transaction open.
    let messages = to_its_end(async move { answers(&api, order).await }).await?;
    tracing::info!(order.id = %order, messages, "An operator has the answers about a payment sent again.");
    Ok((StatusCode::ACCEPTED, Json(Republished { messages })))
}

async fn answers(api: &Api, order: OrderId) -> Result<usize, Problem> {
    let mut tx = api.pool.begin().await.map_err(problem::store)?;
    let locked = payments::lock(&mut tx, [order]).await.map_err(problem::store)?;
    let payment = locked.get(&order).filter(|payment| !payment.commands.is_empty());
    let payment = payment.ok_or_else(|| problem::payment_not_found(order))?;
    let answers: Vec<Outgoing> = payment.answers().iter().map(outgoing).collect();
    outbox::put(&mut tx, &answers).await.map_err(problem::store)?;
    tx.commit().await.map_err(problem::store)?;
    Ok(answers.len())
}

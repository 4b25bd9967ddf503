//! An order's events sent again from its stream, for readers whose topic has lost them: as new messages, behind all that
//! was sent before. What they say has happened once; a reader that knows it changes nothing.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use contracts::OrderId;
use messaging::{Outgoing, postgres::outbox};
use serde::Serialize;
use service::{message::outgoing, tasks::to_its_end};
use utoipa::ToSchema;
use web::{
    access::Operator,
    extract::{Json, Path},
    problem::Problem,
};

use crate::{App, http, problem, store};

/// What was sent again.
#[derive(Debug, Serialize, ToSchema)]
struct Republished {
    messages: usize,
}

/// Sends the events of an order again.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/republish",
    params(("id" = OrderId, Path, description = "The order.")),
    responses((status = 202, description = "They are on their way.", body = Republished))
)]
pub(crate) async fn order(
    State(app): State<App>,
    Operator: Operator,
    Path(id): Path<OrderId>,
) -> Result<impl IntoResponse, Problem> {
    // A client that hangs up must not leave a transaction open.
    let sent = to_its_end(async move { events(&app, id).await }).await.map_err(problem::store)?;
    let messages = sent.ok_or_else(|| http::not_found(id))?;
    tracing::info!(order.id = %id, messages, "an operator has the events of an order sent again");
    Ok((StatusCode::ACCEPTED, Json(Republished { messages })))
}

/// How many there were; `None` if there is no such order.
async fn events(app: &App, id: OrderId) -> sqlx::Result<Option<usize>> {
    let mut tx = app.db.begin().await?;
    // The lock keeps what is sent now from standing between an event and the one that follows it.
    if store::orders::lock(&mut tx, &[id]).await?.is_empty() {
        return Ok(None);
    }
    let events: Vec<Outgoing> = store::orders::events(&mut tx, id).await?.iter().map(outgoing).collect();
    outbox::put(&mut tx, &events).await?;
    tx.commit().await?;
    Ok(Some(events.len()))
}

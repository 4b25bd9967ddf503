//! An order as its customer sees it.

use contracts::{Money, OrderId, ShipmentId, order::CancelReason, order::OrderLine};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use web::problem::Problem;

use super::not_found;
use crate::{
    App,
    history::{self, Moment},
    order::{Order, Status, StatusName},
    problem,
    reference::Reference,
    store,
};

/// An order, now or at some moment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub(super) struct OrderView {
    id: OrderId,
    /// What its customer calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Reference>,
    version: u32,
    status: StatusName,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<CancelReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancellation: Option<Cancellation>,
    lines: Vec<OrderLine>,
    total: Money,
    /// What has left for the customer.
    shipments: Vec<ShipmentId>,
    placed_at: Timestamp,
    updated_at: Timestamp,
}

/// How far a cancellation is that somebody wanted. Once it is done, the status says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Cancellation {
    /// Nothing is decided yet, or not all is undone.
    Requested,
    /// Something was shipped already; the order goes on.
    Refused,
}

/// The order as it is now.
pub(super) async fn now(app: &App, order: Order) -> Result<OrderView, Problem> {
    let requested = requested_at(app, &order).await?.is_some();
    let reference = reference(app, order.id).await?;
    Ok(OrderView::of(order, reference, requested))
}

/// The order as it was at `moment`.
pub(super) async fn at(app: &App, id: OrderId, moment: Moment) -> Result<OrderView, Problem> {
    let mut conn = app.db.acquire().await.map_err(problem::store)?;
    let events = store::orders::events(&mut conn, id).await.map_err(problem::store)?;
    drop(conn);
    let order =
        history::at(&events, moment).map_err(|error| Problem::internal(&error))?.ok_or_else(|| not_found(id))?;
    let until = match moment {
        Moment::AsOf(time) => time,
        Moment::Version(_) => order.updated_at,
    };
    let requested = requested_at(app, &order).await?.is_some_and(|at| at <= until);
    let reference = reference(app, id).await?;
    Ok(OrderView::of(order, reference, requested))
}

async fn reference(app: &App, id: OrderId) -> Result<Option<Reference>, Problem> {
    let mut conn = app.db.acquire().await.map_err(problem::store)?;
    let named = store::references::of_orders(&mut conn, &[id]).await.map_err(problem::store)?;
    named.into_iter().next().map(|(_, reference)| reference).transpose().map_err(problem::store)
}

/// When somebody first wanted the order cancelled; not asked if it is.
async fn requested_at(app: &App, order: &Order) -> Result<Option<Timestamp>, Problem> {
    if matches!(order.status, Status::Cancelled(_)) || order.cancellation_refused {
        return Ok(None);
    }
    let mut conn = app.db.acquire().await.map_err(problem::store)?;
    store::history::cancel_requested_at(&mut conn, order.id).await.map_err(problem::store)
}

impl OrderView {
    fn of(order: Order, reference: Option<Reference>, is_cancel_requested: bool) -> Self {
        let cancellation = if order.cancellation_refused {
            Some(Cancellation::Refused)
        } else {
            let is_over = matches!(order.status, Status::Cancelled(_));
            (is_cancel_requested && !is_over).then_some(Cancellation::Requested)
        };
        Self {
            id: order.id,
            reference,
            version: order.version,
            status: order.status.name(),
            cancel_reason: order.status.cancel_reason().cloned(),
            cancellation,
            lines: order.lines,
            total: order.total,
            shipments: order.shipments,
            placed_at: order.placed_at,
            updated_at: order.updated_at,
        }
    }
}

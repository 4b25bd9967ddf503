//! `/v1/holds`.

use axum::extract::State;
use contracts::{
    CommandId, OrderId,
    inventory::{StockLine, StockRefusal},
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use web::{
    access::Operator,
    extract::{Json, Path},
    problem::Problem,
};

use crate::{
    App,
    hold::{Answer, Answered, Hold, State as HoldState},
    problem,
    stock::Pick,
    store,
};

/// What inventory knows of an order.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub(super) struct HoldView {
    order: OrderId,
    #[schema(inline)]
    state: StateView,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<StockRefusal>,
    lines: Vec<StockLine>,
    /// What lies in the warehouses for the order.
    picks: Vec<Pick>,
    commands: Vec<CommandView>,
    at: Timestamp,
}

/// A command, and what was answered to it.
#[derive(Serialize, ToSchema)]
#[schema(as = Command)]
struct CommandView {
    id: CommandId,
    #[schema(inline)]
    answer: AnswerView,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<StockRefusal>,
    at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StateView {
    Open,
    Allocated,
    Shipped,
    Released,
    Refused,
    Tombstone,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AnswerView {
    Held,
    Refused,
    Released,
    Reclaimed,
    ReclaimRefused,
}

/// The hold of one order.
#[utoipa::path(
    get,
    path = "/v1/holds/{order}",
    params(("order" = OrderId, Path, description = "The order.")),
    responses((status = 200, description = "The hold.", body = HoldView))
)]
pub(super) async fn show(
    State(app): State<App>,
    Operator: Operator,
    Path(order): Path<OrderId>,
) -> Result<Json<HoldView>, Problem> {
    let hold = store::hold::find(&app.db, order).await.map_err(problem::store)?;
    hold.map(|hold| Json(hold.into())).ok_or_else(|| problem::order_not_found(order))
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        let Hold { order, state, lines, picks, commands, late_cleanup: _, at } = hold;
        let (state, reason) = match state {
            HoldState::Open => (StateView::Open, None),
            HoldState::Allocated => (StateView::Allocated, None),
            HoldState::Shipped => (StateView::Shipped, None),
            HoldState::Released => (StateView::Released, None),
            HoldState::Refused(reason) => (StateView::Refused, Some(reason)),
            HoldState::Tombstone => (StateView::Tombstone, None),
        };
        let commands = commands.into_iter().map(CommandView::from).collect();
        Self { order, state, reason, lines, picks, commands, at }
    }
}

impl From<Answered> for CommandView {
    fn from(answered: Answered) -> Self {
        let Answered { command: id, answer, at } = answered;
        let (answer, reason) = match answer {
            Answer::Held => (AnswerView::Held, None),
            Answer::Refused(reason) => (AnswerView::Refused, Some(reason)),
            Answer::Released => (AnswerView::Released, None),
            Answer::Reclaimed => (AnswerView::Reclaimed, None),
            Answer::ReclaimRefused => (AnswerView::ReclaimRefused, None),
        };
        Self { id, answer, reason, at }
    }
}

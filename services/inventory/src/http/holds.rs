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
    state: &'static str,
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
    answer: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<StockRefusal>,
    at: Timestamp,
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
    hold.map(|hold| Json(hold.into())).ok_or_else(|| problem::unknown_order(order))
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        let Hold { order, state, lines, picks, commands, late_cleanup: _, at } = hold;
        let name = state.name();
        let reason = match state {
            HoldState::Refused(reason) => Some(reason),
            HoldState::Open
            | HoldState::Allocated
            | HoldState::Shipped
            | HoldState::Released
            | HoldState::Tombstone => None,
        };
        let commands = commands.into_iter().map(CommandView::from).collect();
        Self { order, state: name, reason, lines, picks, commands, at }
    }
}

impl From<Answered> for CommandView {
    fn from(answered: Answered) -> Self {
        let Answered { command: id, answer, at } = answered;
        let (answer, reason) = match answer {
            Answer::Held => ("held", None),
            Answer::Refused(reason) => ("refused", Some(reason)),
            Answer::Released => ("released", None),
            Answer::Reclaimed => ("reclaimed", None),
            Answer::ReclaimRefused => ("reclaim_refused", None),
        };
        Self { id, answer, reason, at }
    }
}

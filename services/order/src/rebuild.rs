//! Every order folded anew from its events, and written where it differs. It never should: the fold is written in the
//! transaction that writes the event. It does after somebody has changed `orders` by hand, or when a new version of the
//! program folds otherwise.

use axum::extract::State;
use contracts::{OrderId, order::OrderEvent};
use serde::{Deserialize, Serialize};
use service::tasks::to_its_end;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use web::{
    access::Operator,
    extract::{Json, Query},
    problem::Problem,
};

use crate::{App, order::Order, problem, store};

/// Streams in one transaction.
const PAGE: i64 = 1_000;

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The `next` of the page before.
    after: Option<OrderId>,
}

/// What one page has come to.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Rebuilt {
    /// How many streams were folded.
    pub(crate) folded: usize,
    /// The orders that were not the fold of their events, and are now.
    pub(crate) differed: Vec<OrderId>,
    /// The streams that cannot be folded; their orders are as they were.
    pub(crate) broken: Vec<Broken>,
    /// The last order of the page; none if there were no more.
    pub(crate) next: Option<OrderId>,
}

/// A stream that cannot be folded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Broken {
    pub(crate) order: OrderId,
    pub(crate) reason: String,
}

/// Folds the next page of streams anew.
#[utoipa::path(
    post,
    path = "/v1/orders/rebuild",
    params(Page),
    responses((status = 200, description = "What one page has come to.", body = Rebuilt))
)]
pub(crate) async fn orders(
    State(app): State<App>,
    Operator: Operator,
    Query(Page { after }): Query<Page>,
) -> Result<Json<Rebuilt>, Problem> {
    let after = after.map_or(Uuid::nil(), OrderId::as_uuid);
    // A client that hangs up must not leave a transaction open.
    let rebuilt = to_its_end(async move { rebuild(&app, after).await }).await;
    let rebuilt = rebuilt.map_err(problem::store)?;
    if !rebuilt.differed.is_empty() || !rebuilt.broken.is_empty() {
        let (differed, broken) = (rebuilt.differed.len(), rebuilt.broken.len());
        tracing::warn!(
            differed,
            broken,
            "an operator had orders folded anew, and not all were the fold of their events"
        );
    }
    Ok(Json(rebuilt))
}

/// Folds the streams after that of `after` anew, as many as one transaction takes.
pub(crate) async fn rebuild(app: &App, after: Uuid) -> sqlx::Result<Rebuilt> {
    let mut tx = app.db.begin().await?;
    let ids = store::rebuild::streams(&mut tx, after, PAGE).await?;
    store::rebuild::lock(&mut tx, &ids).await?;
    let stored = store::rebuild::events(&mut tx, &ids).await?;
    let mut rebuilt = Rebuilt { next: ids.last().copied().map(OrderId::from), ..Rebuilt::default() };
    let mut orders = Vec::with_capacity(ids.len());
    for stream in stored.chunk_by(|(one, _), (other, _)| one == other) {
        let order = OrderId::from(stream[0].0);
        match fold(order, stream) {
            Ok(order) => orders.push(order),
            Err(error) => rebuilt.broken.push(Broken { order, reason: error.to_string() }),
        }
    }
    rebuilt.folded = orders.len();
    rebuilt.differed = store::rebuild::put(&mut tx, &orders).await?;
    tx.commit().await?;
    Ok(rebuilt)
}

fn fold(id: OrderId, stream: &[(Uuid, String)]) -> Result<Order, FoldError> {
    let events: serde_json::Result<Vec<OrderEvent>> =
        stream.iter().map(|(_, event)| serde_json::from_str(event)).collect();
    Order::fold(&events?)?.filter(|order| order.id == id).ok_or(FoldError::OtherOrder)
}

/// Why a stream cannot be folded.
#[derive(Debug, thiserror::Error)]
enum FoldError {
    #[error("an event cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error(transparent)]
    Impossible(#[from] crate::order::Impossible),
    #[error("its events are those of another order")]
    OtherOrder,
}

//! Sagas that cannot go on by themselves: a step after the pivot was refused. Operators see which and why, and let one go on
//! once what was wrong is mended: the step is asked anew.
//!
//! What is said after a pivot today is never refused, so none should ever be here. A participant that is changed later, or
//! is not ours, may refuse all the same.

use axum::{extract::State, http::StatusCode};
use contracts::OrderId;
use jiff::Timestamp;
use messaging::HandleError;
use serde::Serialize;
use service::tasks::to_its_end;
use utoipa::ToSchema;
use uuid::Uuid;
use web::{
    access::Operator,
    extract::{Json, Path, Query},
    page::{Cursor, List, Page},
    problem::Problem,
};

use crate::{
    App,
    http::readable,
    problem,
    sagas::{AdvanceError, Kind, Moves, Progress, Refusal},
    store,
};

/// A parked saga.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ParkedSaga)]
pub(crate) struct Parked {
    pub(crate) saga: Uuid,
    pub(crate) kind: Kind,
    pub(crate) order: OrderId,
    /// The step that was refused.
    pub(crate) step: String,
    /// What its participant said.
    pub(crate) reason: Refusal,
    /// When.
    pub(crate) since: Timestamp,
}

/// The saga that goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Resumed {
    saga: Uuid,
    order: OrderId,
}

/// Why a saga is not let go on. Nothing has changed.
#[derive(Debug, thiserror::Error)]
enum ResumeError {
    #[error("there is no saga {0}")]
    NoSaga(Uuid),
    #[error("saga {0} is not parked")]
    NotParked(Uuid),
    #[error("the saga could not be stored")]
    Store(#[from] sqlx::Error),
    #[error("the saga could not be stored")]
    Save(#[from] HandleError),
    #[error("the saga cannot go on")]
    Advance(#[from] AdvanceError),
}

/// Lists the parked sagas, the oldest first. A page may have fewer entries than asked for, or none, and the list still go
/// on: `has_more` says so.
#[utoipa::path(
    get,
    path = "/v1/sagas/parked",
    params(Page<Uuid>),
    responses((status = 200, description = "A page of the list.", body = List<Parked>))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Operator: Operator,
    Query(Page { limit, cursor }): Query<Page<Uuid>>,
) -> Result<Json<List<Parked>>, Problem> {
    let after = cursor.map(|Cursor(id)| id).unwrap_or_default();
    let mut conn = app.db.acquire().await.map_err(problem::store)?;
    let found = store::sagas::parked(&mut conn, after, limit.and_one()).await;
    let found = found.map_err(problem::store)?;
    Ok(Json(readable(List::of(found, limit, |(saga, _)| *saga, |(_, parked)| parked))))
}

/// Lets a parked saga go on.
#[utoipa::path(
    post,
    path = "/v1/sagas/{id}/resume",
    params(("id" = Uuid, Path, description = "The saga.")),
    responses((status = 202, description = "Its step is asked anew.", body = Resumed))
)]
pub(crate) async fn resume(
    State(app): State<App>,
    Operator: Operator,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Json<Resumed>), Problem> {
    // A client that hangs up must not leave a transaction open.
    let order = to_its_end(async move { go_on(&app, id).await }).await?;
    tracing::info!(saga.id = %id, order.id = %order, "an operator lets a parked saga go on");
    Ok((StatusCode::ACCEPTED, Json(Resumed { saga: id, order })))
}

async fn go_on(app: &App, id: Uuid) -> Result<OrderId, ResumeError> {
    let mut tx = app.db.begin().await?;
    let (now, sagas) = store::sagas::lock(&mut tx, &[id]).await?;
    let saga = sagas.first().ok_or(ResumeError::NoSaga(id))?;
    let order = saga.order();
    if saga.parked().is_none() {
        return Err(ResumeError::NotParked(id));
    }
    let mut progress = Progress::of(sagas);
    progress.advance(id, Moves::Resumed, now)?;
    progress.commit(app, tx, now).await?;
    Ok(order)
}

impl From<ResumeError> for Problem {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::NoSaga(_) => Self::of(&problem::SAGA_NOT_FOUND, error),
            ResumeError::NotParked(_) => Self::of(&problem::SAGA_NOT_PARKED, error),
            ResumeError::Store(_) | ResumeError::Save(_) | ResumeError::Advance(_) => problem::failed(&error),
        }
    }
}

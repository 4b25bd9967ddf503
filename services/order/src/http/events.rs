//! `/v1/orders/{id}/events`: all that was written down about an order.

use axum::extract::State;
use contracts::OrderId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use web::{
    access::Principal,
    extract::{Json, Path, Query},
    page::{self, Limit, List},
    problem::Problem,
};

use super::find;
use crate::{
    App, problem, store,
    store::history::Logs,
    timeline::{Cursor, Entry, What, timeline},
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
    #[serde(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: page::Cursor<Cursor>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub(super) struct EntryView {
    key: String,
    at: Timestamp,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    what: What,
}

/// The order's events, and between them the steps of its sagas that led to them.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/events",
    params(("id" = OrderId, Path, description = "The order."), Page),
    responses((status = 200, description = "A page of the list, a cause before its effects.", body = List<EntryView>))
)]
pub(super) async fn list(
    State(app): State<App>,
    principal: Principal,
    Query(Page { limit, cursor: page::Cursor(cursor) }): Query<Page>,
    Path(id): Path<OrderId>,
) -> Result<Json<List<EntryView>>, Problem> {
    find(&app, &principal, id).await?;
    let mut conn = app.db.acquire().await.map_err(problem::store)?;
    let events = store::orders::events(&mut conn, id).await.map_err(problem::store)?;
    let logs = store::history::logs(&mut conn, id).await.map_err(problem::store)?;
    let Logs { checkout, cancellation } = logs;
    let (page, next_cursor) = cursor.page(timeline(events, checkout, cancellation), limit.get());
    let (data, has_more) = (page.into_iter().map(EntryView::from).collect(), next_cursor.is_some());
    let next_cursor = next_cursor.map(|next| page::Cursor(next).to_string());
    Ok(Json(List { data, has_more, next_cursor }))
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self { key: entry.key(), at: entry.at, what: entry.what }
    }
}

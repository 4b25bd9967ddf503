//! `/v1/orders/{id}/events`: all that was written down about an order.

use axum::extract::State;
use contracts::{OrderId, order::OrderEvent};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use web::{
    access::Principal,
    extract::{Json, Path, Query},
    page::{self, List, Page},
    problem::Problem,
};

use super::{find, step::StepView};
use crate::{
    App, problem, store,
    store::history::Logs,
    timeline::{Cursor, Entry, What, timeline},
};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub(super) struct EntryView {
    key: String,
    at: Timestamp,
    #[serde(flatten)]
    #[schema(inline)]
    what: WhatView,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WhatView {
    /// What happened to the order.
    Event(OrderEvent),
    /// What happened to one of its sagas.
    Step(StepView),
}

/// The order's events, and between them the steps of its sagas that led to them.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/events",
    params(("id" = OrderId, Path, description = "The order."), Page<Cursor>),
    responses((status = 200, description = "A page of the list, a cause before its effects.", body = List<EntryView>))
)]
pub(super) async fn list(
    State(app): State<App>,
    principal: Principal,
    Query(Page { limit, cursor }): Query<Page<Cursor>>,
    Path(id): Path<OrderId>,
) -> Result<Json<List<EntryView>>, Problem> {
    find(&app, &principal, id).await?;
    let mut conn = app.db.acquire().await.map_err(problem::store)?;
    let events = store::orders::events(&mut conn, id).await.map_err(problem::store)?;
    let logs = store::history::logs(&mut conn, id).await.map_err(problem::store)?;
    let Logs { checkout, cancellation } = logs;
    let cursor = cursor.map(|page::Cursor(cursor)| cursor).unwrap_or_default();
    let (page, next_cursor) = cursor.page(timeline(events, checkout, cancellation), limit.get());
    let (data, has_more) = (page.into_iter().map(EntryView::from).collect(), next_cursor.is_some());
    let next_cursor = next_cursor.map(|next| page::Cursor(next).to_string());
    Ok(Json(List { data, has_more, next_cursor }))
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self { key: entry.key(), at: entry.at, what: entry.what.into() }
    }
}

impl From<What> for WhatView {
    fn from(what: What) -> Self {
        match what {
            What::Event(event) => Self::Event(event),
            What::Step(word) => Self::Step(word.into()),
        }
    }
}

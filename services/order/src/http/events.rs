//! `/v1/orders/{id}/events`: all that was written down about an order.

use axum::extract::State;
use contracts::OrderId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use web::{
    access::Principal,
    extract::{Json, Path, Query},
    problem::Problem,
};

use super::{find, unavailable};
use crate::{
    App, store,
    store::history::Logs,
    timeline::{Cursor, Entry, What, timeline},
};

/// Which part of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    limit: Limit,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Cursor,
}

/// Entries on one page: 1 to 200.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
struct Limit(u32);

/// A part of the list, and how to ask for the next.
#[derive(Debug, Serialize)]
pub(super) struct EntryList {
    data: Vec<EntryView>,
    has_more: bool,
    next_cursor: Option<Cursor>,
}

#[derive(Debug, Serialize)]
struct EntryView {
    key: String,
    at: Timestamp,
    #[serde(flatten)]
    what: What,
}

/// The order's events, and between them the steps of its sagas that led to them.
pub(super) async fn list(
    State(app): State<App>,
    principal: Principal,
    Query(Page { limit: Limit(limit), cursor }): Query<Page>,
    Path(id): Path<OrderId>,
) -> Result<Json<EntryList>, Problem> {
    find(&app, &principal, id).await?;
    let mut conn = app.db.acquire().await.map_err(|error| unavailable(&error))?;
    let events = store::orders::events(&mut conn, id).await.map_err(|error| unavailable(&error))?;
    let logs = store::history::logs(&mut conn, id).await.map_err(|error| unavailable(&error))?;
    let Logs { checkout, cancellation } = logs;
    let (page, next_cursor) = cursor.page(timeline(events, checkout, cancellation), limit as usize);
    let data = page.into_iter().map(EntryView::from).collect();
    Ok(Json(EntryList { data, has_more: next_cursor.is_some(), next_cursor }))
}

impl Limit {
    const MAX: u32 = 200;
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, String> {
        if (1..=Self::MAX).contains(&limit) { Ok(Self(limit)) } else { Err(format!("limit is 1 to {}", Self::MAX)) }
    }
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self { key: entry.key(), at: entry.at, what: entry.what }
    }
}

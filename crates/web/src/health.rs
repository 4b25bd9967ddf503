//! Is the process alive, is it ready. Open to everybody, for they say nothing else.

use axum::{
    Router,
    http::header::CACHE_CONTROL,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

use crate::{
    extract::Json,
    problem::{Problem, types},
};

/// Something that a process needs to be ready, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// What it is called, such as `database`.
    pub name: &'static str,
    /// How it is, in a word or two, such as `away`.
    pub says: &'static str,
    /// Whether that will do.
    pub is_ready: bool,
}

/// `/health/live` is 200 while the process answers at all; `/health/ready` is 200 while all `parts()` are ready, else 503
/// with those that are not.
pub fn routes<S>(parts: impl Fn() -> Vec<Part> + Clone + Send + Sync + 'static) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let is_ready = move || {
        let parts = parts();
        async move { ready(&parts) }
    };
    let live = async || said(&Health { status: "live", parts: vec![] });
    Router::new().route("/health/live", get(live)).route("/health/ready", get(is_ready))
}

fn ready(parts: &[Part]) -> Result<Response, Problem> {
    let of = |part: &Part| format!("{}: {}", part.name, part.says);
    let lacking: Vec<String> = parts.iter().filter(|part| !part.is_ready).map(of).collect();
    if lacking.is_empty() {
        Ok(said(&Health { status: "ready", parts: parts.iter().map(of).collect() }))
    } else {
        Err(Problem::of(&types::NOT_READY, lacking.join(", ")))
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<String>,
}

fn said(health: &Health) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(health)).into_response()
}

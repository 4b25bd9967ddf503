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
pub struct Need {
    /// What it is called, such as `database`.
    pub name: &'static str,
    /// How it is, in a word or two, such as `away`.
    pub says: &'static str,
    /// Whether that will do.
    pub is_ready: bool,
}

/// `/health/live` is 200 while the process answers at all; `/health/ready` is 200 while all `needs()` are ready, else 503
/// with those that are not.
pub fn routes<S>(needs: impl Fn() -> Vec<Need> + Clone + Send + Sync + 'static) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let is_ready = move || {
        let needs = needs();
        async move { ready(&needs) }
    };
    let live = async || said(&Health { status: "live", needs: vec![] });
    Router::new().route("/health/live", get(live)).route("/health/ready", get(is_ready))
}

fn ready(needs: &[Need]) -> Result<Response, Problem> {
    let of = |need: &Need| format!("{}: {}", need.name, need.says);
    let lacking: Vec<String> = needs.iter().filter(|need| !need.is_ready).map(of).collect();
    if lacking.is_empty() {
        Ok(said(&Health { status: "ready", needs: needs.iter().map(of).collect() }))
    } else {
        Err(Problem::of(&types::NOT_READY, lacking.join(", ")))
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs: Vec<String>,
}

fn said(health: &Health) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(health)).into_response()
}

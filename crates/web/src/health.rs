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

/// `/health/live` is 200 while the process answers at all; `/health/ready` is 200 while `ready()`, else 503.
pub fn routes<S>(ready: impl Fn() -> bool + Clone + Send + Sync + 'static) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let is_ready = move || {
        let ready = ready();
        async move { if ready { Ok(said("ready")) } else { Err(Problem::of(&types::NOT_READY, "Ask again soon.")) } }
    };
    Router::new().route("/health/live", get(async || said("live"))).route("/health/ready", get(is_ready))
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

fn said(status: &'static str) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(Health { status })).into_response()
}

//! What is measured of requests, and the page that Prometheus reads.

use std::time::Duration;

use axum::{
    Router,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::IntoResponse,
    routing::get,
};
use metrics::{Gauge, counter, gauge, histogram};

use crate::access::{Operator, Verifier};

/// `/metrics` is what `render` says, in Prometheus' text format; for operators only, for it tells how business goes.
pub fn routes(verifier: Verifier, render: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    let page = async move |_: Operator| {
        let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")];
        (headers, render()).into_response()
    };
    Router::new().route("/metrics", get(page)).with_state(verifier)
}

/// A request of `route`, the template and not the path, was answered. What has no route is of one that is empty.
pub(crate) fn answered(route: &str, status: StatusCode, duration: Duration) {
    let route = route.to_owned();
    // Under a microsecond, once per request.
    counter!("http_requests_total", "route" => route.clone(), "status" => status.as_str().to_owned()).increment(1);
    histogram!("http_request_duration_seconds", "route" => route).record(duration);
}

/// A connection is open, until what is returned is dropped.
pub(crate) fn connected() -> Connected {
    let open = gauge!("http_connections");
    open.increment(1.0);
    Connected(open)
}

/// A connection was closed because its client kept it waiting: for the rest of a `head`, or `idle`; or for more than
/// a second, with whatever, while another had no `room`.
pub(crate) fn hung_up(waiting: &'static str) {
    counter!("http_connections_timed_out_total", "waiting" => waiting).increment(1);
}

pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

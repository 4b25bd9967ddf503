//! Routers called as a client calls them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod extract;
mod limits;
mod metrics;
mod openapi;
mod serve;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE},
};
use serde_json::Value;
use tower::ServiceExt;
use web::gate::Gate;

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// Sends `request` to `router`, guarded as it is in a service.
async fn call(router: &Router, request: Request<Body>) -> Answer {
    let response = web::serve::guarded(router.clone(), Gate::default()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    Answer { status: parts.status, headers: parts.headers, body }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks status, code, and everything every problem has.
    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.body["type"], format!("/problems/{code}"));
        assert_eq!(self.body["status"], status);
        for text in ["title", "detail", "trace_id"] {
            assert!(self.body[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {self:?}");
        }
    }

    fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap()
    }
}

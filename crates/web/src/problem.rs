//! Every answer that is no success: `application/problem+json` (RFC 9457) with a stable `code`.

use std::{error::Error, fmt, time::Duration};

use axum::{
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tracing::{error, warn};
use uuid::Uuid;

pub mod types;

/// The media type of every problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A kind of problem. Clients decide by its slug, so a slug never changes its meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// Its name, in snake case: the `code` of the body, and `/problems/<slug>` its `type`.
    pub slug: &'static str,
    /// The status of the answer.
    pub status: StatusCode,
    /// What went wrong, in a few words, the same each time.
    pub title: &'static str,
}

/// An answer that is no success.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: &'static ProblemType,
    detail: String,
    errors: Vec<FieldError>,
    trace_id: Option<Uuid>,
    retry_after: Option<Duration>,
}

/// One place in the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where in the body: a JSON pointer (RFC 6901), such as `/lines/0/quantity`.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

impl FieldError {
    /// `detail` is wrong at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self { pointer: pointer.into(), detail: detail.to_string() }
    }
}

impl Problem {
    /// A problem the client is told about in full: `detail` is shown as it is, and nothing is logged.
    pub fn of(kind: &'static ProblemType, detail: impl fmt::Display) -> Self {
        let detail = detail.to_string();
        Self(Box::new(Parts { kind, detail, errors: Vec::new(), trace_id: None, retry_after: None }))
    }

    /// Our fault. The error and its sources are logged, once and here; the client sees a trace id that the log has too.
    pub fn internal(error: &dyn Error) -> Self {
        let trace_id = Uuid::now_v7();
        error!(%trace_id, error = chain(error), "A request failed, and it is our fault.");
        Self::of(&types::INTERNAL, "Something went wrong on our side.").traced(trace_id)
    }

    /// Something we need is away; the client shall ask again after `retry_after`. Logged like
    /// [`internal`](Self::internal).
    pub fn unavailable(error: &dyn Error, retry_after: Duration) -> Self {
        let trace_id = Uuid::now_v7();
        warn!(%trace_id, error = chain(error), "A request failed because something we need is away.");
        let problem = Self::of(&types::UNAVAILABLE, "Something we need is away for the moment. Ask again soon.");
        problem.traced(trace_id).with_retry_after(retry_after)
    }

    /// Names the places in the request that are wrong.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Tells the client when to ask again; in whole seconds, rounded up.
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Which problem it is.
    pub fn kind(&self) -> &'static ProblemType {
        self.0.kind
    }

    fn traced(mut self, trace_id: Uuid) -> Self {
        self.0.trace_id = Some(trace_id);
        self
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Uuid>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { kind, detail, errors, trace_id, retry_after } = *self.0;
        let ProblemType { slug, status, title } = *kind;
        let r#type = format!("/problems/{slug}");
        let body =
            Body { r#type, title, status: status.as_u16(), detail: &detail, code: slug, errors: &errors, trace_id };
        let body = serde_json::to_vec(&body).expect("texts and numbers are always JSON");
        let mut response = (status, body).into_response();
        let mut set = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
        set(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        set(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            set(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = retry_after {
            set(RETRY_AFTER, whole_seconds(after).into());
        }
        response
    }
}

fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// The error and all its sources on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

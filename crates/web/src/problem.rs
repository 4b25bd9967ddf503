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
use serde_json::{Map, Value};
use tracing::{debug, error, warn};
use utoipa::{
    ToSchema,
    openapi::{Ref, RefOr, Schema},
};

use crate::trace::{TraceId, Traceparent};

pub mod types;

/// The media type of every problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The name of the schema of all codes of an API.
pub(crate) const CODE: &str = "ProblemCode";

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

/// Makes kinds of problems, and `ALL` with each of them for the [description](crate::openapi::api) of the API that they are
/// of, so that none is missing there.
///
/// ```
/// web::problem_types! {
///     /// It is gone.
///     pub(crate) SOLD_OUT = "sold_out", CONFLICT, "Nothing is left";
/// }
/// assert_eq!(ALL[0].slug, "sold_out");
/// ```
#[macro_export]
macro_rules! problem_types {
    ($($(#[$doc:meta])* $vis:vis $name:ident = $slug:literal, $status:ident, $title:literal;)*) => {
        $(
            $(#[$doc])*
            $vis static $name: $crate::problem::ProblemType = $crate::problem::ProblemType {
                slug: $slug,
                status: ::axum::http::StatusCode::$status,
                title: $title,
            };
        )*

        /// Each of them.
        pub(crate) static ALL: &[&$crate::problem::ProblemType] = &[$(&$name),*];
    };
}

/// An answer that is no success.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: &'static ProblemType,
    detail: String,
    errors: Vec<FieldError>,
    more: Map<String, Value>,
    trace_id: TraceId,
    retry_after: Option<Duration>,
}

/// One place in the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
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
    /// A problem the client is told about in full: `detail` is shown as it is. It is no event for an operator, so it is
    /// logged below the default level only; by its trace id it can be found there.
    pub fn of(kind: &'static ProblemType, detail: impl fmt::Display) -> Self {
        let problem = Self::new(kind, detail);
        debug!(trace_id = %problem.0.trace_id, problem.code = kind.slug, "A request was refused.");
        problem
    }

    fn new(kind: &'static ProblemType, detail: impl fmt::Display) -> Self {
        let (detail, trace_id) = (detail.to_string(), Traceparent::here().trace());
        Self(Box::new(Parts { kind, detail, errors: Vec::new(), more: Map::new(), trace_id, retry_after: None }))
    }

    /// Our fault. The error and its sources are logged, once and here; the client sees a trace id that the log has too.
    pub fn internal(error: &dyn Error) -> Self {
        let problem = Self::new(&types::INTERNAL, "Something went wrong on our side.");
        error!(trace_id = %problem.0.trace_id, error = chain(error), "A request failed, and it is our fault.");
        problem
    }

    /// Something we need is away; the client shall ask again after `retry_after`. Logged like
    /// [`internal`](Self::internal).
    pub fn unavailable(error: &dyn Error, retry_after: Duration) -> Self {
        let problem = Self::new(&types::UNAVAILABLE, "Something we need is away for the moment. Ask again soon.");
        let trace_id = problem.0.trace_id;
        warn!(%trace_id, error = chain(error), "A request failed because something we need is away.");
        problem.with_retry_after(retry_after)
    }

    /// Names the places in the request that are wrong.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Adds a member of this kind of problem alone, which a program can read (RFC 9457, section 3.2).
    ///
    /// # Panics
    /// If `value` is not always JSON; a plain struct is.
    pub fn with(mut self, member: &'static str, value: &impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("a plain struct is always JSON");
        self.0.more.insert(member.to_owned(), value);
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
}

/// Why a request was not answered as it wished (RFC 9457). Some kinds of problems have members more.
#[derive(Serialize, ToSchema)]
pub(crate) struct Body<'a> {
    /// `/problems/` and the code.
    r#type: String,
    /// What went wrong, the same each time.
    title: &'static str,
    /// That of the answer.
    status: u16,
    /// What went wrong this time.
    detail: &'a str,
    #[schema(schema_with = code)]
    code: &'static str,
    /// The places in the body that are wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<FieldError>, required = false)]
    errors: &'a [FieldError],
    /// The trace of the request: that of its `traceparent`, if it came with one. What it is found by in the log.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    trace_id: String,
    #[serde(flatten)]
    #[schema(ignore)]
    more: &'a Map<String, Value>,
}

fn code() -> RefOr<Schema> {
    Ref::from_schema_name(CODE).into()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { kind, detail, errors, more, trace_id, retry_after } = *self.0;
        let ProblemType { slug, status, title } = *kind;
        let r#type = format!("/problems/{slug}");
        let trace_id = trace_id.to_string();
        let (status_code, detail, errors, more) = (status.as_u16(), &*detail, &*errors, &more);
        let body = Body { r#type, title, status: status_code, detail, code: slug, errors, trace_id, more };
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
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

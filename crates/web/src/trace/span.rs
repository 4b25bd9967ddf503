//! Spans for whoever wants to see a trace drawn. Nobody does until [`export`] is called: then a span costs a look at an
//! empty cell.

use std::sync::OnceLock;

use axum::http::{Method, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    global::{BoxedSpan, BoxedTracer},
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer,
    },
};

use super::{TraceId, Traceparent};

static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// From now on `tracer` has all spans; only the first counts.
pub fn export(tracer: BoxedTracer) {
    TRACER.set(tracer).ok();
}

/// Whether anybody has spans.
pub fn is_exported() -> bool {
    TRACER.get().is_some()
}

/// Something that is done; it ends when this is dropped.
#[derive(Debug)]
pub struct Span(BoxedSpan);

impl Span {
    /// Begins what `described` says, caused by `parent`; none if nobody has spans. Without a parent it begins a trace.
    pub fn begin(parent: Option<Traceparent>, described: impl FnOnce() -> SpanBuilder) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent.into()));
        Some(Self(tracer.build_with_context(described(), &parent)))
    }

    /// What this causes.
    pub fn here(&self) -> Option<Traceparent> {
        let context = self.0.span_context();
        let trace = TraceId(uuid::Uuid::from_bytes(context.trace_id().to_bytes()));
        let span = u64::from_be_bytes(context.span_id().to_bytes()).try_into().ok()?;
        Some(Traceparent { trace, span, sampled: context.is_sampled() })
    }

    /// It has failed.
    pub fn failed(&mut self, why: String) {
        self.0.set_status(Status::error(why));
    }

    /// The request is answered so.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            self.0.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            self.0.set_status(Status::error(""));
        }
    }
}

/// A request for `route`. Its path is not told: it says who the customer is.
pub(crate) fn request(method: &Method, route: &str) -> SpanBuilder {
    // Whatever a client makes up as a method does not become a name.
    const KNOWN: [Method; 7] =
        [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let (name, method) = match KNOWN.contains(method) {
        true => (method.as_str(), method.as_str()),
        false => ("HTTP", "_OTHER"),
    };
    let mut attributes = vec![KeyValue::new("http.request.method", method.to_owned())];
    let mut name = name.to_owned();
    if !route.is_empty() {
        name = format!("{name} {route}");
        attributes.push(KeyValue::new("http.route", route.to_owned()));
    }
    SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_attributes(attributes)
}

impl From<Traceparent> for SpanContext {
    fn from(Traceparent { trace, span, sampled }: Traceparent) -> Self {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let trace = opentelemetry::TraceId::from_bytes(trace.0.into_bytes());
        Self::new(trace, SpanId::from_bytes(span.get().to_be_bytes()), flags, true, TraceState::NONE)
    }
}

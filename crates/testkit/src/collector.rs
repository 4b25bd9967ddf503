//! A collector of spans for tests: takes in OTLP over HTTP, and shows what came.

use std::{
    collections::BTreeMap,
    future::{IntoFuture, pending},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep},
};

/// A collector. Dropped, it is gone.
#[derive(Debug)]
pub struct Collector {
    url: String,
    came: Arc<Mutex<Vec<Collected>>>,
    _serving: JoinSet<()>,
}

/// A span that came in. Ids are hexadecimal, as they stand in `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Who did it.
    pub service: String,
    /// What it was.
    pub name: String,
    /// As the specification names it, such as `SERVER`.
    pub kind: &'static str,
    /// The trace it belongs to.
    pub trace: String,
    /// Its own id.
    pub span: String,
    /// What caused it; empty if it is the first of its trace.
    pub parent: String,
    /// The traces and spans it is linked to.
    pub links: Vec<(String, String)>,
    /// Whether it failed.
    pub failed: bool,
    /// All else; numbers as text.
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// One that takes in whatever comes.
    pub async fn start() -> Self {
        let came: Arc<Mutex<Vec<Collected>>> = Arc::default();
        let taken = Arc::clone(&came);
        let take_in = async move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
            taken.lock().expect("nobody panics here").extend(collected(request));
            Ok::<_, StatusCode>(ExportTraceServiceResponse::default().encode_to_vec())
        };
        Self::serve(post(take_in), came).await
    }

    /// One that takes every request and never answers.
    pub async fn mute() -> Self {
        Self::serve(post(async || pending::<()>().await), Arc::default()).await
    }

    async fn serve(taking: axum::routing::MethodRouter, came: Arc<Mutex<Vec<Collected>>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let mut serving = JoinSet::new();
        let app = axum::serve(listener, Router::new().route("/v1/traces", taking));
        serving.spawn(async move { app.into_future().await.expect("it serves until it is dropped") });
        Self { url, came, _serving: serving }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All that came so far.
    pub fn spans(&self) -> Vec<Collected> {
        self.came.lock().expect("nobody panics here").clone()
    }

    /// All that came, once they are `enough`.
    ///
    /// # Panics
    /// If they are not within `patience`.
    pub async fn wait(&self, patience: Duration, enough: impl Fn(&[Collected]) -> bool) -> Vec<Collected> {
        let deadline = Instant::now() + patience;
        loop {
            let spans = self.spans();
            if enough(&spans) {
                return spans;
            }
            assert!(Instant::now() < deadline, "only these came: {spans:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn collected(request: ExportTraceServiceRequest) -> Vec<Collected> {
    let of_each = request.resource_spans.into_iter().flat_map(|spans| {
        let attributes = texts(spans.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = attributes.get("service.name").cloned().unwrap_or_default();
        let spans = spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| one(&service, span))
    });
    of_each.collect()
}

fn one(service: &str, span: Span) -> Collected {
    let kind = SpanKind::try_from(span.kind).unwrap_or_default().as_str_name();
    Collected {
        service: service.to_owned(),
        name: span.name,
        kind: kind.trim_start_matches("SPAN_KIND_"),
        trace: hex(&span.trace_id),
        span: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        failed: span.status.is_some_and(|status| status.code == i32::from(SpanStatus::Error)),
        attributes: texts(span.attributes),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|any| any.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! What is logged of requests, and what is not. A program of its own: see [`listen`].
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    routing::get,
};
use serde_json::Value;
use tower::ServiceExt;
use tracing::{Subscriber, subscriber::DefaultGuard};
use tracing_subscriber::{filter::dynamic_filter_fn, layer::SubscriberExt};
use web::{
    gate::Gate,
    problem::{Problem, types},
};

#[derive(Debug, thiserror::Error)]
#[error("the order could not be stored")]
struct NotStored(#[source] io::Error);

fn not_stored() -> NotStored {
    NotStored(io::Error::other("no space left"))
}

fn router() -> Router {
    Router::new()
        .route("/fine/{id}", get(async || "{}"))
        .route("/ours/{id}", get(async || Problem::internal(&not_stored())))
        .route("/away/{id}", get(async || Problem::unavailable(&not_stored(), Duration::from_secs(1))))
        .route("/theirs/{id}", get(async || Problem::of(&types::NOT_FOUND, "No.")))
}

/// Has `subscriber` hear what this thread logs.
///
/// Whether anybody listens at all is remembered for each place that logs, by all threads together, and a thread that comes
/// to a place first while another begins to listen may remember that nobody does. So from before the first of them on somebody
/// listens who never says in advance whether.
fn listen(subscriber: impl Subscriber + Send + Sync) -> DefaultGuard {
    static SOMEBODY: Once = Once::new();
    SOMEBODY.call_once(|| {
        let undecided = tracing_subscriber::registry().with(dynamic_filter_fn(|_, _| true));
        tracing::subscriber::set_global_default(undecided).unwrap();
    });
    tracing::subscriber::set_default(subscriber)
}

/// Sends `request` as a client does: the status, and what the answer says.
async fn call(request: Request<Body>) -> (StatusCode, Value) {
    let response = web::serve::guarded(router(), Gate::default()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// The answer, and what was logged on the way at the default level.
async fn logged(uri: &str) -> (StatusCode, Value, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = listen(subscriber);
    let request = Request::get(uri).header("authorization", "Bearer hidden").body(Body::empty()).unwrap();
    let (status, body) = call(request).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (status, body, text)
}

#[tokio::test]
async fn what_is_our_fault_is_logged_once_with_its_sources() {
    for (uri, level, status) in [("/ours/7", "ERROR", 500), ("/away/7", "WARN", 503)] {
        let (answered, body, log) = logged(uri).await;
        assert_eq!(answered.as_u16(), status);
        assert_eq!(log.lines().count(), 1, "{log}");
        let trace_id = body["trace_id"].as_str().unwrap();
        let route = format!("http.route=\"{}\"", uri.replace('7', "{id}"));
        let cause = "the order could not be stored: no space left";
        for part in [level, trace_id, cause, "http.method=GET", &route] {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert!(!body.to_string().contains("space") && !log.contains("hidden"), "{body} {log}");
    }
}

#[tokio::test]
async fn what_went_well_or_is_the_clients_fault_is_not_logged() {
    for (uri, status) in [("/fine/7", 200), ("/theirs/7", 404), ("/nowhere", 404)] {
        let (answered, _, log) = logged(uri).await;
        assert_eq!((answered.as_u16(), log.as_str()), (status, ""));
    }
}

/// What is the client's fault can be found all the same, by whoever wants to see that much.
#[tokio::test]
async fn what_was_refused_is_found_by_its_trace_id_below_the_default_level() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    let _guard = listen(subscriber.with_writer(move || writer.clone()).finish());
    let (_, body) = call(Request::get("/theirs/7").body(Body::empty()).unwrap()).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains(body["trace_id"].as_str().unwrap()));
    assert!(line.is_some_and(|line| line.contains("problem.code=\"not_found\"")), "{text}");
}

/// A request belongs to the trace of its `traceparent`: so does the problem it is answered with, and what is logged.
#[tokio::test]
async fn a_request_belongs_to_the_trace_that_it_names_and_else_to_one_of_its_own() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let named = format!("00-{trace}-00f067aa0ba902b7-01");
    let ask = async |header: &str| {
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone());
        let _guard = listen(lines.finish());
        let request = Request::get("/ours/7").header("traceparent", header).body(Body::empty()).unwrap();
        let (_, body) = call(request).await;
        let line: serde_json::Value = serde_json::from_slice(&log.0.lock().unwrap()).unwrap();
        assert_eq!(line["span"]["trace_id"], body["trace_id"], "{line}");
        body["trace_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask(&named).await, trace);
    let (one, other) = (ask("garbage").await, ask("garbage").await);
    assert!(one != other && one.len() == 32 && one != trace, "{one} {other}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

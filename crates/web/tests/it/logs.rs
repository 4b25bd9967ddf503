//! What is logged of requests, and what is not.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, http::Request, routing::get};
use web::problem::{Problem, types};

use crate::{Answer, call};

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

/// The answer, and what was logged on the way at the default level.
async fn logged(uri: &str) -> (Answer, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let request = Request::get(uri).header("authorization", "Bearer hidden").body(Body::empty()).unwrap();
    let answer = call(&router(), request).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (answer, text)
}

#[tokio::test]
async fn what_is_our_fault_is_logged_once_with_its_sources() {
    for (uri, level, status) in [("/ours/7", "ERROR", 500), ("/away/7", "WARN", 503)] {
        let (answer, log) = logged(uri).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(log.lines().count(), 1, "{log}");
        let trace_id = answer.body["trace_id"].as_str().unwrap();
        let route = format!("http.route=\"{}\"", uri.replace('7', "{id}"));
        let cause = "the order could not be stored: no space left";
        for part in [level, trace_id, cause, "http.method=GET", &route] {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert!(!answer.body.to_string().contains("space") && !log.contains("hidden"), "{answer:?} {log}");
    }
}

#[tokio::test]
async fn what_went_well_or_is_the_clients_fault_is_not_logged() {
    for (uri, status) in [("/fine/7", 200), ("/theirs/7", 404), ("/nowhere", 404)] {
        let (answer, log) = logged(uri).await;
        assert_eq!((answer.status.as_u16(), log.as_str()), (status, ""));
    }
}

/// What is the client's fault can be found all the same, by whoever wants to see that much.
#[tokio::test]
async fn what_was_refused_is_found_by_its_trace_id_below_the_default_level() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let answer = call(&router(), Request::get("/theirs/7").body(Body::empty()).unwrap()).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains(answer.body["trace_id"].as_str().unwrap()));
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
        let _guard = tracing::subscriber::set_default(lines.finish());
        let request = Request::get("/ours/7").header("traceparent", header).body(Body::empty()).unwrap();
        let answer = call(&router(), request).await;
        let line: serde_json::Value = serde_json::from_slice(&log.0.lock().unwrap()).unwrap();
        assert_eq!(line["span"]["trace_id"], answer.body["trace_id"], "{line}");
        answer.body["trace_id"].as_str().unwrap().to_owned()
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

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

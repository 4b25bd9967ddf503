//! What a collector gets. In a process of its own, for whoever has spans has all of the process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{process::ExitCode, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    routing::get,
};
use clap::Parser;
use messaging::{Batch, HandleError, Handler, Record};
use service::{
    message::cause,
    telemetry,
    traces::{Traced, Traces},
};
use testkit::{Collected, Collector};
use tokio::sync::mpsc;
use tower::ServiceExt as _;
use web::{
    gate::Gate,
    limits::Limits,
    problem::{Problem, types},
    trace::Traceparent,
};

const PATIENCE: Duration = Duration::from_secs(20);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    traces: Traces,
}

/// Tells what each of the records of a batch causes.
struct Heard(mpsc::UnboundedSender<Traceparent>);

impl Handler for Heard {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        for record in &batch.records {
            self.0.send(cause(record)).ok();
        }
        if batch.records.len() > 2 { Err(HandleError::Ours("broken".into())) } else { Ok(()) }
    }
}

#[tokio::test]
async fn what_is_done_is_sent_to_the_collector_in_the_trace_it_was_caused_in() {
    let collector = Collector::start().await;
    let settings = Settings::parse_from(["test", "--otel-exporter-otlp-endpoint", collector.url()]);
    let work = async {
        requests(&collector).await;
        batches(&collector).await;
        // The last thing done is sent as well, though nobody waits for it.
        ask("/fine/7", Some(&format!("00-{}-00f067aa0ba902b7-01", "5".repeat(32)))).await;
        anyhow::Ok(())
    };
    let code = telemetry::run("tried", &settings.traces, work).await;
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    assert!(collector.spans().iter().any(|span| span.trace == "5".repeat(32)), "{:#?}", collector.spans());
}

async fn requests(collector: &Collector) {
    ask("/fine/7", Some(&format!("00-{TRACE}-00f067aa0ba902b7-01"))).await;
    let (status, own_trace, _) = ask("/broken/7", None).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    ask("/fine/7", Some(&format!("00-{}-00f067aa0ba902b7-00", "6".repeat(32)))).await;
    ask("/health/live", Some(&format!("00-{}-00f067aa0ba902b7-01", "7".repeat(32)))).await;
    let spans = collector.wait(PATIENCE, |spans| spans.len() >= 2).await;
    let [fine, broken] = spans.as_slice() else { panic!("only what is wanted is sent: {spans:#?}") };
    assert_eq!((fine.service.as_str(), fine.name.as_str(), fine.kind), ("tried", "GET /fine/{id}", "SERVER"));
    assert_eq!((fine.trace.as_str(), fine.parent.as_str(), fine.failed), (TRACE, "00f067aa0ba902b7", false));
    let attributes = |span: &Collected| {
        let names = ["http.request.method", "http.route", "http.response.status_code"];
        names.map(|name| span.attributes.get(name).cloned().unwrap_or_default())
    };
    assert_eq!(attributes(fine), ["GET", "/fine/{id}", "200"]);
    assert_eq!(attributes(broken), ["GET", "/broken/{id}", "500"]);
    assert_eq!((broken.trace.as_str(), broken.parent.as_str(), broken.failed), (own_trace.as_str(), "", true));
}

/// A message that a request causes names the request's span; one that a batch causes, that of the batch.
async fn batches(collector: &Collector) {
    let (_, _, caused) = ask("/fine/7", Some(&format!("00-{}-00f067aa0ba902b7-01", "8".repeat(32)))).await;
    let caused = Traceparent::parse(&caused).unwrap();
    let spans = collector.wait(PATIENCE, |spans| spans.len() >= 3).await;
    assert_eq!(caused.to_string(), format!("00-{}-{}-01", "8".repeat(32), spans[2].span));
    let unsampled = Traceparent::parse(&format!("00-{}-00f067aa0ba902b7-00", "9".repeat(32))).unwrap();
    let other = Traceparent::parse(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
    let of_one_trace = take_in(&[caused, unsampled]).await;
    let mixed = take_in(&[caused, unsampled, other]).await;
    assert_eq!(take_in(&[unsampled]).await, [unsampled], "nobody wants to see it");
    let spans = collector.wait(PATIENCE, |spans| spans.len() >= 5).await;
    let (child, linked) = (&spans[3], &spans[4]);
    assert_eq!((child.kind, child.name.as_str(), child.failed), ("CONSUMER", "process tried.events", false));
    assert_eq!((child.trace.as_str(), child.parent.as_str()), ("8".repeat(32).as_str(), spans[2].span.as_str()));
    let attribute = |name: &str| child.attributes[name].as_str();
    assert_eq!(attribute("messaging.system"), "kafka");
    assert_eq!(attribute("messaging.destination.name"), "tried.events");
    assert_eq!(attribute("messaging.consumer.group.name"), "group");
    assert_eq!(attribute("messaging.batch.message_count"), "2");
    let within = format!("00-{}-{}-01", child.trace, child.span);
    assert_eq!(of_one_trace.iter().map(Traceparent::to_string).collect::<Vec<_>>(), [within, unsampled.to_string()]);
    assert_eq!((linked.parent.as_str(), linked.failed), ("", true));
    assert!(![&caused, &other].iter().any(|cause| cause.trace().to_string() == linked.trace), "{linked:?}");
    let mut links = linked.links.iter().map(|(trace, span)| format!("00-{trace}-{span}-01")).collect::<Vec<_>>();
    links.sort();
    assert_eq!(links, [other.to_string(), caused.to_string()]);
    assert_eq!(mixed, [caused, unsampled, other], "each stays in its own trace");
}

/// What each of the messages that came with `traceparents` causes.
async fn take_in(traceparents: &[Traceparent]) -> Vec<Traceparent> {
    let record = |came: &Traceparent| Record {
        topic: "tried.events".to_owned(),
        traceparent: Some(came.to_string()),
        ..Record::default()
    };
    let batch = Batch { records: traceparents.iter().map(record).collect(), ..Batch::default() };
    let (told, mut heard) = mpsc::unbounded_channel();
    Traced::new("group", Heard(told)).handle(&batch).await.ok();
    let mut causes = Vec::new();
    heard.recv_many(&mut causes, 10).await;
    causes
}

/// The status of the answer, the trace that a problem names, and what the request causes.
async fn ask(path: &str, traceparent: Option<&str>) -> (StatusCode, String, String) {
    let router = Router::new()
        .route("/fine/{id}", get(async || Traceparent::here().to_string()))
        .route("/broken/{id}", get(async || Problem::of(&types::INTERNAL, "No.")))
        .route("/health/live", get(async || ""));
    let mut request = Request::get(path);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let guarded = web::serve::guarded(router, Gate::new(Limits::default()));
    let answer = guarded.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = String::from_utf8(to_bytes(answer.into_body(), 10_000).await.unwrap().to_vec()).unwrap();
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    (status, problem["trace_id"].as_str().unwrap_or_default().to_owned(), body)
}

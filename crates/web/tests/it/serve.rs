//! What happens around a handler, and how a server ends.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::{get, post},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::{
    extract::Json,
    gate::Gate,
    health::{self, Need},
    limits::Limits,
    problem::{FieldError, Problem, ProblemType},
    serve::{GRACE, guarded, serve},
};

use crate::{Answer, call};

async fn get_from(router: &Router, uri: &str) -> Answer {
    call(router, Request::get(uri).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_unknown_route_is_404_and_a_wrong_method_405() {
    let router = Router::new().route("/orders", post(async || "placed"));
    get_from(&router, "/nothing").await.is_problem(404, "not_found");
    let wrong = get_from(&router, "/orders").await;
    wrong.is_problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), "POST");
    get_from(&Router::new(), "/").await.is_problem(404, "not_found");
}

#[tokio::test]
async fn what_the_framework_says_becomes_a_problem() {
    let say = |status: StatusCode| get(async move || (status, [("x-kept", "yes")], "plain text"));
    let router = Router::new()
        .route("/gone", say(StatusCode::GONE))
        .route("/large", say(StatusCode::PAYLOAD_TOO_LARGE))
        .route("/bad", say(StatusCode::BAD_GATEWAY))
        .route("/moved", get(async || (StatusCode::FOUND, [("location", "/gone")])));
    let gone = get_from(&router, "/gone").await;
    gone.is_problem(400, "bad_request");
    assert_eq!(gone.header("x-kept"), "yes");
    get_from(&router, "/large").await.is_problem(413, "body_too_large");
    get_from(&router, "/bad").await.is_problem(500, "internal");
    assert_eq!(get_from(&router, "/moved").await.status, 302, "what is no failure stays");
}

#[tokio::test]
async fn a_panic_is_500_and_says_nothing() {
    let router = Router::new().route("/", get(async || -> &'static str { panic!("the secret of {}", "life") }));
    let answer = get_from(&router, "/").await;
    answer.is_problem(500, "internal");
    assert!(!answer.body.to_string().contains("secret"), "{answer:?}");
    assert!(answer.body["trace_id"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_503() {
    let router = Router::new().route("/", get(async || std::future::pending::<&'static str>().await));
    for request_timeout_ms in [Limits::default().request_timeout_ms, 70_000] {
        let gate = Gate::new(Limits { request_timeout_ms, ..Limits::default() });
        let start = Instant::now();
        let request = Request::get("/").body(Body::empty()).unwrap();
        let answer = guarded(router.clone(), gate).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(start.elapsed().as_millis() as u64, request_timeout_ms);
    }
    get_from(&router, "/").await.is_problem(503, "timed_out");
}

#[derive(Debug)]
struct Away;

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection to 10.0.0.7 refused")
    }
}

impl std::error::Error for Away {}

static SOLD_OUT: ProblemType = ProblemType { slug: "sold_out", status: StatusCode::CONFLICT, title: "Nothing is left" };

#[tokio::test]
async fn a_problem_shows_what_it_was_given_and_no_more() {
    let errors = || vec![FieldError::new("/lines/0/sku", "MUG is gone")];
    let router = Router::new()
        .route(
            "/sold",
            get(async move || {
                Problem::of(&SOLD_OUT, "No mugs.").with_errors(errors()).with("left", &json!({"sku": "CUP"}))
            }),
        )
        .route("/away", get(async || Problem::unavailable(&Away, Duration::from_millis(1500))))
        .route("/later", get(async || Problem::of(&SOLD_OUT, "Later.").with_retry_after(Duration::from_secs(3))));
    let sold = get_from(&router, "/sold").await;
    sold.is_problem(409, "sold_out");
    let trace_id = sold.body["trace_id"].clone();
    assert!(trace_id.is_string(), "the client's fault has one, too: {sold:?}");
    let whole = json!({"type": "/problems/sold_out", "title": "Nothing is left", "status": 409, "detail": "No mugs.",
        "code": "sold_out", "errors": [{"pointer": "/lines/0/sku", "detail": "MUG is gone"}], "left": {"sku": "CUP"},
        "trace_id": trace_id});
    assert_eq!(sold.body, whole);
    let away = get_from(&router, "/away").await;
    away.is_problem(503, "unavailable");
    assert_eq!(away.header("retry-after"), "2", "rounded up");
    assert!(away.body["trace_id"].is_string() && !away.body.to_string().contains("10.0.0.7"), "{away:?}");
    assert_eq!(get_from(&router, "/later").await.header("retry-after"), "3");
}

#[tokio::test]
async fn health_tells_alive_from_ready() {
    let need = |name, says, is_ready| Need { name, says, is_ready };
    let relay = need("relay", "stands by", true);
    let ask = async |needs: Vec<Need>| {
        let router: Router = health::routes(move || needs.clone());
        let live = get_from(&router, "/health/live").await;
        assert_eq!((live.status.as_u16(), live.body), (200, json!({"status": "live"})));
        get_from(&router, "/health/ready").await
    };
    let ready = ask(vec![need("database", "reached", true), relay]).await;
    let all = json!({"status": "ready", "needs": ["database: reached", "relay: stands by"]});
    assert_eq!((ready.status.as_u16(), ready.body), (200, all));
    let lacking = ask(vec![need("database", "away", false), relay, need("process", "stops", false)]).await;
    lacking.is_problem(503, "not_ready");
    assert_eq!(lacking.body["detail"], "database: away, process: stops");
}

/// A server at a free port of loopback, whose one handler says when a request has come and waits to be let go.
struct Server {
    came: Arc<Notify>,
    let_go: Arc<Notify>,
    stop: CancellationToken,
    client: TcpStream,
}

async fn server() -> (Server, impl Future<Output = std::io::Result<()>>) {
    let (came, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (came, let_go) = (came.clone(), let_go.clone());
        async move || {
            came.notify_one();
            let_go.notified().await;
            Json("done")
        }
    };
    let router = Router::new().route("/", get(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let stop = CancellationToken::new();
    let serving = serve(listener, router, Gate::default(), stop.clone());
    (Server { came, let_go, stop, client }, serving)
}

#[tokio::test]
async fn a_request_at_hand_is_finished_before_the_server_ends() {
    let (mut server, serving) = server().await;
    let client = async {
        server.came.notified().await;
        server.stop.cancel();
        server.let_go.notify_one();
        let mut answer = String::new();
        server.client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (ended, answer) = tokio::join!(serving, client);
    ended.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\"done\""), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_does_not_keep_the_server() {
    let (server, serving) = server().await;
    let stopped = async {
        server.came.notified().await;
        server.stop.cancel();
        Instant::now()
    };
    let (ended, stopped) = tokio::join!(serving, stopped);
    ended.unwrap();
    assert_eq!(stopped.elapsed().as_secs(), GRACE.as_secs());
}

/// Told to stop, it first says so to whoever asks, and only then takes no more connections.
#[tokio::test]
async fn it_is_not_ready_before_it_is_gone() {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let router: Router = health::routes(move || {
        let is_ready = !stopping.is_cancelled();
        vec![Need { name: "process", says: "as told", is_ready }]
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ask = async || {
        let mut client = TcpStream::connect(address).await?;
        client.write_all(b"GET /health/ready HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let asking = async {
        assert!(ask().await.unwrap().starts_with("HTTP/1.1 200 "));
        stop.cancel();
        let told = Instant::now();
        while told.elapsed() < Duration::from_millis(200) {
            assert!(ask().await.unwrap().starts_with("HTTP/1.1 503 "));
        }
    };
    let (ended, ()) = tokio::join!(serve(listener, router, Gate::default(), stop.clone()), asking);
    ended.unwrap();
    assert!(ask().await.is_err(), "nobody listens any more");
}

//! What one process takes at most: over real connections, as a client that means no good sees it.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
    routing::get,
};
use contracts::CustomerId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::{
    access::{Principal, Signer, Verifier, generate_keys},
    gate::Gate,
    limits::Limits,
    serve::{guarded, serve},
};

use crate::Answer;

/// Whatever has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sent at once and whole.
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n";

/// Says that a body comes.
const POST_WITHOUT_BODY: &str = "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\n";

/// A server at a free port of loopback, for as long as this lives.
struct Served {
    address: std::net::SocketAddr,
    _server: JoinSet<()>,
}

impl Served {
    async fn start(router: Router, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            serve(listener, router, Gate::new(limits), CancellationToken::new()).await.unwrap();
        });
        Self { address, _server: server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello").post(async |body: Bytes| body))
}

/// Whether the next answer on this connection is a 200. Reads the whole of it, which is one piece.
async fn is_answered(client: &mut TcpStream) -> bool {
    client.write_all(GET).await.unwrap();
    let mut answer = [0; 1024];
    let length = timeout(PATIENCE, client.read(&mut answer)).await.expect("an answer").unwrap();
    answer[..length].starts_with(b"HTTP/1.1 200 ")
}

/// Waits until the server has closed the connection; gives what it had said before.
async fn closed(client: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is as good as an end.
    let _ = timeout(PATIENCE, client.read_to_end(&mut said)).await.expect("the connection is closed");
    String::from_utf8(said).unwrap()
}

/// Connections that trickle, at their first request or a later one, and such that say nothing, are closed; those that behave live on beside them, and are closed
/// only when they have been silent for longer.
#[tokio::test]
async fn who_is_slow_with_a_head_is_hung_up_on_and_nobody_else() {
    let limits = Limits { header_timeout_ms: 300, idle_timeout_ms: 3_600_000, ..Limits::default() };
    let server = Served::start(hello(), limits).await;
    let mut normal = server.connect().await;
    assert!(is_answered(&mut normal).await);
    let mut slow = JoinSet::new();
    for number in 0..200 {
        let mut client = server.connect().await;
        slow.spawn(async move {
            if number % 2 == 0 {
                return closed(&mut client).await;
            }
            if number % 4 == 1 {
                assert!(is_answered(&mut client).await);
            }
            let (mut reads, mut writes) = client.into_split();
            let trickle = async {
                for byte in b"GET / HTTP/1.1\r\nx-endless: ".iter().chain(std::iter::repeat(&b'x')) {
                    if writes.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let mut said = String::new();
            tokio::select! {
                // A reset is as good as an end.
                _ = reads.read_to_string(&mut said) => {}
                () = trickle => {}
            }
            said
        });
    }
    let slow = async {
        let said = timeout(PATIENCE, slow.join_all()).await.expect("all of them are closed");
        assert!(said.iter().all(String::is_empty), "{said:?}");
    };
    let behaves = async {
        for _ in 0..200 {
            assert!(is_answered(&mut normal).await && is_answered(&mut server.connect().await).await);
        }
        normal
    };
    let ((), mut normal) = tokio::join!(slow, behaves);
    assert!(is_answered(&mut normal).await, "it has been open for longer than a head may take");
}

#[tokio::test]
async fn a_connection_that_is_used_no_more_is_closed() {
    let limits = Limits { header_timeout_ms: 600_000, idle_timeout_ms: 100, ..Limits::default() };
    let server = Served::start(hello(), limits).await;
    let mut client = server.connect().await;
    assert!(is_answered(&mut client).await);
    assert_eq!(closed(&mut client).await, "");
}

/// Serves `/slow`, too, each answer once it is let go.
struct Slow {
    router: Router,
    came: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Self {
        let (came, let_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (comes, goes) = (Arc::clone(&came), Arc::clone(&let_go));
        let slow = async move || {
            comes.add_permits(1);
            goes.acquire().await.unwrap().forget();
            "slow"
        };
        Self { router: hello().route("/slow", get(slow)), came, let_go }
    }

    /// A connection whose request is in work.
    async fn worked(&self, server: &Served) -> TcpStream {
        let mut client = server.connect().await;
        client.write_all(b"GET /slow HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        timeout(PATIENCE, self.came.acquire()).await.expect("it is in work").unwrap().forget();
        client
    }
}

/// The one beyond the cap waits, and is served as soon as one of the others is gone.
#[tokio::test]
async fn no_more_connections_are_open_than_may_be() {
    let slow = Slow::new();
    let server = Served::start(slow.router.clone(), Limits { connections_max: 3, ..Limits::default() }).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(slow.worked(&server).await);
    }
    let mut fourth = server.connect().await;
    fourth.write_all(GET).await.unwrap();
    let mut answer = [0; 12];
    // Hundreds of requests to another server, beside it, are answered meanwhile, and none of the fourth.
    let beside = Served::start(hello(), Limits::default()).await;
    for _ in 0..300 {
        assert!(is_answered(&mut beside.connect().await).await);
        let read = fourth.try_read(&mut answer);
        assert!(read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "the fourth is served");
    }
    drop(open.pop());
    timeout(PATIENCE, fourth.read_exact(&mut answer)).await.expect("there is room now").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// Of those who say nothing, or have said something once, or are about to for ever, with a head or a body. One whose answer is
/// being made stays.
#[tokio::test]
async fn no_number_of_connections_that_keep_us_waiting_keeps_anybody_out() {
    // None of them goes because it is too slow.
    let (header_timeout_ms, body_timeout_ms) = (600_000, 600_000);
    let limits = Limits { connections_max: 4, header_timeout_ms, body_timeout_ms, ..Limits::default() };
    let slow = Slow::new();
    let server = Served::start(slow.router.clone(), limits).await;
    let mut worked = slow.worked(&server).await;
    let mut idles = server.connect().await;
    assert!(is_answered(&mut idles).await);
    let mut waiting = vec![idles];
    for said in ["GET / HTTP/1.1\r\nx-endless: ", POST_WITHOUT_BODY, &format!("{POST_WITHOUT_BODY}ab"), ""].repeat(3) {
        let mut client = server.connect().await;
        client.write_all(said.as_bytes()).await.unwrap();
        waiting.push(client);
    }
    for _ in 0..3 {
        assert!(is_answered(&mut server.connect().await).await);
    }
    // One of each kind; the last ones have their room still, for nobody else needs it.
    for given_up in &mut waiting[..5] {
        assert_eq!(closed(given_up).await, "");
    }
    slow.let_go.add_permits(1);
    let mut answer = [0; 12];
    timeout(PATIENCE, worked.read_exact(&mut answer)).await.expect("it is answered").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// As many as are hung up on in one moment, and come again in one: none is left standing before a full queue.
#[tokio::test]
async fn two_thousand_connections_may_come_at_once() {
    let listener = web::serve::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for number in 0..2_000 {
        // Nobody accepts them, so one that finds no room waits for ever.
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        waiting.push(connected.unwrap_or_else(|_| panic!("{number} have room, and no more")).unwrap());
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let limits = Limits { header_max_bytes: 8_192, ..Limits::default() };
    let server = Served::start(hello(), limits).await;
    let mut client = server.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nx-large: ").await.unwrap();
    // It may be closed before all of it is sent.
    let _ = client.write_all(&[b'x'; 9_000]).await;
    assert!(closed(&mut client).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_slow_body_is_408_and_keeps_no_room_from_others() {
    let limits = Limits { requests_max: 1, body_timeout_ms: 2_000, ..Limits::default() };
    let server = Served::start(hello(), limits).await;
    let mut slow = server.connect().await;
    slow.write_all(b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nab").await.unwrap();
    for _ in 0..20 {
        assert!(is_answered(&mut server.connect().await).await);
    }
    let said = closed(&mut slow).await;
    assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("body_timed_out"), "{said}");
}

/// Calls the router through `gate`, as `authorization` has it.
async fn call(router: &Router, gate: &Gate, uri: &str, authorization: &str) -> Answer {
    let request = Request::get(uri).header("authorization", authorization).body(Body::empty()).unwrap();
    answer(guarded(router.clone(), gate.clone()), request).await
}

async fn answer(router: Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, body: serde_json::from_slice(&body).unwrap_or_default() }
}

#[tokio::test]
async fn a_body_larger_than_may_be_is_413_whether_it_says_so_or_not() {
    let gate = Gate::new(Limits { body_max_bytes: 2_000, ..Limits::default() });
    let post = async |body: Body| answer(guarded(hello(), gate.clone()), Request::post("/").body(body).unwrap()).await;
    let streamed = |length: usize| {
        let pieces = std::iter::repeat_n(Bytes::from_static(b"x"), length).map(Ok::<_, std::io::Error>);
        Body::from_stream(futures::stream::iter(pieces))
    };
    assert_eq!(post(Body::from(vec![b'x'; 2_000])).await.status, 200);
    assert_eq!(post(streamed(2_000)).await.status, 200);
    post(Body::from(vec![b'x'; 2_001])).await.is_problem(413, "body_too_large");
    post(streamed(2_001)).await.is_problem(413, "body_too_large");
}

/// Beyond what may be in work, requests are turned away at once, but for those that tell how the process is.
#[tokio::test]
async fn one_request_too_many_is_turned_away_before_anything_is_done() {
    let (came, let_go) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let handler = {
        let (came, let_go) = (Arc::clone(&came), Arc::clone(&let_go));
        async move || {
            let let_go = let_go.notified();
            came.add_permits(1);
            let_go.await;
            "done"
        }
    };
    let router = Router::new().route("/", get(handler)).merge(web::health::routes(Vec::new));
    let gate = Gate::new(Limits { requests_max: 2, ..Limits::default() });
    let mut working = JoinSet::new();
    for _ in 0..2 {
        let (router, gate) = (router.clone(), gate.clone());
        working.spawn(async move { call(&router, &gate, "/", "").await.status.as_u16() });
    }
    timeout(PATIENCE, came.acquire_many(2)).await.expect("both are in work").unwrap().forget();
    let third = timeout(PATIENCE, call(&router, &gate, "/", "")).await.expect("an answer at once");
    third.is_problem(503, "overloaded");
    assert_eq!(third.header("retry-after"), "1");
    assert_eq!(call(&router, &gate, "/health/live", "").await.status, 200);
    let_go.notify_waiters();
    assert_eq!(timeout(PATIENCE, working.join_all()).await.unwrap(), [200, 200]);
    let_go.notify_one();
    assert_eq!(timeout(PATIENCE, call(&router, &gate, "/", "")).await.unwrap().status, 200, "there is room again");
}

#[tokio::test]
async fn a_customer_who_asks_too_often_is_told_when_to_come_again_and_nobody_else() {
    let (private, public) = generate_keys();
    let signer = Signer::from_pem(&private).unwrap();
    let token = |principal| format!("Bearer {}", signer.sign(&principal, PATIENCE));
    // One request per second, four at once.
    let (customer_requests_per_s, customer_requests_burst) = (NonZeroU32::MIN, NonZeroU32::new(4).unwrap());
    let limits = Limits { customer_requests_per_s, customer_requests_burst, ..Limits::default() };
    let gate = Gate::for_principals(limits, Verifier::from_pem(&public).unwrap());
    let router = Router::new().route("/", get(async || "hello")).route("/health/live", get(async || "live"));
    let often = token(Principal::Customer(CustomerId::mint()));
    let (begun, mut refused, mut answered) = (Instant::now(), None, 0);
    for _ in 0..100 {
        let answer = call(&router, &gate, "/", &often).await;
        if answer.status == 200 { answered += 1 } else { refused = Some(answer) }
    }
    assert!((4..=5 + begun.elapsed().as_secs()).contains(&answered), "{answered}");
    let refused = refused.expect("a hundred are too many");
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(call(&router, &gate, "/health/live", &often).await.status, 200);
    for other in [token(Principal::Customer(CustomerId::mint())), String::new(), "Bearer nonsense".to_owned()] {
        assert_eq!(call(&router, &gate, "/", &other).await.status, 200, "{other}");
    }
    let operator = token(Principal::Operator);
    for _ in 0..100 {
        assert_eq!(call(&router, &gate, "/", &operator).await.status, 200);
    }
}

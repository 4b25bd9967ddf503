//! The provider over HTTP, when it does not behave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request as HttpRequest, Response, header::LOCATION};
use axum::routing::any;
use billing::over_http::OverHttp;
use billing::provider::{Act, Found, Operation, Outcome, Provider, ProviderKey, Request, Unclear};
use contracts::{Currency, Money, OrderId};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::PATIENCE;

/// A stranger's server: it answers everything with what `answer` makes, and counts.
struct Stranger {
    provider: OverHttp,
    calls: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Stranger {
    async fn that(answer: impl Fn(&HttpRequest<Body>) -> Response<Body> + Clone + Send + Sync + 'static) -> Self {
        Self::given(PATIENCE, answer).await
    }

    /// One that is given so long for an answer.
    async fn given(
        timeout: Duration,
        answer: impl Fn(&HttpRequest<Body>) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let handler = move |request: HttpRequest<Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer(&request);
            async move { answer }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/below", listener.local_addr().unwrap()).parse().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, Router::new().fallback(any(handler))).await.unwrap() });
        let provider = OverHttp::new(&url, timeout).unwrap();
        Self { provider, calls, _server: server }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn request() -> Request {
    let order = OrderId::mint();
    let (authorization, amount) = (ProviderKey::of(order, Operation::Authorize), Money::new(1, Currency::EUR));
    Request { key: ProviderKey::of(order, Operation::Capture), order, act: Act::Capture { authorization, amount } }
}

fn said(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header(LOCATION, "http://127.0.0.1:1/").body(body.into()).unwrap()
}

#[tokio::test]
async fn what_is_no_whole_answer_decides_nothing() {
    let long = format!(r#"{{"key": "k", "status": "refused", "decline_code": "{}"}}"#, "x".repeat(10_000_000));
    for (status, body) in [
        (200, String::new()),
        (200, "{".to_owned()),
        (200, r#"{"error": "no such thing"}"#.to_owned()),
        (200, r#"{"key": "k", "status": "pending"}"#.to_owned()),
        (200, r#"{"key": "k", "status": "executed", "amount": {"amount": 1.5, "currency": "EUR"}}"#.to_owned()),
        (200, long),
        (204, String::new()),
        (302, String::new()),
        (401, String::new()),
        (403, "{}".to_owned()),
        (408, String::new()),
        (409, r#"{"error": "still at work"}"#.to_owned()),
        (429, String::new()),
        (500, String::new()),
        (503, "<html>".to_owned()),
    ] {
        let stranger = Stranger::that({
            let body = body.clone();
            move |_| said(status, body.clone())
        })
        .await;
        let request = request();
        let shown: String = body.chars().take(80).collect();
        assert_eq!(stranger.provider.execute(&request).await, Err(Unclear::NoAnswer), "{status} {shown}");
        assert_eq!(stranger.provider.ask(&request.key).await, Err(Unclear::NoAnswer), "{status} {shown}");
        assert_eq!(stranger.calls(), 2, "{status}: one call each, and no redirect is followed");
    }
}

#[tokio::test]
async fn a_call_that_is_not_taken_decides_nothing_and_is_told_apart() {
    for status in [400, 404, 405, 410, 422] {
        let stranger = Stranger::that(move |_| said(status, r#"{"error": "no such payment"}"#)).await;
        let request = request();
        let turned_away = Unclear::TurnedAway { status };
        assert_eq!(stranger.provider.execute(&request).await, Err(turned_away));
        let asked = if status == 404 { Ok(Found::NotFound) } else { Err(turned_away) };
        assert_eq!(stranger.provider.ask(&request.key).await, asked);
    }
}

#[tokio::test]
async fn a_strangers_words_are_tamed() {
    let stranger = Stranger::that(|request| {
        let key = request.uri().path().strip_prefix("/below/v1/operations/").unwrap_or_default();
        let code = format!("no\\u0000\\n{}", "x".repeat(100));
        said(200, format!(r#"{{"key": "{key}", "status": "refused", "decline_code": "{code}"}}"#))
    })
    .await;
    let refused = Outcome::Refused { decline_code: format!("no{}", "x".repeat(62)) };
    assert_eq!(stranger.provider.ask(&request().key).await, Ok(Found::Definite(refused)));
    let stranger =
        Stranger::that(|_| said(200, r#"{"key": "a\u0000b\nc", "status": "refused", "decline_code": "no"}"#)).await;
    let other = Outcome::OfAnother("abc".to_owned());
    assert_eq!(stranger.provider.ask(&request().key).await, Ok(Found::Definite(other)));
}

#[tokio::test]
async fn slow_calls_beside_answered_ones_say_nothing_against_the_provider() {
    const TIMEOUT: Duration = Duration::from_secs(4);
    let stranger = Stranger::given(TIMEOUT, |request| match request.method().as_str() {
        "POST" => said(200, Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>())),
        _ => said(404, ""),
    })
    .await;
    // More than the breaker looks back at, one after the other: all at once they would keep a busy machine from answering others.
    let provider = &stranger.provider;
    let slow = (0..150).map(|n| async move {
        tokio::time::sleep(Duration::from_millis(10 * n)).await;
        provider.execute(&request()).await
    });
    let slow = futures::future::join_all(slow);
    let quick = async {
        let end = Instant::now() + TIMEOUT + Duration::from_secs(2);
        let mut asked = 0;
        // A busy machine answers more slowly; that is not what this is about.
        while Instant::now() < end || asked < 20 {
            assert_eq!(provider.ask(&request().key).await, Ok(Found::NotFound), "the breaker is open");
            tokio::time::sleep(Duration::from_millis(20)).await;
            asked += 1;
        }
    };
    let (slow, ()) = tokio::join!(slow, quick);
    assert!(slow.iter().all(|said| *said == Err(Unclear::NoAnswer)), "all were given up");
}

#[tokio::test]
async fn a_key_is_asked_about_by_its_path_and_an_unknown_one_is_not_found() {
    let stranger = Stranger::that(|request| said(404, request.uri().path().to_owned())).await;
    assert_eq!(stranger.provider.ask(&request().key).await, Ok(Found::NotFound));
    let stranger = Stranger::that(|request| {
        let key = request.uri().path().strip_prefix("/below/v1/operations/").unwrap_or_default();
        said(200, format!(r#"{{"key": "{key}", "status": "refused", "decline_code": "no", "new": 1}}"#))
    })
    .await;
    let refused = Outcome::Refused { decline_code: "no".to_owned() };
    assert_eq!(stranger.provider.ask(&request().key).await, Ok(Found::Definite(refused)));
}

#[tokio::test]
async fn a_provider_that_does_not_work_is_left_alone_until_it_does() {
    let works = Arc::new(AtomicUsize::new(0));
    let stranger = Stranger::that({
        let works = Arc::clone(&works);
        move |_| said(if works.load(Ordering::SeqCst) == 0 { 500 } else { 404 }, "")
    })
    .await;
    let key = request().key;
    for _ in 0..300 {
        assert_eq!(stranger.provider.ask(&key).await, Err(Unclear::NoAnswer));
    }
    let made = stranger.calls();
    assert!((100..200).contains(&made), "{made} of 300 calls were made");
    works.store(1, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(20);
    while stranger.provider.ask(&key).await == Err(Unclear::NoAnswer) {
        assert!(Instant::now() < deadline, "the breaker does not close");
    }
    for _ in 0..100 {
        assert_eq!(stranger.provider.ask(&key).await, Ok(Found::NotFound));
    }
}

//! The API: what a client may send, and what it gets.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use contracts::CustomerId;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::{access::Principal, gate::Gate, serve::guarded};

use super::bench::Bench;
use crate::{http, order::News, place};

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) bytes: axum::body::Bytes,
    pub(super) body: Value,
}

/// A bench whose committer runs.
pub(super) async fn bench() -> Bench {
    runs(Bench::new().await)
}

/// The same, with its committer at work.
pub(super) fn runs(bench: Bench) -> Bench {
    let queue = bench.queue.lock().unwrap().take().unwrap();
    tokio::task::spawn(place::run(bench.app.clone(), queue, 500, super::bench::work(), CancellationToken::new()));
    bench
}

impl Bench {
    fn token(&self, principal: &Principal) -> String {
        self.signer.sign(principal, Duration::from_secs(60))
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Answer {
        let router = guarded(http::routes(self.app.clone()), Gate::default());
        let response = router.oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, headers, bytes, body }
    }

    pub(super) async fn post(&self, key: &str, body: impl Into<Body>) -> Answer {
        let request = self.request(&Principal::Customer(self.customer), "/v1/orders").method(Method::POST);
        let request = request.header("idempotency-key", key).header("content-type", "application/json");
        self.call(request.body(body.into()).unwrap()).await
    }

    pub(super) async fn post_preferring(&self, preference: &str, key: &str, body: impl Into<Body>) -> Answer {
        let request = self.request(&Principal::Customer(self.customer), "/v1/orders").method(Method::POST);
        let request = request.header("idempotency-key", key).header("content-type", "application/json");
        self.call(request.header("prefer", preference).body(body.into()).unwrap()).await
    }

    pub(super) fn request(&self, principal: &Principal, uri: &str) -> axum::http::request::Builder {
        Request::builder().uri(uri).header("authorization", format!("Bearer {}", self.token(principal)))
    }
}

pub(super) fn order(sku: &str, quantity: Value) -> Value {
    json!({ "lines": [{ "sku": sku, "quantity": quantity }], "payment_token": "tok_ok" })
}

#[tokio::test]
async fn placing_is_answered_at_once_and_the_same_at_every_repetition() {
    let bench = bench().await;
    let body = order("MUG", json!(2)).to_string();
    let first = bench.post("key", body.clone()).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    let id = first.body["id"].as_str().unwrap();
    assert_eq!(first.body, json!({ "id": id, "version": 1, "status": "pending" }));
    assert_eq!(first.headers["location"], format!("/v1/orders/{id}"));
    assert!(!first.headers.contains_key("idempotency-replayed"));

    let again = bench.post("key", body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = bench.post("key", order("MUG", json!(3)).to_string()).await;
    assert_eq!(
        (other.status, &other.body["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_key_reused"))
    );
}

#[tokio::test]
async fn an_order_is_shown_to_its_customer_and_to_operators_only() {
    let bench = bench().await;
    let id = bench.post("key", order("MUG", json!(2)).to_string()).await.body["id"].as_str().unwrap().to_owned();
    let uri = format!("/v1/orders/{id}");
    for (principal, status) in [
        (Principal::Customer(bench.customer), StatusCode::OK),
        (Principal::Operator, StatusCode::OK),
        (Principal::Customer(CustomerId::mint()), StatusCode::NOT_FOUND),
    ] {
        let answer = bench.call(bench.request(&principal, &uri).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{principal:?}");
        if status == StatusCode::OK {
            assert_eq!(answer.body["status"], "pending");
            assert_eq!(answer.body["total"], json!({ "amount": 2580, "currency": "EUR" }));
        }
    }
    let anonymous = bench.call(Request::builder().uri(&uri).body(Body::empty()).unwrap()).await;
    assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
    let unknown = format!("/v1/orders/{}", contracts::OrderId::mint());
    let answer = bench.call(bench.request(&Principal::Operator, &unknown).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, &answer.body["code"]), (StatusCode::NOT_FOUND, &json!("order_not_found")));
    let answer = bench.call(bench.request(&Principal::Operator, "/v1/orders/7").body(Body::empty()).unwrap()).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
}

/// A card number in place of a token is refused, and neither kept nor said anywhere.
#[tokio::test]
async fn the_number_of_a_card_is_refused_and_forgotten() {
    let log = testkit::log(tracing::Level::DEBUG);
    let bench = bench().await;
    let number = json!(4_111_111_111_111_111_u64);
    let texts = ["4111111111111111", "tok_4111_1111_1111_1111", "4111 1111-1111.1111"];
    for token in texts.iter().map(|text| json!(text)).chain([number]) {
        let mut body = order("MUG", json!(1));
        body["payment_token"] = token.clone();
        let answer = bench.post("key", body.to_string()).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (422, &json!("invalid_body")), "{token}");
        assert_eq!(answer.body["errors"][0]["pointer"], "/payment_token", "{token}");
        assert!(!answer.body.to_string().contains("1111"), "{}", answer.body);
    }
    for table in ["orders", "order_events", "saga", "outbox", "idempotency_key"] {
        assert_eq!(bench.count(table).await, 0, "{table}");
    }
    // What is stored is seen in the log: the same request with a token.
    assert_eq!(bench.post("key", order("MUG", json!(1)).to_string()).await.status, StatusCode::ACCEPTED);
    let log = log();
    assert!(log.contains("-- orders::insert"), "{} bytes", log.len());
    assert!(!texts.iter().any(|text| log.contains(text)), "a card number is logged");
}

#[tokio::test]
async fn a_key_a_content_type_and_a_customer_are_needed() {
    let bench = bench().await;
    let customer = Principal::Customer(bench.customer);
    let request = |principal: &Principal| bench.request(principal, "/v1/orders").method(Method::POST);
    let body = || Body::from(order("MUG", json!(1)).to_string());
    let json_type = ("content-type", "application/json");

    let no_key = request(&customer).header(json_type.0, json_type.1).body(body()).unwrap();
    assert_eq!(bench.call(no_key).await.body["code"], "idempotency_key_missing");
    let no_type = request(&customer).header("idempotency-key", "a").body(body()).unwrap();
    assert_eq!(bench.call(no_type).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let operator = request(&Principal::Operator).header("idempotency-key", "a").header(json_type.0, json_type.1);
    let answer = bench.call(operator.body(body()).unwrap()).await;
    assert_eq!((answer.status, &answer.body["code"]), (StatusCode::FORBIDDEN, &json!("customers_only")));
    let anonymous = Request::post("/v1/orders").header("idempotency-key", "a").body(body()).unwrap();
    assert_eq!(bench.call(anonymous).await.status, StatusCode::UNAUTHORIZED);
}

/// Only the first is worth asking again.
#[tokio::test]
async fn a_database_that_is_away_is_told_from_what_is_our_fault() {
    let bench = bench().await;
    let order = bench.order().await.order;
    let show = async || {
        let request = bench.request(&Principal::Customer(bench.customer), &format!("/v1/orders/{order}"));
        bench.call(request.body(Body::empty()).unwrap()).await
    };
    sqlx::raw_sql("update orders set lines = '7'").execute(bench.db()).await.unwrap();
    let answer = show().await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (500, &json!("internal")));
    assert!(!answer.headers.contains_key("retry-after"));
    bench.db().close().await;
    let answer = show().await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!("unavailable")));
    assert_eq!(answer.headers["retry-after"], "1");
}

/// `Prefer: wait` answers with the settled order, and as soon as it has settled.
#[tokio::test]
async fn a_client_may_wait_for_its_order_to_settle() {
    let bench = bench().await;
    let request = bench.request(&Principal::Customer(bench.customer), "/v1/orders").method(Method::POST);
    let request = request.header("idempotency-key", "key").header("content-type", "application/json");
    let request = request.header("prefer", "wait=20").body(Body::from(order("MUG", json!(1)).to_string())).unwrap();
    let settle = async {
        let id = loop {
            let id =
                sqlx::query_scalar::<_, uuid::Uuid>("select id from orders").fetch_optional(bench.db()).await.unwrap();
            if let Some(id) = id {
                break id.into();
            }
            tokio::task::yield_now().await;
        };
        let order = bench.show(id).await;
        let undone = News::Undone(contracts::order::CancelReason::TimedOut);
        let event = order.hear(undone, order.placed_at).unwrap();
        // Repeated, for the order may be there before its client has begun to wait.
        loop {
            bench.app.settled.announce(vec![crate::order::Order::apply(Some(order.clone()), &event).unwrap()]);
            tokio::task::yield_now().await;
        }
    };
    let answer = tokio::select! {
        answer = bench.call(request) => answer,
        () = settle => unreachable!("it goes on for ever"),
    };
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!((&answer.body["status"], &answer.body["version"]), (&json!("cancelled"), &json!(2)));
    assert_eq!(answer.body["cancel_reason"], json!({ "code": "timed_out" }));
    assert_eq!(answer.headers["preference-applied"], "wait=20");
}

/// Also the codes of problems: those of this API, and those every API has.
#[tokio::test]
async fn fixed_sets_of_words_are_said_in_the_description() {
    let bench = bench().await;
    let schemas = bench.call(Request::get("/openapi.json").body(Body::empty()).unwrap()).await.body;
    let schemas = &schemas["components"]["schemas"];
    let statuses = json!(["pending", "confirmed", "partly_shipped", "shipped", "cancelled"]);
    assert_eq!(schemas["OrderStatus"]["enum"], statuses);
    for schema in ["Order", "OrderSummary", "Accepted"] {
        assert_eq!(schemas[schema]["properties"]["status"]["$ref"], "#/components/schemas/OrderStatus", "{schema}");
    }
    assert_eq!(schemas["SagaKind"]["enum"], json!(["checkout", "cancellation"]));
    assert_eq!(schemas["ParkedSaga"]["properties"]["kind"]["$ref"], "#/components/schemas/SagaKind");
    let words: Vec<&Value> = schemas["Step"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["properties"]["word"]["enum"][0])
        .collect();
    assert!(["asked", "timed_out", "unwound"].iter().all(|word| words.contains(&&json!(word))), "{words:?}");
    let entry = schemas["Entry"].to_string();
    assert!(["Step", "OrderEvent"].iter().all(|of| entry.contains(&format!("#/components/schemas/{of}"))), "{entry}");
    let codes = schemas["ProblemCode"]["enum"].as_array().unwrap();
    assert!(["order_not_found", "price_changed", "overloaded"].iter().all(|code| codes.contains(&json!(code))));
}

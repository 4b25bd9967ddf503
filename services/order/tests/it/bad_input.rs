//! What is no order is refused in a way that a program can tell, and changes nothing.

use axum::{
    body::Body,
    http::{HeaderValue, Method},
};
use contracts::{OrderId, ShipmentId};
use serde_json::{Value, json};
use testkit::postgres_contents;
use web::access::Principal;

use super::{
    bench::Bench,
    http::{Answer, bench, order},
};

/// A body, the status it gets, its code, and the places that are said to be wrong.
type Case = (String, u16, &'static str, &'static [&'static str]);

/// An order for one mug with this put into its place.
fn with(pointer: &str, value: Value) -> String {
    let mut body = order("MUG", json!(1));
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[field] = value;
    body.to_string()
}

fn lines(count: usize) -> Value {
    (0..count).map(|number| json!({ "sku": format!("S-{number}"), "quantity": 1 })).collect()
}

fn quantity(value: Value) -> Case {
    (with("/lines/0/quantity", value), 422, "invalid_body", &["/lines/0/quantity"])
}

fn sku(value: Value) -> Case {
    (with("/lines/0/sku", value), 422, "invalid_body", &["/lines/0/sku"])
}

fn unit_price(value: Value) -> Case {
    (with("/lines/0/unit_price", value), 422, "invalid_body", &["/lines/0/unit_price"])
}

fn reference(value: Value) -> Case {
    (with("/reference", value), 422, "invalid_body", &["/reference"])
}

/// The text of a valid body with one piece of it replaced.
fn text(from: &str, to: &str) -> String {
    let body = order("MUG", json!(1)).to_string();
    assert!(body.contains(from), "{from} is not in {body}");
    body.replace(from, to)
}

#[expect(clippy::too_many_lines, reason = "one table, a line each")]
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        (with("/lines/0/sku", json!("NONE")), 422, "unknown_sku", &[]),
        (with("/lines", json!([])), 422, "invalid_order", &[]),
        (with("/lines", lines(101)), 422, "invalid_order", &[]),
        (
            with("/lines", json!([{ "sku": "MUG", "quantity": 1 }, { "sku": "MUG", "quantity": 1 }])),
            422,
            "invalid_order",
            &[],
        ),
        (with("/lines", json!({})), 422, "invalid_body", &["/lines"]),
        (with("/lines", json!(null)), 422, "invalid_body", &["/lines"]),
        // A price in another currency than the product has is another price.
        (
            with("/lines/0/unit_price", json!({ "amount": 1290, "currency": "JPY" })),
            409,
            "price_changed",
            &["/lines/0/unit_price"],
        ),
        (
            with("/lines/0/unit_price", json!({ "amount": 1, "currency": "EUR" })),
            409,
            "price_changed",
            &["/lines/0/unit_price"],
        ),
        (
            with("/lines/0/unit_price", json!({ "amount": 1, "currency": "XYZ" })),
            422,
            "invalid_body",
            &["/lines/0/unit_price/currency"],
        ),
        (
            with("/lines/0/unit_price", json!({ "amount": 1.5, "currency": "EUR" })),
            422,
            "invalid_body",
            &["/lines/0/unit_price/amount"],
        ),
        (with("/payment_token", json!("tok ok")), 422, "invalid_body", &["/payment_token"]),
        (with("/payment_token", json!({ "$ne": null })), 422, "invalid_body", &["/payment_token"]),
        // What the shop decides nobody else may.
        (with("/status", json!("confirmed")), 422, "invalid_body", &["/status"]),
        (with("/lines/0/price", json!(1)), 422, "invalid_body", &["/lines/0/price"]),
        (text(":1", ":1e400"), 400, "malformed_json", &[]),
        (text("MUG", "\\ud800"), 400, "malformed_json", &[]),
        (text("MUG", "MUG\u{0}"), 400, "malformed_json", &[]),
        (text("\"quantity\":1", "\"quantity\":1,\"quantity\":2"), 422, "invalid_body", &["/lines/0"]),
        (text("MUG\"", "MUG\"}] trailing"), 400, "malformed_json", &[]),
        (format!("{} {{}}", order("MUG", json!(1))), 400, "malformed_json", &[]),
        (String::new(), 400, "malformed_json", &[]),
        ("{".to_owned(), 400, "malformed_json", &[]),
        ("null".to_owned(), 422, "invalid_body", &[]),
        ("[]".to_owned(), 422, "invalid_body", &[]),
        ("[".repeat(200), 400, "malformed_json", &[]),
        (format!("{}{}", "[".repeat(200), "]".repeat(200)), 400, "malformed_json", &[]),
        (format!("{{\"lines\": {}1{}}}", "{\"a\":".repeat(200), "}".repeat(200)), 400, "malformed_json", &[]),
        (" ".repeat(1 << 20), 413, "body_too_large", &[]),
        (with("/reference", json!("x".repeat(1 << 20))), 413, "body_too_large", &[]),
    ];
    let no_quantities = [
        json!(0),
        json!(-1),
        json!(10_001),
        json!(2_147_483_648_u64),
        json!(9_223_372_036_854_775_808_u64),
        json!(1.5),
        json!("1"),
        json!(null),
        json!(true),
        json!([1]),
        json!({ "$ne": null }),
        json!({ "$numberLong": "1" }),
    ];
    cases.extend(no_quantities.map(quantity));
    let no_skus = [
        json!("mug"),
        json!(""),
        json!("MUG\u{0}"),
        json!("MUG\u{202e}"),
        json!("\u{200f}MUG"),
        json!("M".repeat(41)),
        json!(7),
        json!({ "$ne": null }),
        json!({ "$oid": "5f0000000000000000000000" }),
    ];
    cases.extend(no_skus.map(sku));
    cases.extend(
        [json!(""), json!("a b"), json!("a\u{0}"), json!("\u{202e}a"), json!("x".repeat(65)), json!(7)].map(reference),
    );
    cases.extend([json!(1290), json!("12.90 EUR"), json!([])].map(unit_price));
    cases
}

#[track_caller]
fn is_refused(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!((answer.status.as_u16(), answer.body["code"].as_str()), (status, Some(code)), "{what}: {}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    assert!(answer.body["trace_id"].is_string(), "{what}");
    assert!(!answer.body.to_string().contains('\u{202e}'), "what is hidden is not sent back: {what}");
}

#[tokio::test]
async fn what_is_no_order_is_refused_with_a_code_and_changes_nothing() {
    let bench = bench().await;
    let before = postgres_contents(bench.db()).await;
    for (place, (body, status, code, pointers)) in cases().into_iter().enumerate() {
        let shown: String = body.chars().take(160).collect();
        let answer = bench.post(&format!("key-{place}"), body).await;
        is_refused(&answer, status, code, &shown);
        let said =
            answer.body["errors"].as_array().into_iter().flatten().map(|error| error["pointer"].as_str().unwrap());
        let said: Vec<&str> = said.collect();
        assert!(pointers.is_empty() || said == pointers, "{shown}: {said:?}");
    }
    assert_eq!(postgres_contents(bench.db()).await, before);
    assert_eq!(bench.post("key-0", order("MUG", json!(1)).to_string()).await.status, 202, "the key is still free");
    assert_ne!(postgres_contents(bench.db()).await, before, "what changes is seen");
}

/// How an order comes counts as well: its headers, and under which key.
#[tokio::test]
async fn an_order_that_comes_in_a_wrong_way_is_refused_and_changes_nothing() {
    let bench = bench().await;
    bench.post("used", order("MUG", json!(2)).to_string()).await;
    let before = postgres_contents(bench.db()).await;
    let json_type = Some("application/json");
    let one = |key| vec![HeaderValue::from_bytes(key).unwrap()];
    let long = "k".repeat(256);
    let table: Vec<(Vec<HeaderValue>, Option<&str>, u16, &str)> = vec![
        (vec![], json_type, 400, "idempotency_key_missing"),
        (one(b""), json_type, 400, "idempotency_key_invalid"),
        (one(long.as_bytes()), json_type, 400, "idempotency_key_invalid"),
        (one(b"two words"), json_type, 400, "idempotency_key_invalid"),
        (one(b"\xff"), json_type, 400, "idempotency_key_invalid"),
        (vec![one(b"a").remove(0), one(b"b").remove(0)], json_type, 400, "idempotency_key_invalid"),
        (one(b"used"), json_type, 422, "idempotency_key_reused"),
        (one(b"key"), None, 415, "unsupported_media_type"),
        (one(b"key"), Some("text/plain"), 415, "unsupported_media_type"),
        (one(b"key"), Some("application/x-www-form-urlencoded"), 415, "unsupported_media_type"),
        (one(b"key"), Some("multipart/form-data; boundary=x"), 415, "unsupported_media_type"),
    ];
    for (keys, content_type, status, code) in table {
        let request = bench.request(&Principal::Customer(bench.customer), "/v1/orders").method(Method::POST);
        let what = format!("{keys:?} {content_type:?}");
        let request = keys.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        let request = content_type.iter().fold(request, |request, value| request.header("content-type", *value));
        let answer = bench.call(request.body(Body::from(order("MUG", json!(1)).to_string())).unwrap()).await;
        is_refused(&answer, status, code, &what);
    }
    assert_eq!(postgres_contents(bench.db()).await, before);
}

#[tokio::test]
async fn a_wrong_address_or_time_is_refused() {
    let bench = bench().await;
    let id = bench.post("key", order("MUG", json!(1)).to_string()).await.body["id"].as_str().unwrap().to_owned();
    let own = |rest: &str| format!("/v1/orders/{id}{rest}");
    let table = [
        ("/v1/orders/7".to_owned(), 400, "invalid_path"),
        ("/v1/orders/%00".to_owned(), 400, "invalid_path"),
        ("/v1/orders/%7B%22$ne%22:null%7D".to_owned(), 400, "invalid_path"),
        (format!("/v1/orders/{}", OrderId::mint()), 404, "order_not_found"),
        (own("?as_of=yesterday"), 400, "invalid_query"),
        (own("?as_of="), 400, "invalid_query"),
        (own("?as_of=2026-02-30T00:00:00Z"), 400, "invalid_query"),
        (own("?as_of=2026-01-01"), 400, "invalid_query"),
        (own("?as_of=1999-01-01T00:00:00Z"), 404, "order_not_found"),
        (own("?as_of[$gt]=2026-01-01T00:00:00Z"), 400, "invalid_query"),
        (own("?version=0"), 400, "invalid_query"),
        (own("?version=-1"), 400, "invalid_query"),
        (own("?version=99"), 404, "order_not_found"),
        (own("?version=1&as_of=2026-01-01T00:00:00Z"), 400, "invalid_query"),
        (own("?versions=1"), 400, "invalid_query"),
        (own("/events?limit=0"), 400, "invalid_query"),
        (own("/events?cursor=%00"), 400, "invalid_query"),
    ];
    let before = postgres_contents(bench.db()).await;
    for (path, status, code) in table {
        let request = bench.request(&Principal::Customer(bench.customer), &path);
        is_refused(&bench.call(request.body(Body::empty()).unwrap()).await, status, code, &path);
    }
    assert_eq!(postgres_contents(bench.db()).await, before);
}

#[tokio::test]
async fn a_cancel_after_the_shipment_changes_nothing() {
    let bench = Bench::new().await;
    let checkout = bench.confirmed().await;
    bench.answers(vec![checkout.shipped(ShipmentId::mint(), true)]).await.unwrap();
    let before = postgres_contents(bench.db()).await;
    let path = format!("/v1/orders/{}/cancellation", checkout.order);
    let request = bench.request(&Principal::Customer(bench.customer), &path).method(Method::POST);
    is_refused(&bench.call(request.body(Body::empty()).unwrap()).await, 409, "order_shipped", "a late cancel");
    assert_eq!(postgres_contents(bench.db()).await, before);
}

//! What cannot be is refused in a way that a program can tell, and changes nothing.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use contracts::CustomerId;
use serde_json::{Value, json};
use testkit::postgres_contents;
use web::access::Principal;

use crate::bench::{Bench, HANDED_OVER_ONLY, Order};
use crate::http::Client;

const OPERATOR: Option<Principal> = Some(Principal::Operator);

fn amount(amount: Value, currency: Value) -> String {
    json!({ "amount": { "amount": amount, "currency": currency } }).to_string()
}

fn customer(field: &str, value: Value) -> String {
    let mut body = json!({ "name": "Ada", "address": ["London"], "country": "GB" });
    body[field] = value;
    body.to_string()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table, a line each")]
async fn what_cannot_be_is_refused_with_a_code_and_changes_nothing() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    bench.send(&[order.capture()]).await.unwrap();
    bench.answered(2).await;
    bench.tell(&[order.confirmed()]).await.unwrap();
    let (refunds, who) =
        (format!("/v1/payments/{}/refunds", order.id), format!("/v1/customers/{}", CustomerId::mint()));
    let (post, put, get) = (Method::POST, Method::PUT, Method::GET);
    let eur = || json!("EUR");
    let ne = || json!({ "$ne": null });
    let table: Vec<(&Method, &str, String, u16, &str)> = vec![
        (&post, &refunds, amount(json!(0), eur()), 422, "invalid_refund"),
        (&post, &refunds, amount(json!(-1), eur()), 422, "invalid_refund"),
        (&post, &refunds, amount(json!(1291), eur()), 409, "refund_too_large"),
        (&post, &refunds, amount(json!(i64::MAX), eur()), 409, "refund_too_large"),
        (&post, &refunds, amount(json!(1), json!("JPY")), 422, "invalid_refund"),
        (&post, &refunds, amount(json!(9_223_372_036_854_775_808_u64), eur()), 422, "invalid_body"),
        (&post, &refunds, amount(json!(1.5), eur()), 422, "invalid_body"),
        (&post, &refunds, amount(json!("1"), eur()), 422, "invalid_body"),
        (&post, &refunds, amount(ne(), eur()), 422, "invalid_body"),
        (&post, &refunds, amount(json!({ "$numberLong": "1" }), eur()), 422, "invalid_body"),
        (&post, &refunds, amount(json!(1), json!("XYZ")), 422, "invalid_body"),
        (&post, &refunds, amount(json!(1), json!("eur")), 422, "invalid_body"),
        (&post, &refunds, amount(json!(1), json!("EUR\u{0}")), 422, "invalid_body"),
        (&post, &refunds, "{}".to_owned(), 422, "invalid_body"),
        (&post, &refunds, "{\"amount\":1e400}".to_owned(), 400, "malformed_json"),
        (&post, &refunds, "[".repeat(200), 400, "malformed_json"),
        (&post, &refunds, " ".repeat(1 << 20), 413, "body_too_large"),
        (&post, "/v1/provider/webhooks", " ".repeat(2_001), 413, "body_too_large"),
        (&put, &who, customer("name", json!("\u{0}")), 422, "invalid_customer"),
        (&put, &who, customer("name", json!("a\u{7}b")), 422, "invalid_customer"),
        (&put, &who, customer("name", ne()), 422, "invalid_body"),
        (&put, &who, customer("name", json!(null)), 422, "invalid_body"),
        (&put, &who, customer("address", json!([])), 422, "invalid_customer"),
        (&put, &who, customer("address", json!("London")), 422, "invalid_body"),
        (&put, &who, customer("country", json!("XX")), 422, "invalid_customer"),
        (&put, &who, customer("role", json!("operator")), 422, "invalid_body"),
        (&put, &who, customer("name", json!("MUG")).replace("MUG", "\\ud800"), 400, "malformed_json"),
        (&put, &who, " ".repeat(1 << 20), 413, "body_too_large"),
        (&put, "/v1/customers/7", customer("name", json!("Ada")), 400, "invalid_path"),
        (&get, "/v1/payments/%00", String::new(), 400, "invalid_path"),
        (&get, "/v1/invoices/INV-0", String::new(), 400, "invalid_path"),
        (&get, "/v1/invoices/INV-99999999999999999999", String::new(), 400, "invalid_path"),
        (&get, "/v1/invoices/INV-1%27--", String::new(), 400, "invalid_path"),
        (&get, "/v1/invoices/INV-7", String::new(), 404, "invoice_not_found"),
        (&get, "/v1/ledger/accounts?as_of=yesterday", String::new(), 400, "invalid_query"),
        (&get, "/v1/ledger/accounts?as_of[$gt]=1", String::new(), 400, "invalid_query"),
        (&post, "/v1/provider/webhooks", "{}".to_owned(), 401, "invalid_signature"),
    ];
    let before = postgres_contents(&bench.pool).await;
    for (method, path, body, status, code) in table {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        let request = request.header("idempotency-key", "key");
        let what: String = format!("{method} {path} {body}").chars().take(200).collect();
        let (found, problem) = client.request(request, OPERATOR, Body::from(body)).await;
        assert_eq!((found.as_u16(), problem["code"].as_str()), (status, Some(code)), "{what}: {problem}");
        assert!(problem["trace_id"].is_string(), "{what}: {problem}");
    }
    for key in [None, Some("k".repeat(256))] {
        let request = Request::builder().method(Method::POST).uri(&refunds).header(CONTENT_TYPE, "application/json");
        let request = key.iter().fold(request, |request, key| request.header("idempotency-key", key));
        let (status, _) = client.request(request, OPERATOR, Body::from(amount(json!(1), eur()))).await;
        assert_eq!(status, 400, "{key:?}");
    }
    assert_eq!(postgres_contents(&bench.pool).await, before);
    client.post(&refunds, "key", &json!({ "amount": { "amount": 1, "currency": "EUR" } }), OPERATOR).await;
    assert_ne!(postgres_contents(&bench.pool).await, before, "what changes is seen");
}

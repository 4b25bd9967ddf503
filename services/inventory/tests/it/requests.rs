//! Requests that are refused, and that they leave no trace.

use axum::http::{Method, StatusCode};
use contracts::OrderId;
use serde_json::{Value, json};
use testkit::mongo_contents;

use crate::world::{Who, World, mug};

fn with(field: &str, value: Value) -> String {
    let mut details = mug();
    details[field] = value;
    details.to_string()
}

fn price(amount: Value, currency: Value) -> String {
    with("price", json!({ "amount": amount, "currency": currency }))
}

#[tokio::test]
async fn a_product_that_cannot_be_is_refused() {
    let world = World::new().await;
    let before = mongo_contents(&world.db).await;
    let eur = || json!("EUR");
    let table = [
        ("{", 400, "malformed_json", ""),
        ("[]", 422, "invalid_body", ""),
        ("{}", 422, "invalid_body", ""),
        (&with("discount", json!(1)), 422, "invalid_body", "/discount"),
        (&with("_id", json!("MUG")), 422, "invalid_body", "/_id"),
        (&with("name", json!("")), 422, "invalid_body", "/name"),
        (&with("name", json!("a\u{0}b")), 422, "invalid_body", "/name"),
        (&with("name", json!("a\u{202e}b\u{7}")), 422, "invalid_body", "/name"),
        (&with("name", json!("m".repeat(201))), 422, "invalid_body", "/name"),
        (&with("name", json!({ "$ne": null })), 422, "invalid_body", "/name"),
        (&with("name", json!({ "$oid": "5f0000000000000000000000" })), 422, "invalid_body", "/name"),
        (&with("name", json!(null)), 422, "invalid_body", "/name"),
        (&with("description", json!(["a"])), 422, "invalid_body", "/description"),
        (&with("category", json!("\u{0}")), 422, "invalid_body", "/category"),
        (&with("vat_rate", json!(10_001)), 422, "invalid_body", "/vat_rate"),
        (&with("vat_rate", json!(-1)), 422, "invalid_body", "/vat_rate"),
        (&with("vat_rate", json!(19.5)), 422, "invalid_body", "/vat_rate"),
        (&price(json!(0), eur()), 422, "invalid_body", "/price/amount"),
        (&price(json!(1_000_000_000_001_i64), eur()), 422, "invalid_body", "/price/amount"),
        (&price(json!(1e300), eur()), 422, "invalid_body", "/price/amount"),
        (&price(json!("12"), eur()), 422, "invalid_body", "/price/amount"),
        (&price(json!({ "$numberLong": "1" }), eur()), 422, "invalid_body", "/price/amount"),
        (&price(json!(1), json!("XYZ")), 422, "invalid_body", "/price/currency"),
        (&price(json!(1), json!({ "$gt": "" })), 422, "invalid_body", "/price/currency"),
    ];
    for (body, status, code, pointer) in table {
        let answer = world.send(Who::Operator, Method::PUT, "/v1/products/MUG", body, None).await;
        refused(&answer, status, code, body);
        let pointers = answer.1["errors"].as_array().into_iter().flatten().map(|error| error["pointer"].clone());
        assert!(pointer.is_empty() || pointers.collect::<Vec<_>>() == [json!(pointer)], "{body}: {}", answer.1);
    }
    assert_eq!(mongo_contents(&world.db).await, before);
}

#[tokio::test]
async fn a_receipt_that_cannot_be_is_refused() {
    let world = World::with_stock(&[("MUG", 0)]).await;
    let before = mongo_contents(&world.db).await;
    let table = [
        (r#"{"warehouse":"LYON","pieces":0}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":-1}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":1000001}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":99999999999999999999}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":1.5}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":"1"}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":{"$ne":null}}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":{"$numberLong":"5"}}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":1,"held":-5}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":1,"pieces":2}"#, 422, "invalid_body"),
        (r#"{"warehouse":"LYON","pieces":1} {}"#, 400, "malformed_json"),
        (r#"{"pieces":1}"#, 422, "invalid_body"),
        (r#"{"warehouse":"lyon","pieces":1}"#, 422, "invalid_body"),
        (r#"{"warehouse":{"$ne":null},"pieces":1}"#, 422, "invalid_body"),
        (r#"{"warehouse":"a.$b","pieces":1}"#, 422, "invalid_body"),
        (r#"{"warehouse":"ROME","pieces":1}"#, 422, "unknown_warehouse"),
        ("", 400, "malformed_json"),
    ];
    for (body, status, code) in table {
        let path = "/v1/stock/MUG/receipts";
        let answer = world.send(Who::Operator, Method::POST, path, body, Some("key")).await;
        refused(&answer, status, code, body);
    }
    let keyless = world
        .send(Who::Operator, Method::POST, "/v1/stock/MUG/receipts", r#"{"warehouse":"LYON","pieces":1}"#, None)
        .await;
    refused(&keyless, 400, "idempotency_key_missing", "no key");
    assert_eq!(mongo_contents(&world.db).await, before);
    world.receipt("MUG", "key", 1).await;
    assert_ne!(mongo_contents(&world.db).await, before, "what changes is seen");
}

#[tokio::test]
async fn a_shipment_that_cannot_be_is_refused() {
    let world = World::with_stock(&[("MUG", 1)]).await;
    let before = mongo_contents(&world.db).await;
    let order = OrderId::mint();
    let with = |fields: Value| {
        let mut body = json!({ "order": order, "warehouse": "LYON" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body.to_string()
    };
    let line = |quantity: Value| json!([{ "sku": "MUG", "quantity": quantity }]);
    let many: Vec<Value> = (0..101).map(|number| json!({ "sku": format!("M-{number}"), "quantity": 1 })).collect();
    let table = [
        ("{".to_owned(), 400, "malformed_json"),
        ("{}".to_owned(), 422, "invalid_body"),
        (with(json!({ "order": "1" })), 422, "invalid_body"),
        (with(json!({ "order": { "$ne": null } })), 422, "invalid_body"),
        (with(json!({ "warehouse": "a.$b" })), 422, "invalid_body"),
        (with(json!({ "complete": true })), 422, "invalid_body"),
        (with(json!({ "lines": [] })), 422, "invalid_body"),
        (with(json!({ "lines": [line(json!(1))[0], line(json!(1))[0]] })), 422, "invalid_body"),
        (with(json!({ "lines": many })), 422, "invalid_body"),
        (with(json!({ "lines": line(json!(0)) })), 422, "invalid_body"),
        (with(json!({ "lines": line(json!("1")) })), 422, "invalid_body"),
        (with(json!({})), 404, "order_not_found"),
    ];
    for (body, status, code) in table {
        let answer = world.send(Who::Operator, Method::POST, "/v1/shipments", &body, Some("key")).await;
        refused(&answer, status, code, &body);
    }
    let keyless = world.send(Who::Operator, Method::POST, "/v1/shipments", &with(json!({})), None).await;
    refused(&keyless, 400, "idempotency_key_missing", "no key");
    assert_eq!(mongo_contents(&world.db).await, before);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    let order = OrderId::mint();
    refused(&world.get(Who::Nobody, "/v1/products/NONE").await, 404, "product_not_found", "product");
    refused(&world.get(Who::Customer, "/v1/stock/NONE").await, 404, "product_not_found", "stock");
    refused(&world.get(Who::Operator, &format!("/v1/holds/{order}")).await, 404, "order_not_found", "hold");
    refused(&world.receipt("NONE", "key", 1).await, 404, "product_not_found", "receipt");
}

#[tokio::test]
async fn an_address_that_cannot_be_is_refused() {
    let world = World::new().await;
    let table = [
        ("/v1/products/mug", "invalid_path"),
        ("/v1/products/%00", "invalid_path"),
        ("/v1/products/%7B%22$ne%22:null%7D", "invalid_path"),
        ("/v1/stock/A%20B", "invalid_path"),
        ("/v1/holds/1", "invalid_path"),
        ("/v1/stock/MUG?as_of=yesterday", "invalid_query"),
        ("/v1/stock/MUG?as_of=", "invalid_query"),
        ("/v1/stock/MUG?at=2026-11-21T09:30:00Z", "invalid_query"),
        ("/v1/products?limit=0", "invalid_query"),
        ("/v1/products?limit=101", "invalid_query"),
        ("/v1/products?limit=1000000000000", "invalid_query"),
        ("/v1/products?cursor=%7B%22$gt%22:%22%22%7D", "invalid_query"),
        ("/v1/products?sort=price", "invalid_query"),
    ];
    for (path, code) in table {
        refused(&world.get(Who::Operator, path).await, 400, code, path);
    }
}

/// Also the codes of problems: those of this API, and those every API has.
#[tokio::test]
async fn fixed_sets_of_words_are_said_in_the_description() {
    let (_, description) = World::new().await.get(Who::Nobody, "/openapi.json").await;
    let schemas = &description["components"]["schemas"];
    let states = json!(["open", "allocated", "shipped", "released", "refused", "tombstone"]);
    assert_eq!(schemas["Hold"]["properties"]["state"]["enum"], states);
    let answers = json!(["held", "refused", "released", "reclaimed", "reclaim_refused"]);
    assert_eq!(schemas["Command"]["properties"]["answer"]["enum"], answers);
    let codes = schemas["ProblemCode"]["enum"].as_array().unwrap();
    assert!(["product_not_found", "released", "overloaded"].iter().all(|code| codes.contains(&json!(code))));
}

fn refused((status, body): &(StatusCode, Value), expected: u16, code: &str, what: &str) {
    assert_eq!((status.as_u16(), &body["code"]), (expected, &json!(code)), "{what}: {body}");
    assert_eq!(body["type"], json!(format!("/problems/{code}")), "{what}");
}

//! Every rejection of every extractor.

use std::convert::Infallible;

use axum::{
    Router,
    body::{Body, Bytes},
    http::Request,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use web::extract::{IdempotencyKey, Json, Path, Prefer, Query};

use crate::{Answer, call};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cart {
    lines: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(rename = "a/b~c")]
    odd: Option<bool>,
    quantity: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Page {
    limit: u32,
}

fn router() -> Router {
    Router::new()
        .route("/body", post(async |Json(cart): Json<Cart>| Json(cart)))
        .route("/path/{number}", get(async |Path(number): Path<u32>| Json(number)))
        .route("/misnamed", get(async |Path(number): Path<u32>| Json(number)))
        .route("/query", get(async |Query(page): Query<Page>| Json(page)))
        .route("/key", get(async |key: IdempotencyKey| Json(key.as_str().to_owned())))
        .route("/prefer", get(async |prefer: Prefer| Json(prefer.wait.map(|wait| wait.as_secs()))))
}

async fn post_json(body: impl Into<Body>) -> Answer {
    post_as("application/json", body).await
}

async fn post_as(content_type: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post("/body").header("content-type", content_type).body(body.into()).unwrap();
    call(&router(), request).await
}

async fn get_at(uri: &str, headers: &[(&str, &[u8])]) -> Answer {
    let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
    call(&router(), request.body(Body::empty()).unwrap()).await
}

const CART: &str = r#"{"lines": [{"quantity": 2}]}"#;

#[tokio::test]
async fn a_body_that_fits_is_taken_and_given_back() {
    for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.shop+json"] {
        let answer = post_as(content_type, CART).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.body["lines"][0]["quantity"], 2);
    }
}

#[tokio::test]
async fn a_body_of_another_type_is_415() {
    for content_type in
        ["", "text/plain", "text/json", "application/jsonp", "json", "application/x-www-form-urlencoded"]
    {
        post_as(content_type, CART).await.is_problem(415, "unsupported_media_type");
    }
    let untyped = call(&router(), Request::post("/body").body(CART.into()).unwrap()).await;
    untyped.is_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let bodies = [
        "",
        "{",
        "{}x",
        "{'a': 1}",
        r#"{"lines": [}"#,
        r#"{"lines": 1} {}"#,
        "\u{feff}{}",
        "NaN",
        "\"\\ud800\"",
        &deep,
    ];
    for body in bodies {
        post_json(body.to_owned()).await.is_problem(400, "malformed_json");
    }
    post_json(b"{\"lines\": \"\xff\"}".to_vec()).await.is_problem(400, "malformed_json");
    post_json(format!("{CART} {{}}")).await.is_problem(400, "malformed_json");
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_422_and_says_where() {
    let cases = [
        (r#"{"lines": [{"quantity": 1}, {"quantity": -1}]}"#, "/lines/1/quantity", "invalid value: integer `-1`"),
        (r#"{"lines": [{"quantity": 1.5}]}"#, "/lines/0/quantity", "floating point `1.5`"),
        (r#"{"lines": [{"quantity": "1"}]}"#, "/lines/0/quantity", "invalid type: string"),
        (r#"{"lines": [{"quantity": 1, "a/b~c": 1}]}"#, "/lines/0/a~1b~0c", "invalid type: integer"),
        (r#"{"lines": [{}]}"#, "/lines/0", "missing field `quantity`"),
        (r#"{"lines": {}}"#, "/lines", "invalid type: map"),
        (r#"{"lines": [], "more": 1}"#, "/more", "unknown field `more`"),
        ("[]", "", "invalid length 0"),
        ("null", "", "invalid type: null"),
    ];
    for (body, pointer, message) in cases {
        let answer = post_json(body).await;
        answer.is_problem(422, "invalid_body");
        let error = &answer.body["errors"][0];
        assert_eq!(error["pointer"], pointer, "{body}");
        assert!(error["detail"].as_str().unwrap().contains(message), "{body}: {error}");
    }
}

#[tokio::test]
async fn what_a_message_repeats_is_short_and_visible() {
    let long = format!(r#"{{"lines": "\u001b[31m\u202e{}"}}"#, "x".repeat(5000));
    let answer = post_json(long).await;
    answer.is_problem(422, "invalid_body");
    let detail = answer.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("xxx") && detail.chars().count() <= 201, "{detail}");
    assert!(!detail.contains(['\u{1b}', '\u{202e}']), "{detail:?}");
    let key = post_json(format!(r#"{{"{}": 1}}"#, "k".repeat(5000))).await;
    assert!(key.body["errors"][0]["pointer"].as_str().unwrap().chars().count() <= 201);
}

#[tokio::test]
async fn a_body_has_at_most_64_kib() {
    let padded = |len: usize| format!("{CART}{}", " ".repeat(len - CART.len()));
    assert_eq!(post_json(padded(64 * 1024)).await.status, 200);
    post_json(padded(64 * 1024 + 1)).await.is_problem(413, "body_too_large");
    // Without a length up front, and without an end.
    let endless =
        Body::from_stream(futures::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(" ".repeat(1024)))));
    post_json(endless).await.is_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let broken = futures::stream::iter([Ok(Bytes::from("{")), Err(std::io::Error::other("the client went away"))]);
    post_json(Body::from_stream(broken)).await.is_problem(400, "bad_request");
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_400() {
    assert_eq!(get_at("/path/7", &[]).await.body, json!(7));
    for uri in ["/path/seven", "/path/-1", "/path/%00", "/path/%FF", "/path/99999999999"] {
        get_at(uri, &[]).await.is_problem(400, "invalid_path");
    }
    let long = get_at(&format!("/path/{}", "x".repeat(3000)), &[]).await;
    long.is_problem(400, "invalid_path");
    assert!(long.detail().chars().count() <= 201);
}

#[tokio::test]
async fn a_route_without_the_part_a_handler_wants_is_our_fault() {
    let answer = get_at("/misnamed", &[]).await;
    answer.is_problem(500, "internal");
    assert!(answer.body["trace_id"].is_string());
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_400() {
    assert_eq!(get_at("/query?limit=7", &[]).await.body, json!({"limit": 7}));
    for uri in ["/query", "/query?limit=", "/query?limit=x", "/query?limit=1&limit=2", "/query?Limit=1"] {
        get_at(uri, &[]).await.is_problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn an_idempotency_key_is_one_header_of_visible_ascii() {
    let longest = "k".repeat(255);
    for key in ["k", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "a,b;c", &longest] {
        let answer = get_at("/key", &[("Idempotency-Key", key.as_bytes())]).await;
        assert_eq!(answer.body, json!(key), "{answer:?}");
    }
    get_at("/key", &[]).await.is_problem(400, "idempotency_key_missing");
    let too_long = "k".repeat(256);
    for key in ["".as_bytes(), b"a b", b"a\tb", b"\xff\xfe", "ü".as_bytes(), too_long.as_bytes()] {
        get_at("/key", &[("idempotency-key", key)]).await.is_problem(400, "idempotency_key_invalid");
    }
    let twice: [(&str, &[u8]); 2] = [("idempotency-key", b"a"), ("idempotency-key", b"a")];
    get_at("/key", &twice).await.is_problem(400, "idempotency_key_invalid");
}

#[tokio::test]
async fn preferences_never_fail() {
    assert_eq!(get_at("/prefer", &[("prefer", b"respond-async, wait=5")]).await.body, json!(5));
    for headers in [vec![], vec![("prefer", b"wait=soon".as_slice())], vec![("prefer", b"\xff".as_slice())]] {
        let answer = get_at("/prefer", &headers).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, json!(null)));
    }
}

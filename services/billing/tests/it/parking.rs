//! What the provider says and cannot be booked: the payment is parked, the ledger untouched.

use axum::http::{Method, StatusCode};
use billing::provider::Operation;
use contracts::Message;
use serde_json::{Value, json};
use web::access::Principal;

use crate::bench::{Bench, EAGER, Mood, Order, WATCHFUL};
use crate::http::Client;

const OPERATOR: Option<Principal> = Some(Principal::Operator);

impl Bench {
    /// Waits until something is parked, and says why.
    async fn parked(&self) -> String {
        let why = async || {
            let parked = sqlx::query_scalar("select parked from intent where parked is not null");
            parked.fetch_optional(&self.pool).await.unwrap()
        };
        self.poll(why).await
    }
}

#[tokio::test]
async fn a_wrong_amount_currency_or_id_parks_the_payment_and_leaves_the_ledger_untouched() {
    for (behaviour, reason) in [
        ("wrong_amount", "the provider says 12.91 EUR where 12.90 EUR was asked for"),
        ("wrong_currency", "the provider says 12.90 CHF where 12.90 EUR was asked for"),
        ("wrong_id", "which was not asked about"),
    ] {
        for (operation, state, booked) in [("authorize", "authorizing", 0), ("capture", "capturing", 1)] {
            let bench = Bench::start(WATCHFUL).await;
            let client = Client::of(&bench);
            let token = format!("tok_{operation}_{behaviour}").leak();
            let order = Order::with(token);
            bench.send(&[order.authorize()]).await.unwrap();
            if operation == "capture" {
                bench.answered(1).await;
                bench.send(&[order.capture()]).await.unwrap();
            }
            let why = bench.parked().await;
            assert!(why.contains(reason), "{token}: {why}");
            let before = bench.count("select count(*) from ledger_entry").await;
            assert_eq!(before, booked, "{token}: only an authorization that was right");
            bench.send(&[order.void()]).await.unwrap();

            // Others go on, and nobody asks about the parked one.
            let key = order.key(if booked == 0 { Operation::Authorize } else { Operation::Capture });
            let calls = (bench.provider.executed(&key), bench.provider.asked(&key));
            let other = Order::with("tok_ok");
            bench.send(&[other.authorize()]).await.unwrap();
            bench.answered(2 - usize::from(booked == 0)).await;
            assert_eq!((bench.provider.executed(&key), bench.provider.asked(&key)), calls, "{token}");
            assert_eq!(bench.state(order.id).await, state, "{token}");
            assert_eq!(
                bench.count("select count(*) from ledger_entry").await,
                booked + 1,
                "{token}: the other's alone"
            );

            let (_, seen) = client.get(&format!("/v1/payments/{}", order.id), OPERATOR).await;
            let intent = &seen["intents"][0];
            assert_eq!((&intent["parked"], &intent["next_try_at"]), (&json!(why), &Value::Null), "{token}");
            assert_eq!(seen["commands"].as_array().unwrap().last().unwrap()["progress"], json!("waiting"), "{token}");
        }
    }
}

#[tokio::test]
async fn an_operator_resumes_what_is_parked_and_it_is_asked_again() {
    let bench = Bench::start(EAGER).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    let resume = format!("/v1/payments/{}/resume", order.id);
    bench.provider.is(Mood::Misstates);
    bench.send(&[order.authorize()]).await.unwrap();
    bench.parked().await;
    for (principal, status) in [(None, 401), (Some(Principal::Customer(order.customer)), 403)] {
        assert_eq!(client.send(Method::POST, &resume, principal).await.0.as_u16(), status);
    }
    bench.provider.is(Mood::Talks);
    assert_eq!(client.send(Method::POST, &resume, OPERATOR).await.0, StatusCode::ACCEPTED);
    let answers = bench.answered(1).await;
    assert_eq!(answers[0].kind(), "billing.payment-authorized.v1");
    assert_eq!(bench.provider.executed(&order.key(Operation::Authorize)), 1, "asked, not called again");
    let (status, problem) = client.send(Method::POST, &resume, OPERATOR).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_parked")));
}

#[tokio::test]
async fn an_operator_sees_all_that_is_parked_and_nothing_else() {
    let bench = Bench::start(WATCHFUL).await;
    let client = Client::of(&bench);
    let list = async |rest: &str| {
        let (status, page) = client.get(&format!("/v1/payments?state=parked{rest}"), OPERATOR).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page
    };
    assert_eq!(list("").await, json!({ "data": [], "has_more": false, "next_cursor": null }));
    let wrong = [(); 3].map(|()| Order::with("tok_authorize_wrong_amount"));
    let all: Vec<_> = wrong.iter().chain([&Order::with("tok_ok")]).map(Order::authorize).collect();
    bench.send(&all).await.unwrap();
    bench.answered(1).await;
    let parked = "select count(*) from intent where parked is not null";
    bench.poll(async || (bench.count(parked).await == 3).then_some(())).await;
    let first = list("&limit=2").await;
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (2, &json!(true)));
    let second = list(&format!("&limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(second["has_more"], json!(false));
    let entries = [first["data"].as_array().unwrap().clone(), second["data"].as_array().unwrap().clone()].concat();
    let mut ids: Vec<_> = wrong.iter().map(|order| order.id.to_string()).collect();
    ids.sort_unstable();
    let seen: Vec<&str> = entries.iter().map(|one| one["order"].as_str().unwrap()).collect();
    assert_eq!(seen, ids);
    assert_eq!((&entries[0]["operation"], entries[0]["parked"].is_string()), (&json!("authorize"), true));
    for query in ["", "?state=captured", "?state=parked&limit=0", "?state=parked&cursor=1"] {
        let (status, problem) = client.get(&format!("/v1/payments{query}"), OPERATOR).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_query")), "{query}");
    }
}

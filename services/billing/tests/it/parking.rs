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

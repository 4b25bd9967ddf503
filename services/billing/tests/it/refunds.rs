//! Returning some of what was captured.

use axum::http::{Method, Request};
use contracts::billing::BillingEvent;
use contracts::{Currency, Money};
use serde_json::{Value, json};
use web::access::Principal;

use crate::bench::{Bench, EAGER, HANDED_OVER_ONLY, IMPATIENCE, Mood, Order, WATCHFUL};
use crate::http::Client;
use billing::settle::Pace;

const OPERATOR: Option<Principal> = Some(Principal::Operator);

/// A captured order, and the API.
struct Sale {
    bench: Bench,
    client: Client,
    order: Order,
    path: String,
}

impl Sale {
    async fn with(token: &'static str, pace: Pace) -> Self {
        Self::on(Bench::start(pace).await, token).await
    }

    async fn on(bench: Bench, token: &'static str) -> Self {
        let client = Client::of(&bench);
        let order = Order::with(token);
        bench.send(&[order.authorize()]).await.unwrap();
        bench.answered(1).await;
        bench.send(&[order.capture()]).await.unwrap();
        bench.answered(2).await;
        bench.tell(&[order.confirmed()]).await.unwrap();
        Self { bench, client, order, path: format!("/v1/payments/{}/refunds", order.id) }
    }

    async fn refund(&self, key: &str, amount: i64) -> (u16, Value) {
        let body = json!({ "amount": Money::new(amount, Currency::EUR) });
        let (status, body) = self.client.post(&self.path, key, &body, OPERATOR).await;
        (status.as_u16(), body)
    }

    /// What became of each refund, once none is open.
    async fn settled(&self) -> Vec<(i64, String)> {
        let done = async || (self.bench.count("select count(*) from intent").await == 0).then_some(());
        self.bench.poll(done).await;
        let (_, seen) = self.client.get(&self.path, OPERATOR).await;
        let refund =
            |one: &Value| (one["amount"]["amount"].as_i64().unwrap(), one["state"].as_str().unwrap().to_owned());
        seen["data"].as_array().unwrap().iter().map(refund).collect()
    }

    async fn paid(&self) -> i64 {
        let balances = self.bench.balances().await;
        let sold = balances.iter().filter(|(account, _)| matches!(*account, "sales" | "vat_payable"));
        -sold.map(|(_, balance)| balance).sum::<i64>()
    }
}

#[tokio::test]
async fn parts_go_back_up_to_what_was_captured_and_the_same_key_once() {
    let sale = Sale::with("tok_ok", HANDED_OVER_ONLY).await;
    let accepted =
        (202, json!({ "order": sale.order.id, "number": 1, "amount": { "amount": 500, "currency": "EUR" } }));
    assert_eq!(sale.refund("first", 500).await, accepted);
    assert_eq!(sale.refund("first", 500).await, accepted, "the same answer, and no second refund");
    assert_eq!(sale.refund("first", 501).await.1["code"], json!("idempotency_key_reused"));
    for (key, repeated) in [("first", true), ("other", false)] {
        let request = Request::builder().method(Method::POST).uri(&sale.path).header("idempotency-key", key);
        let request = request.header("content-type", "application/json");
        let body = json!({ "amount": Money::new(if repeated { 500 } else { 1 }, Currency::EUR) });
        let answer = sale.client.response(request, OPERATOR, body.to_string().into()).await;
        assert_eq!(answer.headers().contains_key("idempotency-replayed"), repeated, "{key}");
    }
    let (status, problem) = sale.refund("second", 790).await;
    assert_eq!((status, &problem["code"]), (409, &json!("refund_too_large")));
    assert_eq!(sale.refund("second", 789).await.0, 202);
    let each = [500, 1, 789].map(|amount| (amount, "refunded".to_owned()));
    assert_eq!(sale.settled().await, each);
    assert_eq!(sale.refund("third", 1).await.1["code"], json!("refund_too_large"));
    assert_eq!(sale.refund("first", 500).await, accepted, "still the same answer");
    assert_eq!(sale.bench.balances().await, [("provider_fees", 18), ("provider_receivable", -18)]);
    assert_eq!(sale.bench.count("select count(*) from ledger_entry where kind = 'refund'").await, 3);
}

#[tokio::test]
async fn each_part_takes_its_share_of_net_and_vat_back_and_all_of_them_all_of_it() {
    let sale = Sale::with("tok_ok", HANDED_OVER_ONLY).await;
    // 12.90 with 2.06 of VAT in it.
    for (key, amount) in [("a", 1), ("b", 3), ("c", 333), ("d", 333), ("e", 620)] {
        assert_eq!(sale.refund(key, amount).await.0, 202);
    }
    sale.settled().await;
    let (_, seen) = sale.client.get(&sale.path, OPERATOR).await;
    let vat = |one: &Value| one["taxes"][0]["vat"]["amount"].as_i64().unwrap();
    let vats: Vec<i64> = seen["data"].as_array().unwrap().iter().map(vat).collect();
    assert_eq!(vats, [0, 0, 53, 53, 100], "0.16, 0.48, 53.3, 53.3 and the rest");
    let booked = "select count(*) from ledger_entry where kind = 'refund'";
    assert_eq!(sale.bench.count(booked).await, 5);
    assert_eq!(sale.bench.balances().await, [("provider_fees", 18), ("provider_receivable", -18)]);
}

#[tokio::test]
async fn twenty_at_once_return_no_more_than_was_captured() {
    let sale = Sale::with("tok_ok", HANDED_OVER_ONLY).await;
    let asked = (0..20).map(|number| sale.refund(Box::leak(format!("key-{number}").into_boxed_str()), 100));
    let answers = futures::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 202).count(), 12, "{answers:?}");
    assert_eq!(answers.iter().filter(|(status, _)| *status == 409).count(), 8, "{answers:?}");
    assert_eq!(sale.settled().await.len(), 12);
    assert_eq!(sale.paid().await, 90);
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_and_a_refusal_leaves_all_to_be_returned() {
    for token in ["tok_refund_error_done", "tok_refund_timeout_done", "tok_refund_timeout_lost"] {
        let sale = Sale::on(Bench::with_calls_of(IMPATIENCE, EAGER).await, token).await;
        assert_eq!(sale.refund("key", 1290).await.0, 202);
        assert_eq!(sale.settled().await, [(1290, "refunded".to_owned())], "{token}");
        assert_eq!(sale.paid().await, 0, "{token}");
    }
    let sale = Sale::with("tok_refund_declined", HANDED_OVER_ONLY).await;
    assert_eq!(sale.refund("key", 1290).await.0, 202);
    assert_eq!(sale.settled().await, [(1290, "refused".to_owned())]);
    assert_eq!(sale.paid().await, 1290);
    assert_eq!(sale.refund("again", 1290).await.1["number"], json!(2));
}

#[tokio::test]
async fn a_wrong_word_about_a_refund_parks_it_and_leaves_the_ledger_untouched() {
    let sale = Sale::with("tok_refund_wrong_amount", WATCHFUL).await;
    assert_eq!(sale.refund("key", 100).await.0, 202);
    let parked = async || {
        let parked: Option<String> =
            sqlx::query_scalar("select parked from intent where parked is not null and operation = 'refund'")
                .fetch_optional(&sale.bench.pool)
                .await
                .unwrap();
        parked
    };
    let why = sale.bench.poll(parked).await;
    assert_eq!(why, "the provider says 1.01 EUR where 1.00 EUR was asked for");
    assert_eq!(sale.paid().await, 1290);
}

#[tokio::test]
async fn only_an_operator_refunds_and_only_what_was_captured() {
    let sale = Sale::with("tok_ok", HANDED_OVER_ONLY).await;
    let body = json!({ "amount": { "amount": 1, "currency": "EUR" } });
    for (principal, status) in [(None, 401), (Some(Principal::Customer(sale.order.customer)), 403)] {
        assert_eq!(sale.client.post(&sale.path, "key", &body, principal).await.0.as_u16(), status);
        assert_eq!(sale.client.get(&sale.path, principal).await.0.as_u16(), status);
    }
    for (amount, code) in [
        (json!({ "amount": 0, "currency": "EUR" }), "invalid_refund"),
        (json!({ "amount": 1, "currency": "JPY" }), "invalid_refund"),
        (json!({ "amount": 1.5, "currency": "EUR" }), "invalid_body"),
        (json!({ "amount": 1, "currency": "EUR", "more": 1 }), "invalid_body"),
    ] {
        let (_, problem) = sale.client.post(&sale.path, "key", &json!({ "amount": amount }), OPERATOR).await;
        assert_eq!(problem["code"], json!(code), "{amount}");
    }
    let other = Order::with("tok_ok");
    let path = format!("/v1/payments/{}/refunds", other.id);
    assert_eq!(sale.client.post(&path, "key", &body, OPERATOR).await.1["code"], json!("payment_not_found"));
    sale.bench.send(&[other.authorize()]).await.unwrap();
    sale.bench.answered(3).await;
    assert_eq!(sale.client.post(&path, "key", &body, OPERATOR).await.1["code"], json!("not_captured"));
    sale.bench.send(&[other.capture()]).await.unwrap();
    sale.bench.answered(4).await;
    let (status, problem) = sale.client.post(&path, "key", &body, OPERATOR).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_invoiced")), "its invoice is not issued yet");
    assert_eq!(sale.bench.count("select count(*) from refund").await, 0);
}

#[tokio::test]
async fn all_that_is_left_goes_back_once_the_parts_have_and_the_answer_says_how_much() {
    let sale = Sale::with("tok_ok", HANDED_OVER_ONLY).await;
    sale.bench.provider.is(Mood::Holds(sale.order.refund_key(1)));
    assert_eq!(sale.refund("part", 500).await.0, 202);
    sale.bench.send(&[sale.order.refund()]).await.unwrap();
    assert_eq!(sale.bench.state(sale.order.id).await, "refunding");
    assert_eq!(sale.bench.count("select count(*) from intent").await, 1, "it waits for the part");
    assert_eq!(sale.refund("late", 1).await.1["code"], json!("refund_too_large"), "nothing is left for others");
    sale.bench.provider.is(Mood::Talks);
    let answers = sale.bench.answered(3).await;
    let BillingEvent::PaymentRefunded { amount, .. } = answers[2] else { panic!("{answers:?}") };
    assert_eq!((amount.amount, sale.bench.state(sale.order.id).await.as_str()), (790, "refunded"));
    assert_eq!(sale.settled().await, [(500, "refunded".to_owned()), (790, "refunded".to_owned())]);
    assert_eq!(sale.paid().await, 0, "net and VAT, to the last cent");
    sale.bench.send(&[sale.order.refund()]).await.unwrap();
    assert_eq!(sale.bench.answered(4).await[3], answers[2], "the stored answer, again");
    assert_eq!(sale.bench.provider.done().len(), 4, "authorized, captured, and returned twice");
}

#[tokio::test]
async fn a_refused_return_of_the_rest_waits_for_an_operator_and_then_has_a_key_of_its_own() {
    let sale = Sale::with("tok_refund_declined", WATCHFUL).await;
    sale.bench.send(&[sale.order.refund()]).await.unwrap();
    let parked = async || {
        let parked = sqlx::query_scalar("select parked from intent where attempt = 2 and parked is not null");
        parked.fetch_optional(&sale.bench.pool).await.unwrap()
    };
    let why: String = sale.bench.poll(parked).await;
    assert!(why.starts_with("the provider refuses to return the money: "), "{why}");
    sale.bench.send(&[sale.order.refund()]).await.unwrap();
    assert_eq!(sale.bench.answers().await.len(), 2, "it is in work");
    let resume = format!("/v1/payments/{}/resume", sale.order.id);
    assert_eq!(sale.client.send(Method::POST, &resume, OPERATOR).await.0, 202);
    // The card refuses each time; what counts is that it is asked anew, under the next key.
    sale.bench.poll(async || (sale.bench.count("select count(*) from refund").await == 3).then_some(())).await;
    let executed = [1, 2, 3].map(|number| sale.bench.provider.executed(&sale.order.refund_key(number)));
    assert_eq!(executed, [1, 1, 0]);
    assert_eq!((sale.paid().await, sale.bench.state(sale.order.id).await.as_str()), (1290, "refunding"));
}

//! What the provider says unasked: a hint that is verified, and asked about.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use billing::provider::Operation;
use billing::settle::Pace;
use contracts::OrderId;
use serde_json::{Value, json};
use sqlx::types::Uuid;
use standardwebhooks::Webhook;

use crate::bench::{Bench, HANDED_OVER_ONLY, Mood, Order};
use crate::http::{Client, SECRET};

const PATH: &str = "/v1/provider/webhooks";
/// A worker that would not ask again of itself within the test.
const PATIENT: Pace = Pace { call_timeout: Duration::from_secs(3_600), ..HANDED_OVER_ONLY };

/// A webhook about `key`, as the provider sends it.
#[derive(Debug, Clone)]
struct Hook {
    id: String,
    timestamp: i64,
    secret: &'static str,
    body: String,
}

impl Hook {
    fn about(key: &str) -> Self {
        let body = json!({ "type": "operation.decided", "timestamp": "2026-01-01T00:00:00Z", "data": { "key": key } });
        let id = format!("msg_{}", Uuid::now_v7());
        Self { id, timestamp: now(), secret: SECRET, body: body.to_string() }
    }

    async fn sent(&self, client: &Client) -> (u16, Value) {
        let signature =
            Webhook::new(self.secret).unwrap().sign(&self.id, self.timestamp, self.body.as_bytes()).unwrap();
        self.signed(client, &signature).await
    }

    async fn signed(&self, client: &Client, signature: &str) -> (u16, Value) {
        let request = Request::builder().method(Method::POST).uri(PATH).header("webhook-id", &self.id);
        let request = request.header("webhook-timestamp", self.timestamp).header("webhook-signature", signature);
        let (status, body) = client.request(request, None, Body::from(self.body.clone())).await;
        (status.as_u16(), body)
    }
}

fn now() -> i64 {
    service::clock::Clock::system().now().as_second()
}

/// An order whose authorization was made and whose answer does not come, and the API.
struct Unanswered {
    bench: Bench,
    client: Client,
    order: Order,
}

impl Unanswered {
    async fn new() -> Self {
        let bench = Bench::start(PATIENT).await;
        let client = Client::of(&bench);
        let order = Order::with("tok_ok");
        bench.provider.is(Mood::Loses(order.key(Operation::Authorize)));
        bench.send(&[order.authorize()]).await.unwrap();
        let key = order.key(Operation::Authorize);
        bench.poll(async || (bench.provider.executed(&key) > 0).then_some(())).await;
        assert_eq!(bench.answers().await, []);
        Self { bench, client, order }
    }

    fn hook(&self) -> Hook {
        Hook::about(self.order.key(Operation::Authorize).as_str())
    }

    fn asked(&self) -> u32 {
        self.bench.provider.asked(&self.order.key(Operation::Authorize))
    }
}

#[tokio::test]
async fn a_webhook_before_the_answer_has_the_provider_asked_and_settles_the_payment() {
    let shop = Unanswered::new().await;
    assert_eq!(shop.hook().sent(&shop.client).await.0, 204);
    assert_eq!(shop.bench.said(1).await, ["billing.payment-authorized.v1"]);
    let executed = shop.bench.provider.executed(&shop.order.key(Operation::Authorize));
    assert_eq!((executed, shop.asked()), (1, 1), "asked, not believed and not called again");
    // The answer comes after all, and changes nothing.
    shop.bench.provider.is(Mood::Talks);
    let later = Order::with("tok_ok");
    shop.bench.send(&[later.authorize()]).await.unwrap();
    shop.bench.answered(2).await;
    assert_eq!(shop.bench.count("select count(*) from ledger_entry").await, 2);
}

#[tokio::test]
async fn a_webhook_that_comes_twice_counts_once() {
    let shop = Unanswered::new().await;
    // The call itself goes on, or two unclear answers would put the intent off, each in its own time.
    shop.bench.provider.is(Mood::Forgets(shop.order.key(Operation::Authorize)));
    let hook = shop.hook();
    assert_eq!(hook.sent(&shop.client).await.0, 204);
    shop.bench.poll(async || (shop.asked() == 1).then_some(())).await;
    // What the provider said was unclear, and the intent is put off. For long, lest it comes back of itself. While it is
    // asked about, its lease is longer than that.
    let put_off = "with moved as (
        update intent set next_try_at = now() + interval '1 hour' where next_try_at <= now() + interval '5 minutes'
        returning 1
    ) select count(*) from moved";
    shop.bench.poll(async || (shop.bench.count(put_off).await == 1).then_some(())).await;
    let due = "select count(*) from intent where next_try_at <= now() + interval '5 minutes'";
    assert_eq!(hook.sent(&shop.client).await.0, 204, "the sender is content");
    assert_eq!(shop.bench.count(due).await, 0, "and nothing is due");
    // Another one about the same is a hint of its own.
    assert_eq!(shop.hook().sent(&shop.client).await.0, 204);
    shop.bench.poll(async || (shop.asked() > 1).then_some(())).await;
}

#[tokio::test]
async fn webhooks_out_of_order_and_about_what_is_settled_or_not_ours_change_nothing() {
    let bench = Bench::start(PATIENT).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    let keys = [Operation::Capture, Operation::Authorize, Operation::Void].map(|operation| order.key(operation));
    for key in &keys {
        assert_eq!(Hook::about(key.as_str()).sent(&client).await.0, 204, "before the order is known");
    }
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    bench.send(&[order.capture()]).await.unwrap();
    bench.answered(2).await;
    let others = [OrderId::mint().to_string(), format!("{}:refund:1", order.id), format!("{}:authorize:2", order.id)];
    let others = others.iter().map(String::as_str).chain(["", ":::", "x:authorize:1"]);
    for key in keys.iter().map(|key| key.as_str()).chain(others) {
        assert_eq!(Hook::about(key).sent(&client).await.0, 204, "{key}");
    }
    let mut of_another_kind = Hook::about(keys[0].as_str());
    of_another_kind.body = json!({ "type": "account.closed", "timestamp": "2026-01-01T00:00:00Z" }).to_string();
    assert_eq!(of_another_kind.sent(&client).await.0, 204);
    assert_eq!(bench.answers().await.len(), 2);
    assert_eq!(bench.count("select count(*) from ledger_entry").await, 2);
    assert!(keys.iter().all(|key| bench.provider.asked(key) == 0), "nobody was asked");
}

#[tokio::test]
async fn a_webhook_nobody_vouches_for_is_refused_and_has_no_effect() {
    let shop = Unanswered::new().await;
    let hook = shop.hook();
    let forged = Hook { secret: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", ..hook.clone() };
    let old = Hook { timestamp: now() - 301, ..hook.clone() };
    let early = Hook { timestamp: now() + 310, ..hook.clone() };
    let never = Hook { timestamp: i64::MIN, ..hook.clone() };
    for (what, refused) in [("forged", &forged), ("old", &old), ("early", &early), ("never", &never)] {
        let (status, problem) = refused.sent(&shop.client).await;
        assert_eq!((status, &problem["code"]), (401, &json!("invalid_signature")), "{what}");
    }
    let right = Webhook::new(SECRET).unwrap().sign(&hook.id, hook.timestamp, hook.body.as_bytes()).unwrap();
    let other_body =
        Hook { body: hook.body.replace(&shop.order.id.to_string(), &OrderId::mint().to_string()), ..hook.clone() };
    let other_id = Hook { id: "msg_other".to_owned(), ..hook.clone() };
    let later = Hook { timestamp: hook.timestamp + 1, ..hook.clone() };
    for changed in [&other_body, &other_id, &later] {
        assert_eq!(changed.signed(&shop.client, &right).await.0, 401, "{changed:?}");
    }
    for none in ["", "v1", "v1,", "v2,AAAA", "v1,AAAA v1,BBBB"] {
        assert_eq!(hook.signed(&shop.client, none).await.0, 401, "{none}");
    }
    let bare = Request::builder().method(Method::POST).uri(PATH);
    assert_eq!(shop.client.request(bare, None, Body::from(hook.body.clone())).await.0, 401);
    let large = Hook { body: "x".repeat(17 * 1024), ..hook.clone() };
    assert_eq!(large.sent(&shop.client).await.0, 413);
    let nonsense = Hook { body: "{".to_owned(), ..hook.clone() };
    assert_eq!(nonsense.sent(&shop.client).await.0, 400);
    assert_eq!((shop.asked(), shop.bench.answers().await.len()), (0, 0), "nothing came of it");
    // Of several signatures, as while a secret is changed, one is enough.
    assert_eq!(hook.signed(&shop.client, &format!("v1,AAAA {right}")).await.0, 204);
    shop.bench.answered(1).await;
}

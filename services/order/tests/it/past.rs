//! An order as it was, and all that was written down about it.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use contracts::{CustomerId, OrderId, ShipmentId, billing::BillingCommand, inventory::InventoryCommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use web::access::Principal;

use super::bench::{Bench, Checkout};

impl Bench {
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = self.request(&Principal::Customer(self.customer), &format!("/v1/orders/{path}"));
        let answer = self.call(request.body(Body::empty()).unwrap()).await;
        (answer.status, answer.body)
    }

    /// The order as its customer sees it.
    pub(super) async fn view(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// An order that is confirmed, wanted no more, shipped all the same, and its cancellation refused; what its customer
    /// saw after each step.
    async fn life(&self) -> (Checkout, Vec<Value>) {
        let checkout = self.order().await;
        let id = checkout.order.to_string();
        let mut seen = vec![self.view(&id).await];
        let capture = self.capturing(&checkout).await;
        self.answers(vec![checkout.captured(capture)]).await.unwrap();
        seen.push(self.view(&id).await);
        self.answers(vec![checkout.shipped(ShipmentId::mint(), false)]).await.unwrap();
        seen.push(self.view(&id).await);
        self.answers(vec![checkout.shipped(ShipmentId::mint(), true)]).await.unwrap();
        seen.push(self.view(&id).await);
        (checkout, seen)
    }
}

#[tokio::test]
async fn each_version_and_each_instant_shows_what_was_seen_then() {
    let bench = Bench::new().await;
    let (checkout, seen) = bench.life().await;
    let id = checkout.order;
    let statuses: Vec<&str> = seen.iter().map(|view| view["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["pending", "confirmed", "partly_shipped", "shipped"]);
    let mut until: Option<Timestamp> = None;
    for (place, view) in seen.iter().enumerate().rev() {
        let version = place + 1;
        assert_eq!(&bench.view(&format!("{id}?version={version}")).await, view);
        let from: Timestamp = view["updated_at"].as_str().unwrap().parse().unwrap();
        let last = until.map_or(from + SignedDuration::from_hours(24), |next| next - SignedDuration::from_nanos(1));
        for instant in [from, last] {
            assert_eq!(&bench.view(&format!("{id}?as_of={instant}")).await, view, "{instant}");
        }
        until = Some(from);
    }
    let before = until.unwrap() - SignedDuration::from_nanos(1);
    for path in [format!("{id}?as_of={before}"), format!("{id}?version=5"), format!("{id}?version=4294967295")] {
        let (status, body) = bench.get(&path).await;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("order_not_found")), "{path}");
    }
}

/// That somebody wants it cancelled is no event of the order, and is seen from then on all the same.
#[tokio::test]
async fn a_cancel_is_seen_from_when_it_was_wanted() {
    let bench = Bench::new().await;
    let checkout = bench.confirmed().await;
    let id = checkout.order;
    let confirmed = bench.view(&id.to_string()).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let between = Timestamp::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let cancel = bench.request(&Principal::Operator, &format!("/v1/orders/{id}/cancellation")).method(Method::POST);
    let requested = bench.call(cancel.body(Body::empty()).unwrap()).await.body;
    assert_eq!(requested["cancellation"], "requested");
    let sent = bench.sent().await;
    let InventoryCommand::ReclaimStock { command: reclaim, .. } = sent.one() else { panic!("reclaim") };
    assert_eq!(bench.view(&id.to_string()).await, requested);
    assert_eq!(bench.view(&format!("{id}?as_of={between}")).await, confirmed);
    assert_eq!(bench.view(&format!("{id}?version=2")).await, confirmed, "as of that event");
    let now = Timestamp::now();
    bench.answers(vec![checkout.reclaimed(reclaim)]).await.unwrap();
    let BillingCommand::RefundPayment { command: refund, .. } = bench.sent().await.one() else { panic!("refund") };
    bench.answers(vec![checkout.refunded(refund)]).await.unwrap();
    assert_eq!(bench.view(&format!("{id}?as_of={now}")).await, requested);
    let cancelled = bench.view(&id.to_string()).await;
    assert_eq!((&cancelled["status"], cancelled.get("cancellation")), (&json!("cancelled"), None));
}

/// That somebody wants it cancelled changes the order without a new version of it.
#[tokio::test]
async fn an_order_that_the_client_has_is_not_sent_again() {
    let bench = Bench::new().await;
    let checkout = bench.confirmed().await;
    let id = checkout.order;
    let ask = async |path: &str, known: &str| {
        let request = bench.request(&Principal::Customer(bench.customer), &format!("/v1/orders/{path}"));
        let answer = bench.call(request.header("if-none-match", known).body(Body::empty()).unwrap()).await;
        (answer.status.as_u16(), answer.headers["etag"].to_str().unwrap().to_owned(), answer.bytes.len())
    };
    let (status, tag, _) = ask(&id.to_string(), "\"other\"").await;
    assert_eq!(status, 200);
    assert_eq!(ask(&id.to_string(), &tag).await, (304, tag.clone(), 0));
    let cancel = bench.request(&Principal::Operator, &format!("/v1/orders/{id}/cancellation")).method(Method::POST);
    assert_eq!(bench.call(cancel.body(Body::empty()).unwrap()).await.body["version"], 2);
    let (status, wanted_no_more, _) = ask(&id.to_string(), &tag).await;
    assert_eq!((status, wanted_no_more == tag), (200, false));
    assert_eq!(ask(&format!("{id}?version=2"), &tag).await, (304, tag, 0), "as it was");
}

#[tokio::test]
async fn a_moment_that_is_none_is_refused() {
    let bench = Bench::new().await;
    let id = bench.order().await.order;
    for query in [
        "as_of=yesterday",
        "as_of=",
        "as_of=2026-13-01T00:00:00Z",
        "as_of=2026-11-25T10:00:00",
        "as_of=1764061200",
        "version=0",
        "version=-1",
        "version=1.5",
        "version=4294967296",
        "version=",
        "as_of=2026-11-25T10:00:00Z&version=1",
        "asof=2026-11-25T10:00:00Z",
    ] {
        let (status, body) = bench.get(&format!("{id}?{query}")).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_query")), "{query}: {body}");
    }
    for path in [format!("{id}?version=1"), format!("{id}/events")] {
        let stranger = bench.request(&Principal::Customer(CustomerId::mint()), &format!("/v1/orders/{path}"));
        assert_eq!(bench.call(stranger.body(Body::empty()).unwrap()).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(bench.get(&format!("{}/events", OrderId::mint())).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_events_of_an_order_stand_between_what_led_to_them() {
    let bench = Bench::new().await;
    let (checkout, _) = bench.life().await;
    let list = bench.view(&format!("{}/events", checkout.order)).await;
    let entries = list["data"].as_array().unwrap();
    let told: Vec<String> = entries.iter().map(tell).collect();
    assert_eq!(
        told,
        [
            "order:1 order.placed.v2",
            "checkout:1 asked hold-stock:do:1",
            "checkout:2 asked authorize-payment:do:1",
            "checkout:3 done hold-stock:do:1",
            "checkout:4 done authorize-payment:do:1",
            "checkout:5 asked capture-payment:do:1",
            "checkout:6 done capture-payment:do:1",
            "checkout:7 completed ",
            "order:2 order.confirmed.v1",
            "order:3 order.shipped.v1",
            "order:4 order.shipped.v1",
        ]
    );
    assert_eq!((&list["has_more"], &list["next_cursor"]), (&json!(false), &Value::Null));
    assert!(!list.to_string().contains("tok_secret"));

    for size in [1, 2, 3, 10, 11] {
        let (mut pages, mut next) = (Vec::new(), String::new());
        loop {
            let page = bench.view(&format!("{}/events?limit={size}{next}", checkout.order)).await;
            pages.extend(page["data"].as_array().unwrap().clone());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            assert_eq!(page["data"].as_array().unwrap().len(), size);
            next = format!("&cursor={cursor}");
        }
        assert_eq!(&pages, entries, "in pages of {size}");
    }
    for query in ["limit=0", "limit=101", "cursor=1", "cursor=1.2", "cursor=a.b.c", "cursor=1.2.3.4"] {
        let (status, body) = bench.get(&format!("{}/events?{query}", checkout.order)).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_query")), "{query}");
    }
}

/// An entry in a few words.
fn tell(entry: &Value) -> String {
    let key = entry["key"].as_str().unwrap();
    match entry.get("event") {
        Some(event) => format!("{key} {}", event["type"].as_str().unwrap()),
        None => {
            let step = &entry["step"];
            let command = step["command"].as_str().map_or("", |command| command.split_once(':').unwrap().1);
            format!("{key} {} {command}", step["word"].as_str().unwrap())
        }
    }
}

//! What happens when somebody wants an order cancelled, at each of its moments.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use contracts::{
    CommandId, CustomerId, OrderId, ShipmentId,
    billing::BillingCommand,
    inventory::InventoryCommand,
    order::{CancelReason, OrderEvent},
};
use futures::future::join_all;
use messaging::HandleError;
use serde_json::json;
use web::access::Principal;

use super::{
    bench::{Bench, Checkout},
    http::Answer,
};
use crate::order::Status;

const REQUESTED: Status = Status::Cancelled(CancelReason::Requested);

impl Bench {
    async fn cancel_as(&self, principal: &Principal, order: OrderId) -> Answer {
        let request = self.request(principal, &format!("/v1/orders/{order}/cancellation")).method(Method::POST);
        self.call(request.body(Body::empty()).unwrap()).await
    }

    /// The customer cancels, and is told that it is under way or done.
    async fn cancel(&self, order: OrderId) -> Answer {
        let answer = self.cancel_as(&Principal::Customer(self.customer), order).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        assert_eq!(answer.body["id"], order.to_string());
        answer
    }

    async fn cancel_too_late(&self, order: OrderId) {
        let answer = self.cancel_as(&Principal::Customer(self.customer), order).await;
        assert_eq!((answer.status, &answer.body["code"]), (StatusCode::CONFLICT, &json!("order_shipped")));
        assert!(self.sent().await.kinds().is_empty());
    }

    /// The cancellation of a confirmed order begins. Gives the command that asks inventory.
    async fn reclaiming(&self, checkout: &Checkout) -> CommandId {
        assert_eq!(self.cancel(checkout.order).await.body["cancellation"], "requested");
        let sent = self.sent().await;
        assert_eq!(sent.kinds(), ["inventory.reclaim-stock.v1"]);
        let InventoryCommand::ReclaimStock { command, order } = sent.one() else { panic!("reclaim") };
        assert_eq!(order, checkout.order);
        command
    }

    /// Inventory has given the stock back. Gives the command that has the money given back.
    async fn refunding(&self, checkout: &Checkout, reclaim: CommandId) -> CommandId {
        self.answers(vec![checkout.reclaimed(reclaim)]).await.unwrap();
        let sent = self.sent().await;
        assert_eq!(sent.kinds(), ["billing.refund-payment.v1"], "the order is not cancelled yet");
        let BillingCommand::RefundPayment { command, .. } = sent.one() else { panic!("refund") };
        command
    }
}

#[tokio::test]
async fn before_its_money_is_asked_for_the_checkout_turns() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    bench.answers(vec![checkout.held()]).await.unwrap();

    let answer = bench.cancel(checkout.order).await;
    assert_eq!((&answer.body["status"], &answer.body["cancellation"]), (&json!("pending"), &json!("requested")));
    let sent = bench.sent().await;
    assert_eq!(sent.kinds(), ["inventory.release-stock.v1", "billing.void-payment.v1"]);
    let kept = "select count(*) from saga where instance::text like '%tok_secret%'";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(bench.db()).await.unwrap();
    assert_eq!(kept, 0, "nobody needs the token any more, though its authorization is not known");
    bench.cancel(checkout.order).await;
    assert!(bench.sent().await.kinds().is_empty(), "to want it twice is to want it once");

    let InventoryCommand::ReleaseStock { command: release, .. } = sent.one() else { panic!("release") };
    let BillingCommand::VoidPayment { command: void, .. } = sent.one() else { panic!("void") };
    bench.answers(vec![checkout.released(release), checkout.voided(void)]).await.unwrap();
    assert_eq!(bench.show(checkout.order).await.status, REQUESTED);
    let answer = bench.cancel(checkout.order).await;
    assert_eq!((&answer.body["status"], &answer.body["cancellation"]), (&json!("cancelled"), &json!(null)));
    assert_eq!(bench.events(checkout.order).await.len(), 2);
}

#[tokio::test]
async fn while_its_money_is_taken_it_waits_and_is_never_confirmed() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    let capture = bench.capturing(&checkout).await;
    assert_eq!(bench.cancel(checkout.order).await.body["cancellation"], "requested");
    assert!(bench.sent().await.kinds().is_empty(), "what is asked for is asked for");

    bench.answers(vec![checkout.captured(capture.clone())]).await.unwrap();
    let sent = bench.sent().await;
    assert_eq!(sent.kinds(), ["inventory.reclaim-stock.v1"], "and not confirmed");
    let InventoryCommand::ReclaimStock { command: reclaim, .. } = sent.one() else { panic!("reclaim") };
    assert_eq!(bench.cancel(checkout.order).await.body["status"], "pending");
    let refund = bench.refunding(&checkout, reclaim).await;
    bench.answers(vec![checkout.captured(capture), checkout.refunded(refund)]).await.unwrap();
    assert_eq!(bench.sent().await.kinds(), ["order.cancelled.v1"]);
    assert_eq!(bench.show(checkout.order).await.status, REQUESTED);
}

#[tokio::test]
async fn a_capture_that_is_refused_decides_before_the_cancel_does() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    let capture = bench.capturing(&checkout).await;
    bench.cancel(checkout.order).await;
    bench.answers(vec![checkout.capture_refused(capture)]).await.unwrap();
    let sent = bench.sent().await;
    assert_eq!(sent.kinds(), ["inventory.release-stock.v1", "billing.void-payment.v1"]);
    let InventoryCommand::ReleaseStock { command: release, .. } = sent.one() else { panic!("release") };
    let BillingCommand::VoidPayment { command: void, .. } = sent.one() else { panic!("void") };
    bench.answers(vec![checkout.released(release), checkout.voided(void)]).await.unwrap();
    let expired = CancelReason::PaymentDeclined { decline_code: "expired".into() };
    assert_eq!(bench.show(checkout.order).await.status, Status::Cancelled(expired));
    assert_eq!(bench.count("saga").await, 1, "no cancellation was needed");
}

#[tokio::test]
async fn a_confirmed_order_gives_stock_then_money_back() {
    let bench = Bench::new().await;
    let checkout = bench.confirmed().await;
    let reclaim = bench.reclaiming(&checkout).await;
    bench.cancel(checkout.order).await;
    assert!(bench.sent().await.kinds().is_empty(), "to want it twice is to want it once");
    let refund = bench.refunding(&checkout, reclaim.clone()).await;

    // The same answers again, as new messages.
    bench.answers(vec![checkout.reclaimed(reclaim)]).await.unwrap();
    bench.answers(vec![checkout.refunded(refund.clone()), checkout.refunded(refund)]).await.unwrap();
    assert_eq!(bench.sent().await.kinds(), ["order.cancelled.v1"]);
    let events = bench.events(checkout.order).await;
    assert!(matches!(events[..], [_, OrderEvent::Confirmed { .. }, OrderEvent::Cancelled { version: 3, .. }]));
    assert_eq!(bench.cancel(checkout.order).await.body["status"], "cancelled");
}

#[tokio::test]
async fn what_left_first_decides_and_the_order_goes_on() {
    let bench = Bench::new().await;
    let checkout = bench.confirmed().await;
    let reclaim = bench.reclaiming(&checkout).await;
    let (first, second) = (ShipmentId::mint(), ShipmentId::mint());

    // The shipment was on its way to us when the customer cancelled.
    let refused = checkout.reclaim_refused(reclaim);
    bench.answers(vec![checkout.shipped(first, false), refused]).await.unwrap();
    assert_eq!(bench.sent().await.kinds(), ["order.shipped.v1", "order.cancellation-refused.v1"]);
    let order = bench.show(checkout.order).await;
    assert_eq!((order.status, order.cancellation_refused), (Status::PartlyShipped, true));
    bench.cancel_too_late(checkout.order).await;

    // The rest, and both once more: said again by inventory, as new messages.
    bench.answers(vec![checkout.shipped(second, true), checkout.shipped(first, false)]).await.unwrap();
    bench.answers(vec![checkout.shipped(second, true)]).await.unwrap();
    assert_eq!(bench.sent().await.kinds(), ["order.shipped.v1"]);
    let order = bench.show(checkout.order).await;
    assert_eq!((order.status, order.shipments), (Status::Shipped, vec![first, second]));
    assert_eq!(bench.events(checkout.order).await.len(), 5);
}

#[tokio::test]
async fn after_a_shipment_it_is_too_late() {
    let bench = Bench::new().await;
    let (partly, fully) = (bench.confirmed().await, bench.confirmed().await);
    let shipments = vec![partly.shipped(ShipmentId::mint(), false), fully.shipped(ShipmentId::mint(), true)];
    bench.answers(shipments).await.unwrap();
    assert_eq!(bench.sent().await.kinds(), ["order.shipped.v1"; 2]);
    for (checkout, status) in [(partly, Status::PartlyShipped), (fully, Status::Shipped)] {
        bench.cancel_too_late(checkout.order).await;
        assert_eq!(bench.show(checkout.order).await.status, status);
    }
    assert_eq!(bench.count("saga").await, 2, "no cancellation has begun");
}

#[tokio::test]
async fn an_order_that_was_cancelled_for_another_reason_stays_so() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    bench.answers(vec![checkout.out_of_stock(), checkout.declined()]).await.unwrap();
    let BillingCommand::VoidPayment { command, .. } = bench.sent().await.one() else { panic!("void") };
    bench.answers(vec![checkout.voided(command)]).await.unwrap();
    bench.sent().await;
    let answer = bench.cancel(checkout.order).await;
    assert_eq!(answer.body["cancel_reason"]["code"], "out_of_stock");
    assert!(bench.sent().await.kinds().is_empty());
}

#[tokio::test]
async fn only_its_customer_and_operators_may_cancel() {
    let bench = Bench::new().await;
    let checkout = bench.confirmed().await;
    let stranger = bench.cancel_as(&Principal::Customer(CustomerId::mint()), checkout.order).await;
    assert_eq!((stranger.status, &stranger.body["code"]), (StatusCode::NOT_FOUND, &json!("order_not_found")));
    let unknown = bench.cancel_as(&Principal::Operator, OrderId::mint()).await;
    assert_eq!((unknown.status, &unknown.body["code"]), (StatusCode::NOT_FOUND, &json!("order_not_found")));
    assert!(bench.sent().await.kinds().is_empty());
    assert_eq!(bench.cancel_as(&Principal::Operator, checkout.order).await.status, StatusCode::ACCEPTED);
    assert_eq!(bench.sent().await.kinds(), ["inventory.reclaim-stock.v1"]);
}

/// Twenty at once, and the answer that makes the order confirmed among them: one cancellation, whoever comes first.
#[tokio::test]
async fn twenty_at_once_are_one_cancellation() {
    let bench = Bench::new().await;
    let confirmed = bench.confirmed().await;
    let racing = bench.order().await;
    let capture = bench.capturing(&racing).await;
    let captured = bench.batch(vec![racing.captured(capture)]).await;
    let answers = crate::answers::Answers(bench.app.clone());
    let cancels = (0..20).map(|_| async {
        bench.cancel(confirmed.order).await;
        bench.cancel(racing.order).await;
    });
    let (taken, _) = tokio::join!(messaging::Handler::handle(&answers, &captured), join_all(cancels));
    taken.unwrap();
    let sent = bench.sent().await;
    let reclaims = sent.kinds().iter().filter(|kind| **kind == "inventory.reclaim-stock.v1").count();
    assert_eq!((reclaims, bench.count("saga").await), (2, 4), "{:?}", sent.kinds());
}

#[tokio::test]
async fn what_cannot_be_is_the_messages_fault() {
    let bench = Bench::new().await;
    let (pending, confirmed) = (bench.order().await, bench.confirmed().await);
    let reclaim = bench.reclaiming(&confirmed).await;
    let to_the_wrong_kind = confirmed.released(reclaim.clone());
    let guilty = to_the_wrong_kind.id;
    let refused = bench.answers(vec![to_the_wrong_kind]).await;
    assert!(matches!(refused, Err(HandleError::ThisMessage { id, .. }) if id == guilty), "{refused:?}");
    for impossible in [
        vec![pending.shipped(ShipmentId::mint(), false)],
        vec![Checkout { order: OrderId::mint(), ..pending }.shipped(ShipmentId::mint(), true)],
    ] {
        let refused = bench.answers(impossible).await;
        assert!(matches!(refused, Err(HandleError::Message(_))), "{refused:?}");
    }
    assert!(bench.sent().await.kinds().is_empty(), "nothing of a refused batch is done");
    bench.refunding(&confirmed, reclaim).await;
}

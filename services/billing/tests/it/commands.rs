//! What arrives on `billing.commands`.

use billing::provider::Operation;
use contracts::billing::{BillingEvent, PaymentRefusal};
use messaging::HandleError;
use sqlx::types::Uuid;

use crate::bench::{Bench, HANDED_OVER_ONLY, Mood, Order, PRICE, record};

#[tokio::test]
async fn an_order_is_authorized_and_captured_and_the_books_balance() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_ok");
    bench.send(&[order.authorize()]).await.unwrap();
    assert_eq!(bench.said(1).await, ["billing.payment-authorized.v1"]);
    assert_eq!(bench.balances().await, [("memo_authorized", 12_90), ("memo_customers", -12_90)], "no money has moved");
    bench.send(&[order.capture()]).await.unwrap();
    let answers = bench.answered(2).await;
    assert!(matches!(answers[1], BillingEvent::PaymentCaptured { amount: PRICE, .. }), "{answers:?}");
    assert_eq!(bench.state(order.id).await, "captured");

    let paid = [("provider_fees", 18), ("provider_receivable", 12_72), ("sales", -10_84), ("vat_payable", -2_06)];
    assert_eq!(bench.balances().await, paid);
    assert_eq!(bench.count("select count(*) from intent").await, 0);
}

#[tokio::test]
async fn a_declined_card_is_refused_and_a_void_of_it_is_answered_at_once() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_authorize_declined");
    bench.send(&[order.authorize()]).await.unwrap();
    let answers = bench.answered(1).await;
    let BillingEvent::PaymentRefused { reason: PaymentRefusal::Declined { decline_code }, .. } = &answers[0] else {
        panic!("{answers:?}")
    };
    assert_eq!(decline_code, "card_declined");
    bench.send(&[order.void()]).await.unwrap();
    assert_eq!(bench.said(2).await[1], "billing.payment-voided.v1");
    assert_eq!(bench.state(order.id).await, "refused");
    assert_eq!(bench.provider.executed(&order.key(Operation::Void)), 0, "there is nothing to void");
}

#[tokio::test]
async fn a_refused_capture_leaves_the_authorization_to_be_voided() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_capture_declined");
    for (command, count) in [(order.authorize(), 1), (order.capture(), 2), (order.void(), 3)] {
        bench.send(&[command]).await.unwrap();
        bench.answered(count).await;
    }
    let said = ["billing.payment-authorized.v1", "billing.capture-refused.v1", "billing.payment-voided.v1"];
    assert_eq!(bench.said(3).await, said);
    assert_eq!(bench.provider.executed(&order.key(Operation::Void)), 1);
    assert_eq!(bench.balances().await, [], "what was set aside is free again");
    let refusals =
        "select count(*) from payment_outcome where operation = 'capture' and decline_code = 'card_declined'";
    assert_eq!(bench.count(refusals).await, 1);
}

#[tokio::test]
async fn an_authorization_that_comes_after_its_void_is_refused() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_ok");
    bench.send(&[order.void()]).await.unwrap();
    bench.send(&[order.authorize()]).await.unwrap();
    let answers = bench.answered(2).await;
    assert!(matches!(answers[0], BillingEvent::PaymentVoided { .. }), "{answers:?}");
    let refused = matches!(&answers[1], BillingEvent::PaymentRefused { reason: PaymentRefusal::Voided, .. });
    assert!(refused, "{answers:?}");
    assert_eq!((bench.state(order.id).await.as_str(), bench.provider.keys()), ("tombstone", 0));
}

#[tokio::test]
async fn a_whole_batch_is_one_transaction_for_many_orders() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let orders: Vec<Order> = (0..200).map(|_| Order::with("tok_ok")).collect();
    // In one batch: each is authorized, and the first half voided while the authorization has not even been called.
    let mut batch: Vec<_> = orders.iter().map(Order::authorize).collect();
    batch.extend(orders[..100].iter().map(Order::void));
    bench.send(&batch).await.unwrap();
    bench.answered(300).await;
    bench.send(&orders[100..].iter().map(Order::capture).collect::<Vec<_>>()).await.unwrap();
    bench.answered(400).await;
    assert_eq!(bench.count("select count(*) from payment where state = 'voided'").await, 100);
    assert_eq!(bench.count("select count(*) from payment where state = 'captured'").await, 100);
    assert_eq!(bench.count("select count(*) from ledger_entry where kind = 'capture'").await, 100);
    assert_eq!(bench.count("select count(*) from ledger_entry where kind = 'release'").await, 100);
    assert_eq!(bench.balances().await[2..], [("sales", -100 * 10_84), ("vat_payable", -100 * 2_06)]);
}

#[tokio::test]
async fn commands_and_outcomes_that_meet_lose_nothing() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let orders: Vec<Order> = (0..400).map(|_| Order::with("tok_ok")).collect();
    bench.send(&orders.iter().map(Order::authorize).collect::<Vec<_>>()).await.unwrap();
    // The outcomes of the authorizations are being booked meanwhile.
    for some in orders.chunks(20) {
        bench.send(&some.iter().map(Order::void).collect::<Vec<_>>()).await.unwrap();
    }
    bench.answered(800).await;
    assert_eq!(bench.count("select count(*) from payment where state = 'voided'").await, 400);
}

#[tokio::test]
async fn a_message_seen_before_does_nothing_and_a_known_command_is_answered_again() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_ok");
    let message = record(&order.authorize(), Uuid::now_v7());
    bench.introduce(&[order.customer]).await;
    bench.handle(&bench.batch(vec![message.clone(), message.clone()])).await.unwrap();
    let first = bench.answered(1).await;
    bench.handle(&bench.batch(vec![message])).await.unwrap();
    bench.send(&[order.authorize()]).await.unwrap();
    let both = bench.answered(2).await;
    assert_eq!(both[0], first[0]);
    assert_eq!(both[1], first[0], "the stored answer, in a message of its own");
    assert_eq!(bench.count("select count(distinct id) from outbox").await, 2);
    assert_eq!(bench.provider.executed(&order.key(Operation::Authorize)), 1);
}

#[tokio::test]
async fn a_command_in_work_is_answered_once_however_often_it_comes() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_ok");
    bench.provider.is(Mood::Holds(order.key(Operation::Authorize)));
    for _ in 0..3 {
        bench.send(&[order.authorize(), order.void()]).await.unwrap();
    }
    assert_eq!(bench.answers().await, []);
    bench.provider.is(Mood::Talks);
    assert_eq!(bench.said(2).await, ["billing.payment-authorized.v1", "billing.payment-voided.v1"]);
}

#[tokio::test]
async fn a_batch_that_was_done_is_fenced_and_changes_nothing() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let (done, late) = (Order::with("tok_ok"), Order::with("tok_ok"));
    let zombie = bench.batch(vec![record(&late.authorize(), Uuid::now_v7())]);
    bench.send(&[done.authorize()]).await.unwrap();
    let fenced = bench.handle(&zombie).await;
    assert!(matches!(fenced, Err(HandleError::Fenced)), "{fenced:?}");
    bench.answered(1).await;
    assert_eq!(bench.count("select count(*) from payment").await, 1);
    assert_eq!(bench.provider.executed(&late.key(Operation::Authorize)), 0);
}

#[tokio::test]
async fn a_message_at_fault_leaves_nothing_of_its_batch() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let (good, bad) = (Order::with("tok_ok"), Order::with("tok_ok"));
    let impossible = bench.send(&[good.authorize(), bad.capture()]).await;
    assert!(matches!(impossible, Err(HandleError::ThisMessage { .. })), "{impossible:?}");
    let mut unreadable = record(&good.authorize(), Uuid::now_v7());
    unreadable.payload = b"{}".to_vec();
    let guilty = unreadable.id;
    let unreadable = bench.handle(&bench.batch(vec![unreadable])).await;
    assert!(matches!(unreadable, Err(HandleError::ThisMessage { id, .. }) if id == guilty), "{unreadable:?}");
    assert_eq!(bench.count("select count(*) from payment").await, 0);
    assert_eq!(bench.count("select sum(next_offset)::bigint from consumer_offset").await, 0);
    bench.send(&[good.authorize()]).await.unwrap();
    bench.answered(1).await;
}

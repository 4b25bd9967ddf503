//! Answers move the saga: forward, back, and never twice.

use contracts::{
    billing::BillingCommand,
    inventory::InventoryCommand,
    order::{CancelReason, OrderEvent},
};
use messaging::HandleError;
use uuid::Uuid;

use super::bench::Bench;
use crate::order::Status;

#[tokio::test]
async fn held_and_paid_is_confirmed() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;

    bench.answers(vec![checkout.authorized()]).await.unwrap();
    assert!(bench.sent().await.kinds().is_empty(), "the stock is not held yet");
    bench.answers(vec![checkout.held()]).await.unwrap();
    let BillingCommand::CapturePayment { command, .. } = bench.sent().await.one() else { panic!("then capture") };
    bench.answers(vec![checkout.captured(command)]).await.unwrap();

    assert_eq!(bench.sent().await.kinds(), ["order.confirmed.v1"]);
    assert_eq!(bench.show(checkout.order).await.status, Status::Confirmed);
    assert_eq!(bench.events(checkout.order).await.len(), 2);
}

#[tokio::test]
async fn a_declined_card_releases_the_held_stock() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;

    bench.answers(vec![checkout.held(), checkout.declined()]).await.unwrap();
    let sent = bench.sent().await;
    assert_eq!(sent.kinds(), ["inventory.release-stock.v1"], "the payment was refused: there is nothing to void");
    assert_eq!(bench.show(checkout.order).await.status, Status::Pending, "cancelled only once all is undone");
    let InventoryCommand::ReleaseStock { command, .. } = sent.one() else { panic!("release") };
    bench.answers(vec![checkout.released(command)]).await.unwrap();

    assert_eq!(bench.sent().await.kinds(), ["order.cancelled.v1"]);
    let declined = CancelReason::PaymentDeclined { decline_code: "card_declined".into() };
    assert_eq!(bench.show(checkout.order).await.status, Status::Cancelled(declined));
    assert_eq!(bench.events(checkout.order).await.len(), 2);
}

#[tokio::test]
async fn out_of_stock_voids_the_authorization_even_before_it_is_known() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;

    bench.answers(vec![checkout.out_of_stock()]).await.unwrap();
    let BillingCommand::VoidPayment { command, .. } = bench.sent().await.one() else { panic!("void") };
    bench.answers(vec![checkout.authorized()]).await.unwrap();
    assert!(bench.sent().await.kinds().is_empty(), "a late authorization changes nothing: its void is under way");
    bench.answers(vec![checkout.voided(command)]).await.unwrap();

    let short = CancelReason::OutOfStock { sku: "MUG".parse().unwrap() };
    assert_eq!(bench.show(checkout.order).await.status, Status::Cancelled(short));
}

#[tokio::test]
async fn a_refused_capture_undoes_both() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;

    bench.answers(vec![checkout.held(), checkout.authorized()]).await.unwrap();
    let BillingCommand::CapturePayment { command, .. } = bench.sent().await.one() else { panic!("capture") };
    bench.answers(vec![checkout.capture_refused(command)]).await.unwrap();
    let sent = bench.sent().await;
    assert_eq!(sent.kinds(), ["inventory.release-stock.v1", "billing.void-payment.v1"]);
    let InventoryCommand::ReleaseStock { command: release, .. } = sent.one() else { panic!("release") };
    let BillingCommand::VoidPayment { command: void, .. } = sent.one() else { panic!("void") };
    bench.answers(vec![checkout.voided(void), checkout.released(release)]).await.unwrap();

    let expired = CancelReason::PaymentDeclined { decline_code: "expired".into() };
    assert_eq!(bench.show(checkout.order).await.status, Status::Cancelled(expired));
}

#[tokio::test]
async fn a_message_or_an_answer_that_comes_twice_counts_once() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    let held = checkout.held();
    bench.answers(vec![held.clone(), checkout.authorized(), held.clone()]).await.unwrap();
    let BillingCommand::CapturePayment { command, .. } = bench.sent().await.one() else { panic!("capture") };
    let captured = checkout.captured(command.clone());
    bench.answers(vec![captured.clone()]).await.unwrap();
    assert_eq!(bench.sent().await.kinds(), ["order.confirmed.v1"]);

    // The same messages again, then the same answers as new messages.
    bench.answers(vec![held, captured]).await.unwrap();
    bench.answers(vec![checkout.held(), checkout.authorized(), checkout.captured(command)]).await.unwrap();
    assert!(bench.sent().await.kinds().is_empty(), "nothing is said twice");
    assert_eq!(bench.events(checkout.order).await.len(), 2);
}

#[tokio::test]
async fn a_batch_that_was_done_by_another_leaves_no_trace() {
    let bench = Bench::new().await;
    let (one, other) = (bench.order().await, bench.order().await);
    let stale = bench.batch(vec![other.held(), other.declined()]).await;
    bench.answers(vec![one.held(), one.declined()]).await.unwrap();
    bench.sent().await;

    let answers = crate::answers::Answers(bench.app.clone());
    let refused = messaging::Handler::handle(&answers, &stale).await;
    assert!(matches!(refused, Err(HandleError::Fenced)), "{refused:?}");
    assert!(bench.sent().await.kinds().is_empty());
    assert_eq!(bench.count("inbox").await, 4, "two products, two answers");
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_the_messages_fault() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    let command = |text: String| text.try_into().unwrap();
    let saga = checkout.hold.as_str().split(':').next().unwrap();
    for impossible in [
        checkout.released(command(format!("{}:hold-stock:undo:1", Uuid::now_v7()))), // of no saga
        checkout.released(command(format!("{saga}:hold-stock:undo:1"))),             // never asked
        checkout.captured(command(format!("{saga}:gift-wrap:do:1"))),                // no such step
        checkout.captured(command("nonsense".to_owned())),
        garbage(checkout.held()),
    ] {
        let guilty = impossible.id;
        let refused = bench.answers(vec![checkout.held(), impossible]).await;
        assert!(matches!(refused, Err(HandleError::ThisMessage { id, .. }) if id == guilty), "{refused:?}");
    }
    assert!(bench.sent().await.kinds().is_empty(), "nothing of a refused batch is done");
    bench.answers(vec![checkout.held(), checkout.authorized()]).await.unwrap();
    assert_eq!(bench.sent().await.kinds(), ["billing.capture-payment.v1"]);
}

#[tokio::test]
async fn two_hundred_orders_share_one_transaction() {
    let bench = Bench::new().await;
    let mut checkouts = Vec::new();
    for _ in 0..200 {
        checkouts.push(bench.order().await);
    }
    let records = checkouts.iter().flat_map(|checkout| [checkout.held(), checkout.declined()]).collect();
    bench.answers(records).await.unwrap();
    assert_eq!(bench.sent().await.kinds(), vec!["inventory.release-stock.v1"; 200]);
}

#[tokio::test]
async fn the_payment_token_is_gone_once_the_payment_is_settled() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    let kept = "select count(*) from saga where instance::text like '%tok_secret%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(kept).fetch_one(bench.db()).await.unwrap(), 1, "kept while needed");

    bench.answers(vec![checkout.authorized()]).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(kept).fetch_one(bench.db()).await.unwrap(), 0);
    let told = "select count(*) from outbox where topic <> 'billing.commands' and payload like '%tok_secret%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(told).fetch_one(bench.db()).await.unwrap(), 0, "in no event");
    let logged = "select count(*) from saga_log where entries::text like '%tok_secret%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(logged).fetch_one(bench.db()).await.unwrap(), 0, "in no log");
}

fn garbage(mut record: messaging::Record) -> messaging::Record {
    record.payload = b"{".to_vec();
    record
}

/// Events are numbered by the order, and a reader may rely on it.
#[tokio::test]
async fn every_event_that_is_stored_is_published_once_and_in_order() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    bench.answers(vec![checkout.out_of_stock(), checkout.declined()]).await.unwrap();
    // The first refusal turned the saga before the second was known, so the payment is voided all the same.
    let BillingCommand::VoidPayment { command, .. } = bench.sent().await.one() else { panic!("void") };
    bench.answers(vec![checkout.voided(command)]).await.unwrap();
    let published: Vec<OrderEvent> =
        sqlx::query_scalar::<_, String>("select payload from outbox where topic = 'order.events' order by sequence")
            .fetch_all(bench.db())
            .await
            .unwrap()
            .iter()
            .map(|payload| serde_json::from_str(payload).unwrap())
            .collect();
    assert_eq!(published, bench.events(checkout.order).await);
    assert_eq!(published.len(), 2);
}

#[tokio::test]
async fn an_order_that_cannot_be_read_is_the_fault_of_its_own_answers_and_nobody_elses() {
    let bench = Bench::new().await;
    let (damaged, whole) = (bench.order().await, bench.order().await);
    let captures = [bench.capturing(&damaged).await, bench.capturing(&whole).await];
    for damage in ["total_currency = 'DUCATS'", r#"total_currency = 'EUR', lines = '[{"sku": "MUG"}]'"#] {
        let damage = format!("update orders set {damage} where id = $1");
        let update = sqlx::query(sqlx::AssertSqlSafe(damage)).bind(damaged.order.as_uuid());
        assert_eq!(update.execute(bench.db()).await.unwrap().rows_affected(), 1);
        let guilty = damaged.captured(captures[0].clone());
        let innocent = whole.captured(captures[1].clone());
        for batch in [vec![guilty.clone(), innocent], vec![guilty]] {
            let refused = bench.answers(batch).await;
            assert!(matches!(refused, Err(HandleError::Message(_))), "its half is to be found: {refused:?}");
        }
    }
    // Who waits for the other hears of it, though somebody waits for the damaged one, too. That one waits no longer, for
    // nobody can say how it stands.
    let another = bench.another();
    let patience = std::time::Duration::from_secs(60);
    let (lost, hears) =
        (another.app.settled.wait(damaged.order, patience), another.app.settled.wait(whole.order, patience));
    let settles = async {
        // Both wait by now: they were begun first.
        bench.answers(vec![whole.captured(captures[1].clone())]).await.unwrap();
        crate::settled::ask(&another.app).await.unwrap();
    };
    let (lost, heard, ()) = tokio::join!(biased; lost, hears, settles);
    assert_eq!(lost.unwrap_err().to_string(), format!("order {} cannot be read", damaged.order));
    assert_eq!(heard.unwrap().expect("it has settled").id, whole.order);
    assert_eq!(bench.show(whole.order).await.status, Status::Confirmed);
}

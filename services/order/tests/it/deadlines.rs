//! Time moves sagas.

use contracts::{billing::BillingCommand, inventory::InventoryCommand, order::CancelReason};

use super::bench::Bench;
use crate::{deadlines::wake_due, order::Status};

#[tokio::test]
async fn past_the_deadline_all_that_may_have_been_done_is_undone() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    assert_eq!(wake_due(&bench.app).await.unwrap(), 0, "nothing is due yet");

    make_due(&bench, &["deadline"]).await;
    assert_eq!(wake_due(&bench.app).await.unwrap(), 1);
    let sent = bench.sent().await;
    assert_eq!(sent.kinds(), ["inventory.release-stock.v1", "billing.void-payment.v1"]);
    let InventoryCommand::ReleaseStock { command: release, .. } = sent.one() else { panic!("release") };
    let BillingCommand::VoidPayment { command: void, .. } = sent.one() else { panic!("void") };

    // Late successes change nothing, only the undos count.
    bench.answers(vec![checkout.held(), checkout.authorized()]).await.unwrap();
    assert!(bench.sent().await.kinds().is_empty());
    bench.answers(vec![checkout.released(release), checkout.voided(void)]).await.unwrap();
    assert_eq!(bench.show(checkout.order).await.status, Status::Cancelled(CancelReason::TimedOut));
    assert_eq!(wake_due(&bench.app).await.unwrap(), 0, "an ended saga is never due");
}

#[tokio::test]
async fn what_a_saga_waits_for_is_asked_again_with_the_same_id() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    bench.answers(vec![checkout.held()]).await.unwrap();

    make_due(&bench, &["steps", "authorize-payment", "asking", "again_at"]).await;
    assert_eq!(wake_due(&bench.app).await.unwrap(), 1);
    let sent = bench.sent().await;
    assert_eq!(sent.kinds(), ["billing.authorize-payment.v1"], "the held stock is not asked for again");
    let BillingCommand::AuthorizePayment { command, .. } = sent.one() else { panic!("authorize") };
    assert_eq!(command, checkout.authorize);
}

#[tokio::test]
async fn two_instances_do_not_wake_a_saga_twice() {
    let bench = Bench::new().await;
    for _ in 0..50 {
        bench.order().await;
    }
    make_due(&bench, &["deadline"]).await;
    let (one, other) = tokio::join!(wake_due(&bench.app), wake_due(&bench.app));
    assert_eq!(one.unwrap() + other.unwrap(), 50);
    assert_eq!(bench.sent().await.kinds().len(), 100);
}

/// Moves a time inside every saga into the past.
async fn make_due(bench: &Bench, path: &[&str]) {
    let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
    let changed = sqlx::query(
        "update saga set wake_at = now() - interval '1 s', instance = jsonb_set(instance, $1, '\"2020-01-01T00:00:00Z\"', false)",
    )
    .bind(path)
    .execute(bench.db())
    .await
    .unwrap();
    assert!(changed.rows_affected() > 0);
}

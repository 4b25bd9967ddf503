//! Time moves sagas.

use contracts::{
    billing::BillingCommand,
    inventory::InventoryCommand,
    order::{CancelReason, OrderEvent},
};

use jiff::SignedDuration;

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

/// How long that is, is a setting; it counts from the placing of an order.
#[tokio::test]
async fn a_deadline_that_is_set_otherwise_is_kept() {
    for set_to in [15, 300] {
        let mut bench = Bench::new().await;
        bench.app.checkout_deadline = SignedDuration::from_secs(set_to.into());
        bench.order().await;

        bench.set_clock(set_to - 10).await;
        wake_due(&bench.app).await.unwrap();
        let asked_again = ["inventory.hold-stock.v1", "billing.authorize-payment.v1"];
        assert_eq!(bench.sent().await.kinds(), asked_again, "{set_to} s are not over");
        bench.set_clock(set_to + 1).await;
        assert_eq!(wake_due(&bench.app).await.unwrap(), 1);
        let undone = ["inventory.release-stock.v1", "billing.void-payment.v1"];
        assert_eq!(bench.sent().await.kinds(), undone, "{set_to} s are over");
    }
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

/// The clock of the service and that of the database differ by an hour: only the database's counts, for whatever sets
/// a time and for whatever looks whether it has come.
#[tokio::test]
async fn only_the_databases_clock_counts() {
    for an_hour in [3600, -3600] {
        let bench = Bench::new().await;
        bench.set_clock(an_hour).await;
        let placed = bench.order().await;
        let answered = bench.order().await;
        bench.answers(vec![answered.held(), answered.authorized()]).await.unwrap();
        assert_eq!(bench.sent().await.kinds(), ["billing.capture-payment.v1"]);
        assert_eq!(wake_due(&bench.app).await.unwrap(), 0, "nothing is due at once");

        bench.set_clock(an_hour + 3).await;
        assert_eq!(wake_due(&bench.app).await.unwrap(), 2, "both are asked again after 2 s");
        assert_eq!(wake_due(&bench.app).await.unwrap(), 0, "and not at once again");
        assert_eq!(bench.sent().await.kinds().len(), 3, "hold and authorize; capture");

        bench.set_clock(an_hour + 25).await;
        assert_eq!(wake_due(&bench.app).await.unwrap(), 2);
        assert_eq!(bench.sent().await.kinds().len(), 3, "asked again, for no deadline has come");
        bench.set_clock(an_hour + 40).await;
        assert_eq!(wake_due(&bench.app).await.unwrap(), 2);
        let sent = bench.sent().await;
        let InventoryCommand::ReleaseStock { order, .. } = sent.one() else { panic!("release") };
        assert_eq!(order, placed.order, "the other one has reached its pivot, and is asked again");
        assert_eq!(sent.kinds().iter().filter(|kind| **kind == "billing.capture-payment.v1").count(), 1);
    }
}

#[tokio::test]
async fn the_time_of_an_orders_events_never_goes_back() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    bench.set_clock(-3600).await;
    bench.answers(vec![checkout.held(), checkout.authorized()]).await.unwrap();
    let BillingCommand::CapturePayment { command, .. } = bench.sent().await.one() else { panic!("capture") };
    bench.answers(vec![checkout.captured(command)]).await.unwrap();
    let events = bench.events(checkout.order).await;
    let [OrderEvent::Placed { at: placed, .. }, OrderEvent::Confirmed { at: confirmed, .. }] = &events[..] else {
        panic!("placed, then confirmed")
    };
    assert_eq!(placed, confirmed, "the clock has gone back, the order's time stands still");
}

#[tokio::test]
async fn a_saga_that_cannot_be_read_holds_back_no_other() {
    let bench = Bench::new().await;
    let (broken, whole) = (bench.order().await, bench.order().await);
    make_due(&bench, &["deadline"]).await;
    let break_it = "update saga set instance = '{}', wake_at = '2020-01-01' where order_id = $1";
    let broke = sqlx::query(break_it).bind(broken.order.as_uuid()).execute(bench.db()).await.unwrap();
    assert_eq!(broke.rows_affected(), 1);

    assert_eq!(wake_due(&bench.app).await.unwrap(), 1, "the other one goes on");
    let sent = bench.sent().await;
    assert_eq!(sent.kinds(), ["inventory.release-stock.v1", "billing.void-payment.v1"]);
    let InventoryCommand::ReleaseStock { order, .. } = sent.one() else { panic!("release") };
    assert_eq!(order, whole.order);
    let later = sqlx::query_scalar("select wake_at > now() + interval '50 s' from saga where order_id = $1");
    let later: bool = later.bind(broken.order.as_uuid()).fetch_one(bench.db()).await.unwrap();
    assert!(later, "it is looked at again, but not in every scan");
}

#[tokio::test]
async fn a_look_that_comes_too_early_sends_nothing_and_is_moved() {
    let bench = Bench::new().await;
    let checkout = bench.order().await;
    let planned = || async {
        let planned = sqlx::query_scalar("select wake_at::text from saga").fetch_one(bench.db()).await.unwrap();
        let planned: String = planned;
        planned
    };
    let first = planned().await;
    bench.answers(vec![checkout.held(), checkout.authorized()]).await.unwrap();
    assert_eq!(planned().await, first, "the capture is asked for later again, but the look stays planned");

    sqlx::query("update saga set wake_at = now() - interval '1 s'").execute(bench.db()).await.unwrap();
    bench.sent().await;
    assert_eq!(wake_due(&bench.app).await.unwrap(), 1, "it was looked at");
    assert!(bench.sent().await.kinds().is_empty(), "and nothing was due");
    assert!(planned().await > first, "the next look is when something is");
    assert_eq!(wake_due(&bench.app).await.unwrap(), 0);
}

/// Moves a time inside every saga into the past.
async fn make_due(bench: &Bench, path: &[&str]) {
    let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
    let changed = sqlx::query(
        "update saga set wake_at = now() - interval '1 s', instance = jsonb_set(instance::jsonb, $1, '\"2020-01-01T00:00:00Z\"', false)::json",
    )
    .bind(path)
    .execute(bench.db())
    .await
    .unwrap();
    assert!(changed.rows_affected() > 0);
}

//! The worker: unclear answers, crashes, slow calls.

use std::time::Duration;

use billing::provider::{Done, Found, Operation, Outcome, Provider};
use billing::settle::Pace;
use contracts::Message;

use crate::bench::{Bench, EAGER, HANDED_OVER_ONLY, IMPATIENCE, Mood, Order, PRICE, WATCHFUL};

const AUTHORIZED: &str = "billing.payment-authorized.v1";
const VOIDED: &str = "billing.payment-voided.v1";
const CAPTURED: &str = "billing.payment-captured.v1";

#[tokio::test]
async fn a_void_waits_until_the_authorization_is_definite_and_then_voids_it_at_the_provider() {
    let bench = Bench::start(WATCHFUL).await;
    let order = Order::with("tok_ok");
    let key = order.key(Operation::Authorize);
    bench.provider.is(Mood::Silent);
    bench.send(&[order.authorize()]).await.unwrap();
    bench.poll(async || (bench.provider.asked(&key) > 0).then_some(())).await;
    bench.send(&[order.void()]).await.unwrap();
    let asked = bench.provider.asked(&key);
    bench.poll(async || (bench.provider.asked(&key) > asked + 1).then_some(())).await;
    assert_eq!(bench.answers().await, [], "nothing is said while nothing is known");
    assert_eq!(bench.provider.executed(&order.key(Operation::Void)), 0);

    bench.provider.is(Mood::Talks);
    assert_eq!(bench.said(2).await, [AUTHORIZED, VOIDED]);
    let released = bench.provider.inner.ask(&order.key(Operation::Void)).await;
    let done = Done { amount: Some(PRICE), fee: None };
    assert_eq!(released, Ok(Found::Definite(Outcome::Executed(done))));
    assert_eq!(bench.provider.executed(&key), 1, "asked, not called again");
}

#[tokio::test]
async fn an_answer_that_never_came_is_asked_for() {
    let bench = Bench::with_calls_of(IMPATIENCE, HANDED_OVER_ONLY).await;
    let order = Order::with("tok_authorize_timeout_done");
    bench.send(&[order.authorize()]).await.unwrap();
    assert_eq!(bench.said(1).await, [AUTHORIZED]);
    let key = order.key(Operation::Authorize);
    assert_eq!((bench.provider.executed(&key), bench.provider.asked(&key)), (1, 1));
}

#[tokio::test]
async fn a_call_that_was_lost_is_made_again_under_the_same_key() {
    let bench = Bench::with_calls_of(IMPATIENCE, HANDED_OVER_ONLY).await;
    let order = Order::with("tok_authorize_timeout_lost");
    bench.send(&[order.authorize()]).await.unwrap();
    assert_eq!(bench.said(1).await, [AUTHORIZED]);
    let key = order.key(Operation::Authorize);
    assert_eq!((bench.provider.executed(&key), bench.provider.asked(&key)), (2, 1));
    assert_eq!(bench.provider.keys(), 1);
}

#[tokio::test]
async fn a_crash_between_call_and_outcome_is_settled_by_the_next_worker() {
    let mut bench = Bench::start(WATCHFUL).await;
    let order = Order::with("tok_ok");
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    let key = order.key(Operation::Capture);
    bench.provider.is(Mood::Holds(key.clone()));
    bench.send(&[order.capture()]).await.unwrap();
    bench.poll(async || (bench.provider.executed(&key) > 0).then_some(())).await;
    bench.kill_worker().await;
    assert_eq!((bench.answers().await.len(), bench.state(order.id).await.as_str()), (1, "capturing"));

    bench.provider.is(Mood::Talks);
    // Its lease is over.
    bench.now().await;
    bench.start_worker(WATCHFUL);
    assert_eq!(bench.said(2).await, [AUTHORIZED, CAPTURED]);
    assert_eq!(bench.provider.executed(&key), 1, "the next worker asked before it called");
    assert_eq!(bench.count("select count(*) from ledger_entry where kind = 'capture'").await, 1);
}

#[tokio::test]
async fn an_outcome_that_comes_late_changes_nothing() {
    let mut bench = Bench::start(EAGER).await;
    let order = Order::with("tok_ok");
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    let key = order.key(Operation::Capture);
    bench.provider.is(Mood::Holds(key.clone()));
    bench.send(&[order.capture()]).await.unwrap();
    // The first call is under way past its lease: it is taken again, by this worker and by another.
    bench.start_worker(EAGER);
    bench.poll(async || (bench.provider.asked(&key) > 1).then_some(())).await;
    bench.provider.is(Mood::Talks);
    bench.answered(2).await;
    // Every answer that was held back is booked before that of a later order.
    let later = Order::with("tok_ok");
    bench.send(&[later.authorize()]).await.unwrap();
    assert_eq!(bench.said(3).await, [AUTHORIZED, CAPTURED, AUTHORIZED]);
    assert_eq!(bench.count("select count(*) from ledger_entry where kind = 'capture'").await, 1);
}

#[tokio::test]
async fn a_slow_call_holds_back_its_own_order_only() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let (slow, quick) = (Order::with("tok_ok"), Order::with("tok_ok"));
    bench.provider.is(Mood::Holds(slow.key(Operation::Authorize)));
    bench.send(&[slow.authorize(), quick.authorize()]).await.unwrap();
    let answers = bench.answered(1).await;
    assert_eq!(answers[0].key(), quick.id.to_string());
    bench.send(&[quick.capture()]).await.unwrap();
    assert_eq!(bench.said(2).await, [AUTHORIZED, CAPTURED]);
    bench.provider.is(Mood::Talks);
    let answers = bench.answered(3).await;
    assert_eq!(answers[2].key(), slow.id.to_string());
}

#[tokio::test]
async fn slow_calls_make_room_for_others() {
    let pace = Pace { first: 2, prompt: Duration::from_millis(50), again: 8, ..HANDED_OVER_ONLY };
    let bench = Bench::start(pace).await;
    // More than there is room for at once.
    let slow: Vec<Order> = (0..6).map(|_| Order::with("tok_slow_300s")).collect();
    bench.send(&slow.iter().map(Order::authorize).collect::<Vec<_>>()).await.unwrap();
    let quick = Order::with("tok_ok");
    bench.send(&[quick.authorize()]).await.unwrap();
    let answers = bench.answered(1).await;
    assert_eq!(answers[0].key(), quick.id.to_string());
    let untouched = "select count(*) from intent where next_try_at > now() + interval '30 minutes'";
    assert_eq!(bench.count(untouched).await, 6, "no slow call had ended");
}

#[tokio::test]
async fn what_is_called_again_takes_no_room_from_first_calls() {
    // There is room for one of each, and none makes room for being slow.
    let bench = Bench::start(Pace { first: 1, again: 1, ..WATCHFUL }).await;
    let (unclear, quick) = (Order::with("tok_ok"), Order::with("tok_ok"));
    let key = unclear.key(Operation::Authorize);
    bench.provider.is(Mood::Silent);
    bench.send(&[unclear.authorize()]).await.unwrap();
    bench.poll(async || (bench.provider.executed(&key) > 0).then_some(())).await;
    bench.provider.is(Mood::Holds(key.clone()));
    bench.poll(async || (bench.provider.held() > 0).then_some(())).await;
    bench.send(&[quick.authorize()]).await.unwrap();
    let answers = bench.answered(1).await;
    assert_eq!(answers[0].key(), quick.id.to_string());
    assert_eq!(bench.provider.held(), 1, "the other is under way all the time");
}

#[tokio::test]
async fn a_call_that_takes_too_long_counts_as_unclear_and_is_asked_about() {
    let pace = Pace { call_timeout: IMPATIENCE, ..HANDED_OVER_ONLY };
    let bench = Bench::start(pace).await;
    let order = Order::with("tok_ok");
    let key = order.key(Operation::Authorize);
    bench.provider.is(Mood::Holds(key.clone()));
    bench.send(&[order.authorize()]).await.unwrap();
    bench.poll(async || (bench.provider.asked(&key) > 0).then_some(())).await;
    assert_eq!(bench.answers().await, []);
    bench.provider.is(Mood::Talks);
    assert_eq!(bench.said(1).await, [AUTHORIZED]);
    // By the simulator's own log: a call may be given up on before it is counted here.
    assert_eq!(bench.provider.done(), [key.as_str()]);
}

#[tokio::test]
async fn calls_under_way_are_booked_before_the_worker_stops() {
    let mut bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_ok");
    let key = order.key(Operation::Authorize);
    bench.provider.is(Mood::Holds(key.clone()));
    bench.send(&[order.authorize()]).await.unwrap();
    bench.poll(async || (bench.provider.executed(&key) > 0).then_some(())).await;
    bench.stop_workers();
    bench.provider.is(Mood::Talks);
    bench.workers_ended().await;
    assert_eq!(bench.said(1).await, [AUTHORIZED]);
}

#[tokio::test]
async fn an_outcome_the_database_refuses_holds_back_no_other() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let (bad, good) = (Order::with("tok_ok"), Order::with("tok_ok"));
    bench.send(&[bad.authorize(), good.authorize()]).await.unwrap();
    bench.answered(2).await;
    let booked: i64 = sqlx::query_scalar(
        "insert into ledger_entry select max(seq) + 1, $1, 'capture', 1, now(), sha256('') from ledger_entry returning 1::bigint",
    )
    .bind(bad.id.as_uuid())
    .fetch_one(&bench.pool)
    .await
    .unwrap();
    assert_eq!(booked, 1, "the books have a capture that the payment does not know");
    bench.send(&[bad.capture(), good.capture()]).await.unwrap();
    let answers = bench.answered(3).await;
    assert_eq!((answers[2].kind(), answers[2].key()), (CAPTURED, good.id.to_string()));
    let later = Order::with("tok_ok");
    bench.send(&[later.authorize()]).await.unwrap();
    bench.answered(4).await;
    assert_eq!(bench.state(bad.id).await, "capturing");
    let parked = "select parked from intent where parked is not null";
    let why: String = bench.poll(async || sqlx::query_scalar(parked).fetch_optional(&bench.pool).await.unwrap()).await;
    assert!(why.contains("ledger_entry_order_id_kind_number_key"), "an operator sees it: {why}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_holds_back_no_other() {
    let mut bench = Bench::start(HANDED_OVER_ONLY).await;
    bench.kill_worker().await;
    let (bad, good) = (Order::with("tok_ok"), Order::with("tok_ok"));
    bench.send(&[bad.authorize(), good.authorize()]).await.unwrap();
    let due = "update intent set next_try_at = now(),
               currency = case when order_id = $1 then '???' else currency end returning 1";
    let changed: Vec<i32> = sqlx::query_scalar(due).bind(bad.id.as_uuid()).fetch_all(&bench.pool).await.unwrap();
    assert_eq!(changed, [1, 1]);

    bench.start_worker(EAGER);
    let answers = bench.answered(1).await;
    assert_eq!((answers[0].kind(), answers[0].key()), (AUTHORIZED, good.id.to_string()));
    bench.poll(async || (bench.count("select max(tries)::bigint from intent").await > 2).then_some(())).await;
    assert_eq!(bench.state(bad.id).await, "authorizing", "it stays, and is looked at again");
}

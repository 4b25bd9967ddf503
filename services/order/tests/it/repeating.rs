//! A request that is sent again: the first answer, to the byte, as long as its key is known.

use std::collections::HashSet;

use axum::{body::Body, http::StatusCode};
use contracts::order::CancelReason;
use futures::future::join_all;
use serde_json::json;
use tokio::time::{Duration, Instant};
use web::access::Principal;

use super::{
    bench::{Bench, work},
    http::{Answer, bench, order, runs},
};
use crate::{forget, order::News};

/// Whatever is waited for and has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

fn mugs(count: u32) -> String {
    order("MUG", json!(count)).to_string()
}

fn is_repeated(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn the_same_key_gets_the_same_bytes_also_after_a_restart_and_whatever_became_of_the_order() {
    let bench = bench().await;
    let first = bench.post("key", mugs(2)).await;
    assert_eq!((first.status, is_repeated(&first)), (StatusCode::ACCEPTED, false));
    let id = first.body["id"].as_str().unwrap().to_owned();

    let restarted = runs(bench.another());
    let again = restarted.post("key", mugs(2)).await;
    assert_eq!((again.status, &again.bytes, is_repeated(&again)), (first.status, &first.bytes, true));
    assert_eq!(again.headers["location"], first.headers["location"]);
    let other = restarted.post("key", mugs(3)).await;
    assert_eq!((other.status.as_u16(), &other.body["code"]), (422, &json!("idempotency_key_reused")));

    let order = id.parse().unwrap();
    let pending = bench.show(order).await;
    let event = pending.hear(News::Undone(CancelReason::TimedOut), pending.placed_at).unwrap();
    let cancelled = crate::order::Order::apply(Some(pending), &event).unwrap();
    let mut conn = bench.db().acquire().await.unwrap();
    crate::store::orders::update(&mut conn, &[cancelled]).await.unwrap();
    let waited = restarted.post_preferring("wait=20", "key", mugs(2)).await;
    assert_eq!((&waited.body["status"], is_repeated(&waited)), (&json!("cancelled"), true), "the state it is in now");
    assert_eq!(restarted.post("key", mugs(2)).await.bytes, first.bytes, "and that was not stored");
}

/// Over two processes, whose committers know nothing of each other.
#[tokio::test]
async fn twenty_at_once_with_one_key_get_twenty_equal_answers() {
    let one = bench().await;
    let other = runs(one.another());
    let (body, processes) = (mugs(1), [&one, &other]);
    let answers = join_all((0..20).map(|number| processes[number % 2].post("key", body.clone()))).await;
    let different: HashSet<_> =
        answers.iter().map(|one| (one.status, &one.bytes, one.headers["location"].to_str().unwrap())).collect();
    assert_eq!((answers.len(), different.len()), (20, 1), "{different:?}");
    assert_eq!(answers.iter().filter(|answer| !is_repeated(answer)).count(), 1);
    assert_eq!((one.count("orders").await, one.count("saga").await, one.count("outbox").await), (1, 1, 3));
}

/// Somebody is just committing the same key: whoever comes second waits for the first, and not for nothing.
#[tokio::test]
async fn a_key_that_is_being_committed_is_waited_for() {
    let bench = bench().await;
    for (commits, status) in [(false, StatusCode::ACCEPTED), (true, StatusCode::UNPROCESSABLE_ENTITY)] {
        let key = format!("key-{commits}");
        let mut tx = bench.db().begin().await.unwrap();
        let claim = "insert into idempotency_key values ($1, $2, sha256('another request'), gen_random_uuid())";
        sqlx::query(claim).bind(bench.customer.as_uuid()).bind(&key).execute(&mut *tx).await.unwrap();
        let first_ends = async {
            waits_for_a_lock(&bench).await;
            if commits { tx.commit().await } else { tx.rollback().await }.unwrap();
        };
        let (second, ()) = tokio::join!(bench.post(&key, mugs(1)), first_ends);
        assert_eq!(second.status, status, "{}", second.body);
    }
    assert_eq!(bench.count("orders").await, 1);
}

async fn waits_for_a_lock(bench: &Bench) {
    let deadline = Instant::now() + PATIENCE;
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(bench.db()).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "nobody waits");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day_and_not_before() {
    const DAY_S: i32 = 24 * 3600;
    let bench = bench().await;
    let first = bench.post("key", mugs(1)).await;
    bench.set_clock(DAY_S - 60).await;
    assert_eq!(forget::old_keys(bench.db(), &work()).await.unwrap().unwrap(), 0);
    assert_eq!(bench.post("key", mugs(1)).await.bytes, first.bytes);
    bench.set_clock(DAY_S + 60).await;
    assert_eq!(forget::old_keys(bench.db(), &work()).await.unwrap().unwrap(), 1);
    let second = bench.post("key", mugs(1)).await;
    assert_eq!((second.status, is_repeated(&second)), (StatusCode::ACCEPTED, false));
    assert_ne!(second.body["id"], first.body["id"]);
    assert_eq!(bench.count("orders").await, 2, "the first order stays");
}

/// What nobody waits for does not go on waiting: the answer says how it stands, and that the wish was heard.
#[tokio::test]
async fn who_has_waited_in_vain_is_told_so() {
    let bench = bench().await;
    let answer = bench.post_preferring("wait=0", "key", mugs(1)).await;
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::ACCEPTED, &json!("pending")));
    assert_eq!(answer.headers["preference-applied"], "wait=0");
    assert!(!bench.post("key", mugs(1)).await.headers.contains_key("preference-applied"), "it was not asked for");

    let order = answer.body["id"].as_str().unwrap();
    let cases = [("wait=0", "", Some("wait=0")), ("", "", None), ("wait=0", "?version=1", None)];
    for (preference, query, applied) in cases {
        let uri = format!("/v1/orders/{order}{query}");
        let request = bench.request(&Principal::Customer(bench.customer), &uri).header("prefer", preference);
        let shown = bench.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(shown.status, StatusCode::OK);
        let said = shown.headers.get("preference-applied").map(|value| value.to_str().unwrap());
        assert_eq!(said, applied, "{preference} {query}");
    }
}

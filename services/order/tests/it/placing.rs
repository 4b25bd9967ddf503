//! Placing orders, and repeating the request.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use contracts::CustomerId;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    bench::{Bench, placed, work},
    http,
};
use crate::{
    admission::{self, Admission},
    cancel,
    order::Refusal,
    place::{self, Committer, PlaceError, Placed, place_all},
};

#[tokio::test]
async fn the_same_key_gets_the_first_answer() {
    let bench = Bench::new().await;
    let wish = bench.wish("key", "MUG", 1);
    let first = place_all(&bench.app, std::slice::from_ref(&wish)).await.unwrap().remove(0).unwrap();
    let again = place_all(&bench.app, std::slice::from_ref(&wish)).await.unwrap().remove(0).unwrap();
    let (Placed::Now(id), Placed::Before(same)) = (first, again) else { panic!("{first:?}, {again:?}") };
    assert_eq!(id, same);
    assert_eq!(bench.count("orders").await, 1);

    let other = bench.wish("key", "MUG", 2);
    assert_eq!(place_all(&bench.app, &[other]).await.unwrap().remove(0), Err(PlaceError::KeyReused));

    // Also once the cart could not be ordered any more.
    sqlx::query("delete from product").execute(bench.db()).await.unwrap();
    let again = place_all(&bench.app, &[wish]).await.unwrap().remove(0);
    assert_eq!(again, Ok(Placed::Before(id)));
}

#[tokio::test]
async fn keys_of_two_customers_are_two_keys() {
    let bench = Bench::new().await;
    let mine = bench.wish("key", "MUG", 1);
    let theirs = place::Wish { customer: contracts::CustomerId::mint(), ..mine.clone() };
    let answers = place_all(&bench.app, &[mine, theirs]).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Placed::Now(_)))), "{answers:?}");
}

#[tokio::test]
async fn twenty_at_once_with_one_key_are_one_order() {
    let bench = Bench::new().await;
    let wish = bench.wish("key", "MUG", 1);
    // Five instances, each with four of the requests in its batch.
    let batch = vec![wish; 4];
    let all = (0..5).map(|_| place_all(&bench.app, &batch));
    let answers: Vec<_> = futures(all).await.into_iter().flat_map(Result::unwrap).map(Result::unwrap).collect();
    assert_eq!(answers.len(), 20);
    let first = answers.iter().filter(|answer| matches!(answer, Placed::Now(_))).count();
    assert_eq!(first, 1, "{answers:?}");
    let ids: std::collections::HashSet<_> = answers.into_iter().map(|answer| placed(Ok(answer))).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(bench.count("orders").await, 1);
    assert_eq!(bench.count("saga").await, 1);
}

#[tokio::test]
async fn a_refused_order_leaves_no_trace_and_sinks_no_other() {
    let bench = Bench::new().await;
    let wishes = [bench.wish("a", "MUG", 1), bench.wish("b", "NONE", 1), bench.wish("c", "PAN", 1)];
    let answers = place_all(&bench.app, &wishes).await.unwrap();
    assert!(matches!(answers[0], Ok(Placed::Now(_))));
    assert_eq!(answers[1], Err(PlaceError::Refused(Refusal::UnknownSku("NONE".parse().unwrap()))));
    assert!(matches!(answers[2], Ok(Placed::Now(_))));
    assert_eq!(bench.count("orders").await, 2);
    assert_eq!(bench.count("idempotency_key").await, 2);
    assert_eq!(bench.count("outbox").await, 6);
}

/// Open sagas count whoever began them; refused before anything is done, and let in once some have ended.
#[tokio::test]
async fn while_too_many_sagas_are_open_no_order_is_placed() {
    let mut bench = Bench::new().await;
    let (committer, queue) = Committer::new(16, Arc::new(Admission::new(2, 10)));
    bench.app.committer = committer.clone();
    // Two that another instance has placed.
    let open = [bench.order().await, bench.order().await];
    admission::look(&bench.app).await.unwrap();
    assert_eq!(committer.place(bench.wish("a", "MUG", 1)).await, Err(PlaceError::Busy));
    let body = http::order("MUG", json!(1)).to_string();
    let answer = bench.post("a", body).await;
    assert_eq!((answer.status, &answer.body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("overloaded")));
    assert_eq!(answer.headers["retry-after"], "1");
    // What was refused waits for the committer still, to be looked up: it places nothing then either.
    assert_eq!((queue.len(), bench.count("orders").await), (2, 2), "nothing was begun");

    let [first, _] = &open;
    let capture = bench.capturing(first).await;
    bench.answers(vec![first.captured(capture)]).await.unwrap();
    admission::look(&bench.app).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::task::spawn(place::run(bench.app.clone(), queue, 500, work(), stop.clone()));
    assert!(matches!(committer.place(bench.wish("a", "MUG", 1)).await, Ok(Placed::Now(_))));
    assert_eq!(committer.place(bench.wish("b", "MUG", 1)).await, Err(PlaceError::Busy), "it counts at once");
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(bench.count("orders").await, 3);
}

#[tokio::test]
async fn a_customer_with_too_many_orders_on_their_way_is_told_to_come_again_and_nobody_else() {
    let mut bench = Bench::new().await;
    let (committer, queue) = Committer::new(16, Arc::new(Admission::new(100, 2)));
    bench.app.committer = committer.clone();
    let stop = CancellationToken::new();
    let running = tokio::task::spawn(place::run(bench.app.clone(), queue, 500, work(), stop.clone()));
    // Two that another instance has placed.
    let open = [bench.order().await, bench.order().await];
    admission::look(&bench.app).await.unwrap();
    let body = || http::order("MUG", json!(1)).to_string();
    let answer = bench.post("a", body()).await;
    assert_eq!((answer.status, &answer.body["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("rate_limited")));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!((bench.count("orders").await, bench.count("idempotency_key").await), (2, 2), "nothing was begun");
    let customer = std::mem::replace(&mut bench.customer, CustomerId::mint());
    assert_eq!(bench.post("a", body()).await.status, StatusCode::ACCEPTED, "another customer's");
    bench.customer = customer;

    // One is through, and so is the same request.
    let [first, second] = &open;
    bench.sent().await;
    let capture = bench.capturing(first).await;
    bench.answers(vec![first.captured(capture)]).await.unwrap();
    assert_eq!(bench.post("a", body()).await.status, StatusCode::TOO_MANY_REQUESTS, "until the next look");
    admission::look(&bench.app).await.unwrap();
    assert_eq!(bench.post("a", body()).await.status, StatusCode::ACCEPTED);
    assert_eq!(bench.post("b", body()).await.status, StatusCode::TOO_MANY_REQUESTS, "it counts at once");

    // What is taken back is on its way, too.
    bench.sent().await;
    let capture = bench.capturing(second).await;
    bench.answers(vec![second.captured(capture)]).await.unwrap();
    cancel::cancel(&bench.app, first.order).await.unwrap();
    admission::look(&bench.app).await.unwrap();
    assert_eq!(bench.post("b", body()).await.status, StatusCode::TOO_MANY_REQUESTS);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(bench.count("orders").await, 4);
}

/// Its order is there: it takes no room, and its client need not come again.
#[tokio::test]
async fn a_repetition_gets_its_first_answer_also_while_there_is_no_room_for_another_order() {
    let body = |count: u32| http::order("MUG", json!(count)).to_string();
    for (admission, refusal) in [(Admission::new(1, 10), 503), (Admission::new(100, 1), 429)] {
        let mut bench = Bench::new().await;
        let (committer, queue) = Committer::new(16, Arc::new(admission));
        (bench.app.committer, *bench.queue.lock().unwrap()) = (committer, Some(queue));
        let bench = http::runs(bench);
        let first = bench.post("key", body(1)).await;
        assert_eq!(first.status, StatusCode::ACCEPTED);
        assert_eq!(bench.post("new", body(1)).await.status, refusal);
        let again = bench.post("key", body(1)).await;
        assert_eq!((again.status, &again.bytes), (first.status, &first.bytes));
        assert_eq!(again.headers["location"], first.headers["location"]);
        assert_eq!(again.headers["idempotency-replayed"], "true");
        let other = bench.post("key", body(2)).await;
        assert_eq!((other.status.as_u16(), &other.body["code"]), (422, &json!("idempotency_key_reused")));
        assert_eq!(bench.count("orders").await, 1);
    }
}

/// Whatever comes in a flood, and is looked up as if it were a repetition.
#[tokio::test]
async fn what_is_refused_waits_neither_long_nor_in_the_seats_of_what_is_let_in() {
    let mut bench = Bench::new().await;
    let admission = Arc::new(Admission::new(10, 1));
    let (committer, queue) = Committer::new(16, Arc::clone(&admission));
    bench.app.committer = committer.clone();
    bench.order().await;
    admission::look(&bench.app).await.unwrap();
    // Nobody commits.
    let refused = (0..40).map(|n| committer.place(bench.wish(&format!("key-{n}"), "MUG", 1)));
    let refused = timeout(Duration::from_secs(60), futures(refused)).await.expect("none waits for a commit");
    assert!(refused.iter().all(|answer| *answer == Err(PlaceError::TooManyOpen)), "{refused:?}");
    assert_eq!(queue.len(), 8, "half of the seats are taken");

    // Somebody else's finds a seat, and is placed; of those before it nothing is.
    let running = tokio::task::spawn(place::run(bench.app.clone(), queue, 500, work(), CancellationToken::new()));
    let theirs = place::Wish { customer: CustomerId::mint(), ..bench.wish("key", "MUG", 1) };
    assert!(matches!(committer.place(theirs).await, Ok(Placed::Now(_))));
    assert_eq!(bench.count("orders").await, 2);
    running.abort();
}

#[tokio::test]
async fn the_committer_answers_everyone_and_ends_when_told() {
    let bench = Bench::new().await;
    let queue = bench.queue.lock().unwrap().take().unwrap();
    let stop = CancellationToken::new();
    let committer = tokio::task::spawn(place::run(bench.app.clone(), queue, 500, work(), stop.clone()));
    let wishes: Vec<_> = (0..300).map(|n| bench.wish(&format!("key-{n}"), "MUG", 1)).collect();
    let answers = futures(wishes.into_iter().map(|wish| bench.app.committer.place(wish))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Placed::Now(_)))));
    assert_eq!(bench.count("orders").await, 300);

    stop.cancel();
    committer.await.unwrap().unwrap();
    let late = bench.app.committer.place(bench.wish(&Uuid::now_v7().to_string(), "MUG", 1)).await;
    assert_eq!(late, Err(PlaceError::Store), "turned away, not lost");
}

/// All of them, side by side.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures::future::join_all(all).await
}

//! Pieces come in, once.

use axum::http::{Method, StatusCode};
use bson::doc;
use contracts::OrderId;
use serde_json::json;

use crate::world::{Who, World, confirmed, hold};

#[tokio::test]
async fn a_receipt_repeated_with_its_key_gets_the_first_answer_and_counts_once() {
    let world = World::with_stock(&[("MUG", 0)]).await;
    let first = world.receipt("MUG", "r-1", 7).await;
    let again = world.receipt("MUG", "r-1", 7).await;
    assert_eq!(first.0, StatusCode::CREATED);
    assert_eq!(first, again, "same status, same body");
    assert_eq!(first.1["pieces"], 7);
    assert_eq!((world.level("MUG").await, world.count("movement").await, world.count("receipt").await), ((7, 0), 1, 1));
}

/// Also of several in one transaction: whoever was not the first is told so.
#[tokio::test]
async fn an_answer_that_is_repeated_says_so() {
    let mut world = World::with_stock(&[("MUG", 1)]).await;
    let order = OrderId::mint();
    world.feed(&[hold(order, &[("MUG", 1)])]).await.unwrap();
    world.feed(&[confirmed(order)]).await.unwrap();
    let (pieces, shipment) =
        (json!({ "warehouse": "LYON", "pieces": 7 }), json!({ "order": order, "warehouse": "LYON" }));
    for (path, body) in [("/v1/stock/MUG/receipts", pieces.to_string()), ("/v1/shipments", shipment.to_string())] {
        let send = || world.send_fully(Who::Operator, Method::POST, path, &body, Some("key"));
        let mut answers = futures::future::join_all((0..5).map(|_| send())).await;
        answers.push(send().await);
        assert!(answers.iter().all(|(status, ..)| *status == StatusCode::CREATED), "{answers:?}");
        let marked = answers.iter().filter(|(_, headers, _)| headers.contains_key("idempotency-replayed")).count();
        assert_eq!(marked, 5, "{path}: all but the first");
        assert_eq!(answers[5].1["idempotency-replayed"], "true");
    }
}

#[tokio::test]
async fn a_key_names_one_receipt_only() {
    let world = World::with_stock(&[("MUG", 0), ("CUP", 0)]).await;
    world.receipt("MUG", "r-1", 7).await;
    for (sku, pieces) in [("MUG", 8), ("CUP", 7)] {
        let (status, body) = world.receipt(sku, "r-1", pieces).await;
        assert_eq!((status.as_u16(), &body["code"]), (422, &"idempotency_key_reused".into()), "{body}");
    }
    let (status, _) = world.receipt_in("MILAN", "MUG", "r-1", 7).await;
    assert_eq!(status.as_u16(), 422, "another warehouse is another receipt");
    assert_eq!((world.level("MUG").await, world.level("CUP").await), ((7, 0), (0, 0)));
}

#[tokio::test]
async fn of_many_with_one_key_at_once_one_counts() {
    let world = World::with_stock(&[("MUG", 0)]).await;
    let all = futures::future::join_all((0..20).map(|_| world.receipt("MUG", "r-1", 3))).await;
    assert!(all.iter().all(|answer| *answer == all[0]), "{all:?}");
    assert_eq!(world.level("MUG").await, (3, 0));
}

#[tokio::test]
async fn an_unknown_sku_does_not_sink_the_receipts_beside_it() {
    let world = World::with_stock(&[("MUG", 0)]).await;
    let (known, unknown) = tokio::join!(world.receipt("MUG", "r-1", 3), world.receipt("NONE", "r-2", 3));
    assert_eq!((known.0, unknown.0), (StatusCode::CREATED, StatusCode::NOT_FOUND));
    assert_eq!(unknown.1["code"], "product_not_found");
    assert_eq!((world.level("MUG").await, world.count("movement").await), ((3, 0), 1));
    // The key was not taken by what did not happen.
    world.product("NONE").await;
    assert_eq!(world.receipt("NONE", "r-2", 3).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn what_came_in_can_be_held() {
    let mut world = World::with_stock(&[("MUG", 1)]).await;
    world.feed(&[hold(OrderId::mint(), &[("MUG", 2)])]).await.unwrap();
    world.receipt("MUG", "r-1", 1).await;
    world.feed(&[hold(OrderId::mint(), &[("MUG", 2)])]).await.unwrap();
    assert_eq!(world.answers().await, ["short of MUG", "held"]);
    assert_eq!(world.level("MUG").await, (2, 2));
}

#[tokio::test]
async fn pieces_come_into_a_warehouse_that_is_known() {
    let world = World::with_stock(&[("MUG", 0)]).await;
    assert_eq!(world.receipt_in("LYON", "MUG", "r-1", 1).await.0, StatusCode::CREATED);
    assert_eq!(world.receipt_in("HAMBURG", "MUG", "r-2", 2).await.0, StatusCode::CREATED);
    let (status, body) = world.receipt_in("ATLANTIS", "MUG", "r-3", 4).await;
    assert_eq!((status.as_u16(), &body["code"]), (422, &"unknown_warehouse".into()), "{body}");
    assert_eq!((world.level_in("LYON", "MUG").await, world.level_in("HAMBURG", "MUG").await), ((1, 0), (2, 0)));
    assert_eq!(world.level("MUG").await, (3, 0));
}

#[tokio::test]
async fn a_movement_says_what_came_in() {
    let world = World::with_stock(&[("MUG", 0)]).await;
    let (_, body) = world.receipt("MUG", "r-1", 7).await;
    let movement = world.db.collection::<bson::Document>("movement").find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(movement.get_document("_id").unwrap().get_str("sku").unwrap(), "MUG");
    let cause = movement.get_array("causes").unwrap()[0].as_document().unwrap();
    assert_eq!((cause.get_str("kind").unwrap(), cause.get_str("receipt").unwrap()), ("received", "operator/r-1"));
    assert_eq!((cause.get_str("warehouse").unwrap(), cause.get_i64("pieces").unwrap()), ("LYON", 7));
    let at: jiff::Timestamp = body["at"].as_str().unwrap().parse().unwrap();
    assert!(movement.get_document("_id").unwrap().get_datetime("at").unwrap().to_jiff() >= at);
}

//! What becomes of a hold once its order is confirmed or cancelled: allocated, shipped, taken back.

use axum::http::StatusCode;
use bson::doc;
use contracts::{
    OrderId,
    inventory::{InventoryCommand, InventoryEvent},
};
use jiff::Timestamp;
use messaging::HandleError;
use serde_json::{Value, json};

use crate::world::{Who, World, cancelled, confirmed, hold, placed, reclaim, release};

async fn state(world: &World, order: OrderId) -> Value {
    world.get(Who::Operator, &format!("/v1/holds/{order}")).await.1["state"].clone()
}

/// Two mugs in LYON, two in MILAN, and a confirmed order for three.
async fn allocated() -> (World, OrderId) {
    let mut world = World::with_stock(&[("MUG", 2)]).await;
    world.receipt_in("MILAN", "MUG", "more", 2).await;
    let order = OrderId::mint();
    world.feed(&[hold(order, &[("MUG", 3)])]).await.unwrap();
    world.feed(&[placed(order), confirmed(order)]).await.unwrap();
    assert_eq!(state(&world, order).await, "allocated");
    (world, order)
}

#[tokio::test]
async fn an_order_that_lies_in_two_warehouses_leaves_them_one_after_the_other() {
    let (world, order) = allocated().await;
    assert_eq!((world.level_in("LYON", "MUG").await, world.level_in("MILAN", "MUG").await), ((2, 2), (2, 1)));
    let (status, first) = world.ship(order, "LYON", None, "s-1").await;
    assert_eq!(
        (status, &first["lines"][0]["quantity"], &first["complete"]),
        (StatusCode::CREATED, &json!(2), &json!(false))
    );
    assert_eq!(state(&world, order).await, "allocated");
    let (status, last) = world.ship(order, "MILAN", None, "s-2").await;
    assert_eq!(
        (status, &last["lines"][0]["quantity"], &last["complete"]),
        (StatusCode::CREATED, &json!(1), &json!(true))
    );
    assert_eq!(state(&world, order).await, "shipped");
    assert_eq!(world.answers().await, ["held", "part shipped", "shipped"]);
    assert_eq!((world.level_in("LYON", "MUG").await, world.level_in("MILAN", "MUG").await), ((0, 0), (1, 0)));
    let said = world.said().await;
    let InventoryEvent::StockShipped { shipment, warehouse, .. } = &said[1].1 else { panic!("{said:?}") };
    assert_eq!((json!(shipment), warehouse.as_str()), (first["shipment"].clone(), "LYON"));
}

#[tokio::test]
async fn a_part_of_what_lies_there_can_leave() {
    let (world, order) = allocated().await;
    let lines = |quantity| Some(json!([{ "sku": "MUG", "quantity": quantity }]));
    let (status, body) = world.ship(order, "LYON", lines(3), "s-1").await;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("not_in_warehouse")), "{body}");
    assert_eq!(world.ship(order, "LYON", lines(1), "s-1").await.0, StatusCode::CREATED, "the key was not taken");
    assert_eq!(world.ship(order, "LYON", lines(1), "s-2").await.0, StatusCode::CREATED);
    assert_eq!(world.ship(order, "LYON", None, "s-3").await.1["code"], "not_in_warehouse");
    assert_eq!(world.level("MUG").await, (2, 1));
}

#[tokio::test]
async fn a_shipment_repeated_with_its_key_gets_the_first_answer_and_leaves_once() {
    let (mut world, order) = allocated().await;
    let all = futures::future::join_all((0..20).map(|_| world.ship(order, "LYON", None, "s-1"))).await;
    assert!(all.iter().all(|answer| *answer == all[0] && answer.0 == StatusCode::CREATED), "{all:?}");
    assert_eq!((world.count("shipment").await, world.level("MUG").await), (1, (2, 1)));
    // Also when all else is over.
    world.ship(order, "MILAN", None, "s-2").await;
    world.feed(&[confirmed(order)]).await.unwrap();
    assert_eq!(world.ship(order, "LYON", None, "s-1").await, all[0]);
    let (status, body) = world.ship(order, "MILAN", None, "s-1").await;
    assert_eq!((status.as_u16(), &body["code"]), (422, &json!("idempotency_key_reused")));
    assert_eq!(world.answers().await, ["held", "part shipped", "shipped"]);
}

#[tokio::test]
async fn nothing_leaves_that_is_not_allocated() {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let [open, released, refused, taken_back] = [(); 4].map(|()| OrderId::mint());
    let mug = |order| hold(order, &[("MUG", 1)]);
    world.feed(&[mug(open), mug(released), mug(taken_back), hold(refused, &[("MUG", 9)])]).await.unwrap();
    world.feed(&[confirmed(taken_back)]).await.unwrap();
    world.feed(&[release(released), reclaim(taken_back)]).await.unwrap();
    let table = [(open, "not_allocated"), (refused, "not_allocated"), (released, "released"), (taken_back, "released")];
    for (order, code) in table {
        let (status, body) = world.ship(order, "LYON", None, "key").await;
        assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!(code)), "{body}");
    }
    world.feed(&[confirmed(open)]).await.unwrap();
    assert_eq!(world.ship(open, "LYON", None, "key").await.0, StatusCode::CREATED);
    assert_eq!(world.ship(open, "LYON", None, "key-2").await.1["code"], "already_shipped");
    assert_eq!(world.level("MUG").await, (2, 0));
}

#[tokio::test]
async fn what_is_taken_back_is_in_stock_again_and_what_has_left_is_not() {
    let (mut world, order) = allocated().await;
    let other = OrderId::mint();
    world.feed(&[hold(other, &[("MUG", 1)])]).await.unwrap();
    world.feed(&[reclaim(other), reclaim(order)]).await.unwrap();
    world.feed(&[confirmed(other), cancelled(order)]).await.unwrap();
    assert_eq!(world.answers().await, ["held", "held", "reclaimed", "reclaimed"]);
    assert_eq!((world.level("MUG").await, world.late().await), ((4, 0), 0));
    assert_eq!(state(&world, other).await, "released", "confirmed too late");
    let (mut world, order) = allocated().await;
    world.ship(order, "MILAN", None, "s-1").await;
    world.feed(&[reclaim(order)]).await.unwrap();
    assert_eq!(world.answers().await, ["held", "part shipped", "not reclaimed"]);
    assert_eq!(world.ship(order, "LYON", None, "s-2").await.1["complete"], true, "the order goes on");
}

/// A warehouse ships while the order is taken back: it leaves, or it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_shipment_and_a_reclaim_at_once_one_is_first() {
    let mut world = World::with_stock(&[("MUG", 0)]).await;
    let mut outcomes = [0, 0];
    for _ in 0..40 {
        outcomes[usize::from(race(&mut world).await)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 0), "both ends were reached: {outcomes:?}");
}

/// Whether the shipment was first.
async fn race(world: &mut World) -> bool {
    let order = OrderId::mint();
    world.receipt("MUG", &format!("for-{order}"), 1).await;
    let mut other = world.partition(7).await;
    world.feed(&[hold(order, &[("MUG", 1)])]).await.unwrap();
    world.feed(&[confirmed(order)]).await.unwrap();
    let before = world.answers().await.len();
    let key = format!("ship-{order}");
    let commands = [reclaim(order)];
    let (shipped, reclaimed) = tokio::join!(world.ship(order, "LYON", None, &key), other.feed(&commands));
    reclaimed.unwrap();
    let mut said = world.answers().await.split_off(before);
    said.sort();
    match shipped.0 {
        StatusCode::CREATED => assert_eq!(said, ["not reclaimed", "shipped"]),
        _ => assert_eq!((said, &shipped.1["code"]), (vec!["reclaimed".to_owned()], &json!("released"))),
    }
    shipped.0 == StatusCode::CREATED
}

#[tokio::test]
async fn what_a_cancelled_order_still_has_is_cleaned_up_and_counted_once() {
    let (mut world, order) = allocated().await;
    world.ship(order, "LYON", None, "s-1").await;
    world.feed(&[cancelled(order)]).await.unwrap();
    world.feed(&[cancelled(order), cancelled(OrderId::mint())]).await.unwrap();
    assert_eq!((world.level("MUG").await, world.late().await), ((2, 0), 1));
    assert_eq!(state(&world, order).await, "released");
}

#[tokio::test]
async fn an_event_at_fault_stops_its_batch_and_an_unknown_one_is_not_passed_over() {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let (order, stranger) = (OrderId::mint(), OrderId::mint());
    world.feed(&[hold(order, &[("MUG", 1)])]).await.unwrap();
    let impossible = world.next_batch(&[confirmed(order), confirmed(stranger)]);
    let mut unknown = world.next_batch(&[confirmed(order), placed(stranger)]);
    unknown.records[1].kind = "order.reopened.v1".to_owned();
    unknown.records[1].payload = br#"{"type":"order.reopened.v1"}"#.to_vec();
    for batch in [impossible, unknown] {
        let refused = world.feed_batch(&batch).await;
        let guilty = batch.records[1].id;
        assert!(matches!(refused, Err(HandleError::ThisMessage { id, .. }) if id == guilty), "{refused:?}");
    }
    assert_eq!(state(&world, order).await, "open");
}

#[tokio::test]
async fn what_concerns_no_hold_leaves_no_row_in_any_version() {
    let world = World::new().await;
    let orders: Vec<OrderId> = (0..5).map(|_| OrderId::mint()).collect();
    let events: Vec<_> = orders.iter().map(|order| placed(*order)).collect();
    let mut batch = world.next_batch(&events);
    batch.records[4].kind = "order.placed.v9".to_owned();
    batch.records[4].payload = br#"{"type":"order.placed.v9"}"#.to_vec();
    world.feed_batch(&batch).await.unwrap();
    let offsets = world.db.collection::<bson::Document>("consumer_offset");
    let offset = offsets.find_one(doc! { "_id": "order.events/0" }).await.unwrap().unwrap();
    assert_eq!(offset.get_i64("next_offset").unwrap(), 5);
    assert_eq!((world.count("inbox").await, world.count("hold").await), (0, 0));
}

#[tokio::test]
async fn the_stock_at_any_time_is_what_a_client_saw_then() {
    let (mut world, order) = allocated().await;
    let at = |view: &Value| view["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let mut seen = vec![world.get(Who::Customer, "/v1/stock/MUG").await.1];
    world.ship(order, "LYON", None, "s-1").await;
    seen.push(world.get(Who::Customer, "/v1/stock/MUG").await.1);
    for key in 0..20 {
        world.receipt("MUG", &format!("r-{key}"), 1).await;
        let other = OrderId::mint();
        world.feed(&[hold(other, &[("MUG", 1)]), release(other)]).await.unwrap();
        world.feed::<InventoryCommand>(&[hold(OrderId::mint(), &[("MUG", 1)])]).await.unwrap();
        seen.push(world.get(Who::Customer, "/v1/stock/MUG").await.1);
    }
    assert!(seen.windows(2).all(|pair| at(&pair[0]) < at(&pair[1])), "each has a time of its own");
    for view in &seen {
        let path = format!("/v1/stock/MUG?as_of={}", at(view));
        assert_eq!(world.get(Who::Customer, &path).await, (StatusCode::OK, view.clone()));
    }
    let before = at(&seen[1]).checked_sub(std::time::Duration::from_micros(1)).unwrap();
    assert_eq!(world.get(Who::Customer, &format!("/v1/stock/MUG?as_of={before}")).await.1, seen[0]);
    let (_, never) = world.get(Who::Customer, "/v1/stock/MUG?as_of=2020-01-01T00:00:00Z").await;
    assert_eq!(never, json!({ "sku": "MUG", "on_hand": 0, "held": 0, "available": 0, "warehouses": [] }));
    world.product("NEW").await;
    let (_, new) = world.get(Who::Customer, "/v1/stock/NEW").await;
    assert_eq!(new, json!({ "sku": "NEW", "on_hand": 0, "held": 0, "available": 0, "warehouses": [] }));
    assert_eq!(world.get(Who::Customer, "/v1/stock/NONE?as_of=2020-01-01T00:00:00Z").await.0, StatusCode::NOT_FOUND);
}

/// Movements are never changed, and their causes, one after the other, make what each says there was.
#[tokio::test]
async fn the_causes_of_all_movements_add_up_to_the_stock() {
    use futures::TryStreamExt;
    let (mut world, order) = allocated().await;
    world.ship(order, "LYON", None, "s-1").await;
    let other = OrderId::mint();
    world.feed(&[hold(other, &[("MUG", 1)]), release(other)]).await.unwrap();
    let movements = world.db.collection::<bson::Document>("movement");
    let movements = movements.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let movements: Vec<bson::Document> = movements.try_collect().await.unwrap();
    assert_eq!(movements.len(), 5);
    let mut sums = [("LYON", [0, 0]), ("MILAN", [0, 0])];
    for movement in movements {
        for cause in movement.get_array("causes").unwrap() {
            let cause = cause.as_document().unwrap();
            let (warehouse, pieces) = (cause.get_str("warehouse").unwrap(), cause.get_i64("pieces").unwrap());
            let (_, [on_hand, held]) = sums.iter_mut().find(|(code, _)| *code == warehouse).unwrap();
            let signs = match cause.get_str("kind").unwrap() {
                "received" => [1, 0],
                "held" => [0, 1],
                "released" => [0, -1],
                _ => [-1, -1],
            };
            *on_hand += signs[0] * pieces;
            *held += signs[1] * pieces;
        }
        for (warehouse, [on_hand, held]) in &sums {
            let Ok(level) = movement.get_document("warehouses").unwrap().get_document(*warehouse) else { continue };
            assert_eq!((level.get_i64("on_hand").unwrap(), level.get_i64("held").unwrap()), (*on_hand, *held));
        }
    }
    assert_eq!((world.level_in("LYON", "MUG").await, world.level_in("MILAN", "MUG").await), ((0, 0), (2, 1)));
}

#[tokio::test]
async fn all_that_was_said_of_an_order_is_said_again() {
    let (world, order) = allocated().await;
    world.ship(order, "LYON", None, "s-1").await;
    world.ship(order, "MILAN", None, "s-2").await;
    let first: Vec<InventoryEvent> = world.said().await.into_iter().map(|(_, event)| event).collect();
    let path = format!("/v1/holds/{order}/republish");
    let (status, _) = world.send(Who::Operator, axum::http::Method::POST, &path, "", None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let again: Vec<InventoryEvent> = world.said().await.into_iter().map(|(_, event)| event).skip(first.len()).collect();
    assert_eq!(again, first);
}

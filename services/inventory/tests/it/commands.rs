//! Batches of commands: what is held, what is answered, and what is left behind.

use bson::doc;
use contracts::{OrderId, inventory::InventoryEvent};
use messaging::HandleError;
use uuid::Uuid;

use crate::world::{Who, World, hold, release};

#[tokio::test]
async fn holds_all_lines() {
    let mut world = World::with_stock(&[("MUG", 5), ("CUP", 2)]).await;
    let order = OrderId::mint();
    world.feed(&[hold(order, &[("MUG", 2), ("CUP", 2)])]).await.unwrap();
    assert_eq!(world.answers().await, ["held"]);
    assert_eq!((world.level("MUG").await, world.level("CUP").await), ((5, 2), (2, 2)));
    let (_, view) = world.get(Who::Operator, &format!("/v1/holds/{order}")).await;
    assert_eq!((&view["state"], &view["lines"][1]["sku"]), (&"open".into(), &"CUP".into()), "{view}");
}

#[tokio::test]
async fn holds_nothing_if_one_line_is_short() {
    let mut world = World::with_stock(&[("MUG", 5), ("CUP", 1)]).await;
    let (short, unknown) = (OrderId::mint(), OrderId::mint());
    let batch = [hold(short, &[("MUG", 2), ("CUP", 2)]), hold(unknown, &[("MUG", 1), ("NONE", 1)])];
    world.feed(&batch).await.unwrap();
    assert_eq!(world.answers().await, ["short of CUP", "short of NONE"]);
    assert_eq!((world.level("MUG").await, world.level("CUP").await), ((5, 0), (1, 0)));
    assert_eq!(world.count("hold").await, 2, "a refusal leaves its row");
}

#[tokio::test]
async fn a_release_gives_the_stock_back() {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let (one, two) = (OrderId::mint(), OrderId::mint());
    world.feed(&[hold(one, &[("MUG", 3)])]).await.unwrap();
    world.feed(&[hold(two, &[("MUG", 1)])]).await.unwrap();
    world.feed(&[release(one), release(two)]).await.unwrap();
    assert_eq!(world.answers().await, ["held", "short of MUG", "released", "released"]);
    assert_eq!(world.level("MUG").await, (3, 0));
    assert_eq!(world.open_holds().await, 0);
}

#[tokio::test]
async fn a_hold_that_comes_after_its_release_is_refused() {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let order = OrderId::mint();
    world.feed(&[release(order)]).await.unwrap();
    world.feed(&[hold(order, &[("MUG", 1)])]).await.unwrap();
    world.feed(&[release(order)]).await.unwrap();
    assert_eq!(world.answers().await, ["released", "too late", "released"]);
    assert_eq!(world.level("MUG").await, (3, 0));
}

#[tokio::test]
async fn a_command_that_comes_again_gets_the_stored_answer_as_a_new_message() {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let order = OrderId::mint();
    world.feed(&[hold(order, &[("MUG", 2)])]).await.unwrap();
    world.feed(&[release(order)]).await.unwrap();
    world.feed(&[hold(order, &[("MUG", 2)]), release(order)]).await.unwrap();
    let said = world.said().await;
    assert_eq!(world.answers().await, ["held", "released", "held", "released"]);
    for (first, again) in [(0, 2), (1, 3)] {
        assert_eq!(said[first].1, said[again].1, "the same to the last field");
        assert_ne!(said[first].0, said[again].0, "a new message id");
    }
    assert_eq!(world.level("MUG").await, (3, 0));
}

#[tokio::test]
async fn a_message_that_comes_again_does_nothing() {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let (message, order) = (Uuid::now_v7(), OrderId::mint());
    let command = hold(order, &[("MUG", 2)]);
    world.feed_messages(&[(message, command.clone()), (message, command.clone())]).await.unwrap();
    world.feed_messages(&[(message, command)]).await.unwrap();
    assert_eq!(world.answers().await, ["held"]);
    assert_eq!(world.level("MUG").await, (3, 2));
    // Beside one that was seen, one that was not is obeyed.
    let other = hold(OrderId::mint(), &[("MUG", 1)]);
    world.feed_messages(&[(message, release(order)), (Uuid::now_v7(), other)]).await.unwrap();
    assert_eq!(world.answers().await, ["held", "held"]);
    assert_eq!(world.level("MUG").await, (3, 3));
}

#[tokio::test]
async fn a_fenced_batch_leaves_nothing() {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let zombie = world.next_batch(&[hold(OrderId::mint(), &[("MUG", 1)])]);
    world.feed(&[hold(OrderId::mint(), &[("MUG", 1)])]).await.unwrap();
    let before = (world.level("MUG").await, world.count("hold").await, world.count("inbox").await);
    let fenced = world.feed_batch(&zombie).await;
    assert!(matches!(fenced, Err(HandleError::Fenced)), "{fenced:?}");
    assert_eq!(before, (world.level("MUG").await, world.count("hold").await, world.count("inbox").await));
    assert_eq!(world.answers().await, ["held"]);
}

#[tokio::test]
async fn a_message_at_fault_stops_its_batch() {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let order = OrderId::mint();
    let mut unreadable = world.next_batch(&[hold(order, &[("MUG", 1)]), release(order)]);
    unreadable.records[1].payload = br#"{"type":"inventory.hold-stock.v9"}"#.to_vec();
    let twice = world.next_batch(&[hold(OrderId::mint(), &[("MUG", 1)]), hold(order, &[("MUG", 1), ("MUG", 1)])]);
    let other_lines = world.next_batch(&[hold(order, &[("MUG", 1)]), other_hold(order)]);
    for batch in [unreadable, twice, other_lines] {
        let refused = world.feed_batch(&batch).await;
        let guilty = batch.records[1].id;
        assert!(matches!(refused, Err(HandleError::ThisMessage { id, .. }) if id == guilty), "{refused:?}");
    }
    assert_eq!((world.count("hold").await, world.count("inbox").await, world.level("MUG").await), (0, 0, (3, 0)));
    world.feed(&[hold(order, &[("MUG", 1)])]).await.unwrap();
    assert_eq!(world.answers().await, ["held"]);
}

/// Another command of the same order, for other lines.
fn other_hold(order: OrderId) -> contracts::inventory::InventoryCommand {
    let mut command = hold(order, &[("MUG", 2)]);
    if let contracts::inventory::InventoryCommand::HoldStock { command, .. } = &mut command {
        *command = "another".to_owned().try_into().unwrap();
    }
    command
}

#[tokio::test]
async fn messages_of_one_order_are_obeyed_in_the_order_of_the_log() {
    let mut world = World::with_stock(&[("MUG", 2)]).await;
    let orders: Vec<OrderId> = (0..40).map(|_| OrderId::mint()).collect();
    let batch: Vec<_> = orders.iter().flat_map(|order| [hold(*order, &[("MUG", 2)]), release(*order)]).collect();
    world.feed(&batch).await.unwrap();
    let said = world.said().await;
    assert_eq!(said.len(), 80);
    for (pair, order) in said.chunks(2).zip(&orders) {
        assert!(matches!(&pair[0].1, InventoryEvent::StockHeld { order: held, .. } if held == order), "{pair:?}");
        assert!(matches!(&pair[1].1, InventoryEvent::StockReleased { order: freed, .. } if freed == order), "{pair:?}");
    }
    assert_eq!(world.level("MUG").await, (2, 0));
}

#[tokio::test]
async fn the_database_itself_refuses_to_hold_more_than_there_is() {
    let world = World::with_stock(&[("MUG", 2)]).await;
    let stock = world.db.collection::<bson::Document>("stock");
    for (field, wrong) in [("held", 3_i64), ("held", -1), ("on_hand", -1)] {
        let change = doc! { "$set": { format!("warehouses.LYON.{field}"): wrong } };
        let refused = stock.update_one(doc! { "_id": "MUG" }, change).await.unwrap_err();
        assert!(refused.to_string().contains("121"), "{refused}");
    }
    assert_eq!(world.level("MUG").await, (2, 0));
}

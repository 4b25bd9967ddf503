//! What a batch costs: the number of commands sent to MongoDB does not grow with it.

use std::sync::{Arc, Mutex};

use contracts::OrderId;
use mongodb::{
    Client,
    event::{EventHandler, command::CommandEvent},
    options::ClientOptions,
};

use crate::world::{Feed, World, hold, release};

#[tokio::test]
async fn a_batch_of_any_size_takes_as_many_round_trips() {
    let mut world = World::with_stock(&[("MUG", 5_000), ("CUP", 5_000)]).await;
    let sent: Arc<Mutex<Vec<String>>> = Arc::default();
    let client = client(&world, sent.clone()).await;
    let mut feed = world.another(client, 1).await;
    let accept = ["update consumer_offset", "find inbox", "insert inbox"];
    let end = ["insert outbox", "commitTransaction admin"];
    let first = [&accept[..], &["find hold", "find stock", "update stock", "insert hold"], &end].concat();
    for size in [1, 400] {
        let orders: Vec<OrderId> = (0..size).map(|_| OrderId::mint()).collect();
        let holds: Vec<_> = orders.iter().map(|order| hold(*order, &[("MUG", 1), ("CUP", 1)])).collect();
        assert_eq!(round_trips(&mut feed, &holds, &sent).await, first, "{size} holds");
    }
    let order = OrderId::mint();
    feed.feed(&[hold(order, &[("MUG", 1)])]).await.unwrap();
    let undo = [&accept[..], &["find hold", "find stock", "update stock", "update hold"], &end].concat();
    assert_eq!(round_trips(&mut feed, &[release(order)], &sent).await, undo);
    let again = [&accept[..], &["find hold"], &end].concat();
    assert_eq!(round_trips(&mut feed, &[release(order)], &sent).await, again, "nothing changes, an answer goes out");
}

async fn round_trips(
    feed: &mut Feed,
    batch: &[contracts::inventory::InventoryCommand],
    sent: &Mutex<Vec<String>>,
) -> Vec<String> {
    sent.lock().unwrap().clear();
    feed.feed(batch).await.unwrap();
    sent.lock().unwrap().clone()
}

/// A client that writes down what it sends.
async fn client(world: &World, sent: Arc<Mutex<Vec<String>>>) -> Client {
    let mut options = ClientOptions::parse(&world.url).await.unwrap();
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(started) = event {
            let of = started.command.get_str(&started.command_name).unwrap_or(&started.db);
            sent.lock().unwrap().push(format!("{} {of}", started.command_name));
        }
    }));
    Client::with_options(options).unwrap()
}

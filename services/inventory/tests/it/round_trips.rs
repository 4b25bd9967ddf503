//! What a batch costs: the number of commands sent to MongoDB does not grow with it.

use std::sync::{Arc, Mutex};

use bson::doc;
use contracts::{Message, OrderId};
use mongodb::{
    Client,
    event::{EventHandler, command::CommandEvent},
    options::ClientOptions,
};

use crate::world::{Feed, World, confirmed, hold, placed, release};

/// More than the 101 documents that the server puts into a first reply unless told otherwise.
const MANY: usize = 150;

#[tokio::test]
async fn a_batch_of_any_size_takes_as_many_round_trips() {
    let mut world = World::new().await;
    let skus: Vec<String> = (0..MANY).map(|number| format!("SKU-{number}")).collect();
    let (at, level) = (bson::DateTime::MIN, doc! { "on_hand": 1_000_i64, "held": 0_i64 });
    let levels = skus.iter().map(|sku| doc! { "_id": sku, "at": at, "warehouses": { "LYON": level.clone() } });
    world.db.collection::<bson::Document>("stock").insert_many(levels).await.unwrap();
    let sent: Arc<Mutex<Vec<String>>> = Arc::default();
    let client = client(&world, sent.clone()).await;
    let mut feed = world.another(client, 1).await;

    let accept = ["update consumer_offset", "find inbox", "insert inbox"];
    let end = ["insert outbox", "commitTransaction admin"];
    let stock = ["find hold", "find stock", "update stock", "insert movement"];
    let hold_stock = [&accept[..], &stock, &["insert hold"], &end].concat();
    let release_stock = [&accept[..], &stock, &["update hold"], &end].concat();
    let allocate = [&accept[..], &["find hold", "update hold"], &end[1..]].concat();
    let pass_over = ["update consumer_offset", "commitTransaction admin"];
    let answer_again = [&accept[..], &["find hold"], &end].concat();
    for size in [1, MANY] {
        let orders: Vec<OrderId> = (0..size).map(|_| OrderId::mint()).collect();
        let holds: Vec<_> = orders.iter().zip(&skus).map(|(order, sku)| hold(*order, &[(sku, 1)])).collect();
        assert_eq!(round_trips(&mut feed, &holds, &sent).await, hold_stock, "{size} holds");
        let (placed, confirmed): (Vec<_>, Vec<_>) = orders.iter().map(|id| (placed(*id), confirmed(*id))).unzip();
        assert_eq!(round_trips(&mut feed, &placed, &sent).await, pass_over, "{size} placed");
        assert_eq!(round_trips(&mut feed, &confirmed, &sent).await, allocate, "{size} confirmed");
        let orders: Vec<OrderId> = (0..size).map(|_| OrderId::mint()).collect();
        let holds: Vec<_> = orders.iter().zip(&skus).map(|(order, sku)| hold(*order, &[(sku, 1)])).collect();
        let releases: Vec<_> = orders.iter().map(|order| release(*order)).collect();
        feed.feed(&holds).await.unwrap();
        assert_eq!(round_trips(&mut feed, &releases, &sent).await, release_stock, "{size} releases");
        assert_eq!(round_trips(&mut feed, &releases, &sent).await, answer_again, "{size} releases that come again");
    }
    assert_eq!(world.open_holds().await, 0);
    assert_eq!(world.answers().await.len(), 4 * (MANY + 1));
}

async fn round_trips<M: Message>(feed: &mut Feed, batch: &[M], sent: &Mutex<Vec<String>>) -> Vec<String> {
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

//! Several instances of the service on one database.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::http::StatusCode;
use contracts::OrderId;
use messaging::HandleError;
use mongodb::{
    Client,
    event::{EventHandler, command::CommandEvent},
    options::ClientOptions,
};

use crate::world::{Feed, World, hold, release};

const BATCHES: usize = 25;
const ORDERS_PER_BATCH: usize = 8;
const PIECES: u32 = 250;
/// How often what has met conflicts for 5 s, on a slow machine, is tried again.
const AGAIN_MAX: usize = 5;
/// How MongoDB calls it.
const WRITE_CONFLICT: &str = "WriteConflict";

/// Two writers, one hot SKU, 400 orders for 250 pieces: 250 are held, 150 refused, no answer is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_on_one_hot_sku_never_oversell_and_lose_nothing() {
    let mut world = World::with_stock(&[("HOT", PIECES)]).await;
    let conflicts = Arc::new(AtomicU32::new(0));
    let mut one = world.another(client(&world, &conflicts).await, 1).await;
    let mut two = world.another(client(&world, &conflicts).await, 2).await;
    tokio::join!(feed_all(&mut one), feed_all(&mut two));
    assert!(conflicts.load(Ordering::SeqCst) > 0, "the writers never met, so nothing was shown");
    assert_eq!(world.level("HOT").await, (i64::from(PIECES), i64::from(PIECES)));
    assert_eq!(world.open_holds().await, u64::from(PIECES));
    let answers = world.answers().await;
    assert_eq!(answers.len(), 2 * BATCHES * ORDERS_PER_BATCH);
    assert_eq!(answers.iter().filter(|answer| *answer == "held").count(), PIECES as usize);
}

/// The consumer that lost its partition and the one that got it feed the same batch at the same time: one is fenced.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_that_feed_the_same_batch_one_is_fenced() {
    let mut world = World::with_stock(&[("HOT", PIECES)]).await;
    let conflicts = Arc::new(AtomicU32::new(0));
    for round in 0..10 {
        let mut one = world.partition(3).await;
        let mut two = world.another(client(&world, &conflicts).await, 3).await;
        let order = OrderId::mint();
        let batch = [hold(order, &[("HOT", 1)])];
        let (first, second) = tokio::join!(one.feed(&batch), two.feed(&batch));
        let fenced = [&first, &second].into_iter().filter(|done| matches!(done, Err(HandleError::Fenced))).count();
        let done = [&first, &second].into_iter().filter(|done| done.is_ok()).count();
        assert_eq!((done, fenced), (1, 1), "{first:?} {second:?}");
        assert_eq!(world.level("HOT").await.1, round + 1);
    }
    assert_eq!(world.answers().await.len(), 10);
}

/// Receipts come in while commands are obeyed, through both instances.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn receipts_and_commands_do_not_lose_each_others_sums() {
    let mut world = World::with_stock(&[("HOT", 400)]).await;
    let conflicts = Arc::new(AtomicU32::new(0));
    let mut feed = world.another(client(&world, &conflicts).await, 1).await;
    let receipts = async {
        for wave in 0..10 {
            let keys: Vec<String> = (0..5).map(|number| format!("{wave}-{number}")).collect();
            futures::future::join_all(keys.iter().map(|key| come_in(&world, key))).await;
        }
    };
    tokio::join!(feed_all(&mut feed), receipts);
    assert_eq!(world.level("HOT").await, (500, 200));
    assert_eq!(world.count("receipt").await, 51);
}

/// As a client does: what is turned away for now is sent again with its key, a few times.
async fn come_in(world: &World, key: &str) {
    for _ in 0..AGAIN_MAX {
        let (status, booked) = world.receipt("HOT", key, 2).await;
        if status != StatusCode::SERVICE_UNAVAILABLE {
            return assert_eq!(status, StatusCode::CREATED, "{booked}");
        }
    }
    panic!("{key} is turned away again and again");
}

async fn feed_all(feed: &mut Feed) {
    let (mut seen, mut again) = (HashSet::new(), 0);
    for _ in 0..BATCHES {
        let orders: Vec<OrderId> = (0..ORDERS_PER_BATCH).map(|_| OrderId::mint()).collect();
        seen.extend(orders.iter().copied());
        let batch: Vec<_> = orders.iter().map(|order| hold(*order, &[("HOT", 1)])).collect();
        // As a consumer does.
        while let Err(error) = feed.feed(&batch).await {
            let conflict = matches!(&error, HandleError::Ours(ours) if format!("{ours:?}").contains(WRITE_CONFLICT));
            again += 1;
            assert!(conflict && again <= AGAIN_MAX, "{again} times: {error:?}");
        }
    }
    assert_eq!(seen.len(), BATCHES * ORDERS_PER_BATCH);
}

/// A client of its own, as another process has; it counts the write conflicts it meets.
async fn client(world: &World, conflicts: &Arc<AtomicU32>) -> Client {
    let conflicts = conflicts.clone();
    let mut options = ClientOptions::parse(&world.url).await.unwrap();
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Failed(failed) = event
            && failed.failure.to_string().contains(WRITE_CONFLICT)
        {
            conflicts.fetch_add(1, Ordering::SeqCst);
        }
    }));
    Client::with_options(options).unwrap()
}

/// A hold and its release through different instances: the partition moved between them.
#[tokio::test]
async fn what_one_instance_held_another_releases() {
    let mut world = World::with_stock(&[("HOT", 1)]).await;
    let order = OrderId::mint();
    world.feed(&[hold(order, &[("HOT", 1)])]).await.unwrap();
    let conflicts = Arc::new(AtomicU32::new(0));
    let mut other = world.another(client(&world, &conflicts).await, 0).await;
    other.feed(&[release(order)]).await.unwrap();
    assert_eq!(world.answers().await, ["held", "released"]);
    assert_eq!(world.level("HOT").await, (1, 0));
}

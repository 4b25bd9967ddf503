//! A process that is stopped for a while, and does not know it.

use std::time::Duration;

use contracts::Topic;
use futures::future::join_all;
use mongodb::{
    ClientSession, Database,
    bson::{Document, doc},
};
use serde_json::json;
use shop::Service;
use tokio::time::{Instant, sleep, timeout};

use super::{
    stores::Stores,
    topics::Topics,
    traffic::Traffic,
    world::{OK, PATIENCE, World},
};

/// Few, so that what piles up behind a frozen process is done long before the deadlines of the sagas.
const ORDERS_PER_SECOND: u32 = 25;
/// Longer than anybody waits: Kafka's group and the other relay 6 s, PostgreSQL for an idle transaction 10 s.
const FROZEN: Duration = Duration::from_secs(20);
/// Within this time a process has at hand what stands in a partition of its own. Less than the 5 s for which MongoDB leaves a
/// transaction.
const AT_HAND: Duration = Duration::from_millis(1_500);
/// Between two rounds of orders.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// One of two processes of each service is frozen amid a batch, and another does its work meanwhile. What the frozen one
/// does late then fails at the fence, and the books add up.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_process_does_late_fails_at_the_fence() {
    let world = World::new("frozen", 2).await;
    world.product("FROZEN", 9_999).await;
    let services = Service::ALL.map(Service::name);
    let traffic = Traffic::begin(&world, "FROZEN", ORDERS_PER_SECOND);
    sleep(Duration::from_secs(3)).await;
    let mut before = Vec::new();
    for service in services {
        before.push((service, fenced(&world, service).await));
    }
    freeze_amid_a_batch(&world, services).await;
    sleep(FROZEN).await;
    services.iter().for_each(|service| world.shop.thaw(service).unwrap());
    let awake = Instant::now();
    for (service, before) in before {
        let met = async {
            while fenced(&world, service).await <= before {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("{service} had a batch at hand, and met no fence"));
        eprintln!("{service} has met the fence, {:?} after it went on", awake.elapsed());
    }
    let accepted = traffic.end().await;
    eprintln!("{} orders, asked for again {} times", accepted.count(), accepted.asked_again());
    accepted.settle(&world).await;
    world.audit().await;
}

/// Freezes the first process of each of `services` while none can write its offsets, without which no batch ends. Orders'
/// first, for what it takes in comes from those who still go on.
async fn freeze_amid_a_batch(world: &World, services: [&str; 3]) {
    let stores = Stores::of(world).await;
    let mut locked = Vec::new();
    for (reader, topic, database) in
        [("order", Topic::InventoryEvents, &stores.orders), ("billing", Topic::BillingCommands, &stores.billing)]
    {
        let mut lock = database.begin().await.unwrap();
        let lock_all =
            "set local idle_in_transaction_session_timeout = 0; lock table consumer_offset in exclusive mode";
        sqlx::raw_sql(lock_all).execute(&mut *lock).await.unwrap();
        locked.push(lock);
        until_behind(world, &stores, reader, topic).await;
    }
    let mut of_inventory = timeout(PATIENCE, locked_offsets(&stores.inventory)).await.unwrap();
    until_behind(world, &stores, "inventory", Topic::InventoryCommands).await;
    // The database may have given it up meanwhile; then somebody has gone on.
    while !write_all(&stores.inventory, &mut of_inventory).await {
        of_inventory = timeout(PATIENCE, locked_offsets(&stores.inventory)).await.unwrap();
        until_behind(world, &stores, "inventory", Topic::InventoryCommands).await;
    }
    services.iter().for_each(|service| world.shop.freeze(service).unwrap());
    of_inventory.abort_transaction().await.unwrap();
    for lock in locked {
        lock.rollback().await.unwrap();
    }
}

/// Has orders come until `reader` has something to do in each partition of `topic`, and so each of its processes a batch at hand.
async fn until_behind(world: &World, stores: &Stores, reader: &'static str, topic: Topic) {
    let (topics, customers) = (Topics::of(world), [(); 8].map(|()| world.customer()));
    let lines = json!([{ "sku": "FROZEN", "quantity": 1 }]);
    let behind = async {
        loop {
            join_all(customers.iter().map(|customer| customer.place_lines(&lines, OK))).await;
            let offsets = stores.offsets().await;
            let place = |at| offsets.get(&(reader, topic.name().to_owned(), at)).copied().unwrap_or_default();
            let mut ends = topics.ends().into_iter().filter(|(name, ..)| *name == topic.name()).peekable();
            if ends.peek().is_some() && ends.all(|(_, at, end)| end > place(at)) {
                return;
            }
            sleep(LOOKS_AGAIN_AFTER).await;
        }
    };
    timeout(PATIENCE, behind)
        .await
        .unwrap_or_else(|_| panic!("{reader} has nothing to do in a partition of {}", topic.name()));
    sleep(AT_HAND).await;
}

/// A transaction that has written all offsets: who writes one meanwhile has a conflict, and tries again.
async fn locked_offsets(inventory: &Database) -> ClientSession {
    let mut session = inventory.client().start_session().await.unwrap();
    loop {
        session.start_transaction().await.unwrap();
        if write_all(inventory, &mut session).await {
            return session;
        }
        let _ = session.abort_transaction().await;
    }
}

/// Whether all offsets could be written.
async fn write_all(inventory: &Database, session: &mut ClientSession) -> bool {
    let offsets = inventory.collection::<Document>("consumer_offset");
    offsets.update_many(doc! {}, doc! { "$inc": { "locked": 1 } }).session(session).await.is_ok()
}

async fn fenced(world: &World, service: &str) -> f64 {
    world.metric_if_any(service, "messaging_fenced_total").await.unwrap_or_default()
}

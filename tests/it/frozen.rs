//! A process that is stopped for a while, and does not know it.

use std::time::Duration;

use mongodb::{
    ClientSession, Database,
    bson::{Document, doc},
};
use shop::Service;
use tokio::time::{Instant, sleep, timeout};

use super::{
    stores::Stores,
    traffic::Traffic,
    world::{PATIENCE, World},
};

/// Few, so that what piles up behind a frozen process is done long before the deadlines of the sagas.
const ORDERS_PER_SECOND: u32 = 25;
/// Longer than anybody waits: Kafka's group and the other relay 6 s, PostgreSQL for an idle transaction 10 s.
const FROZEN: Duration = Duration::from_secs(20);
/// Within this time messages have come to both processes of a service: so each has a batch at hand that it cannot write.
/// Three times this is less than the 10 s for which PostgreSQL leaves an idle transaction, and once less than MongoDB's 5 s.
const AT_HAND: Duration = Duration::from_millis(1_500);

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
    for database in [&stores.orders, &stores.billing] {
        let mut lock = database.begin().await.unwrap();
        sqlx::raw_sql("lock table consumer_offset").execute(&mut *lock).await.unwrap();
        locked.push(lock);
        sleep(AT_HAND).await;
    }
    let mut of_inventory = timeout(PATIENCE, locked_offsets(&stores.inventory)).await.unwrap();
    sleep(AT_HAND).await;
    services.iter().for_each(|service| world.shop.freeze(service).unwrap());
    of_inventory.abort_transaction().await.unwrap();
    for lock in locked {
        lock.rollback().await.unwrap();
    }
}

/// A transaction that has written all offsets: who writes one meanwhile has a conflict, and tries again.
async fn locked_offsets(inventory: &Database) -> ClientSession {
    let offsets = inventory.collection::<Document>("consumer_offset");
    let mut session = inventory.client().start_session().await.unwrap();
    loop {
        session.start_transaction().await.unwrap();
        let locked = offsets.update_many(doc! {}, doc! { "$set": { "locked": true } }).session(&mut session).await;
        if locked.is_ok() {
            return session;
        }
        let _ = session.abort_transaction().await;
    }
}

async fn fenced(world: &World, service: &str) -> f64 {
    world.metric_if_any(service, "messaging_fenced_total").await.unwrap_or_default()
}

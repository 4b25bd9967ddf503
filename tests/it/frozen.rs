//! A process that is stopped for a while, and does not know it.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{traffic::Traffic, world::World};

/// What programs of a debug build keep up with on two slow cores, six of them.
const ORDERS_PER_SECOND: u32 = 35;
/// Longer than anybody waits: Kafka's group and the other relay 6 s, PostgreSQL for an idle transaction 10 s.
const FROZEN: Duration = Duration::from_secs(20);
/// Within this time a process that goes on has met what happened meanwhile.
const AWAKE: Duration = Duration::from_secs(10);
/// Whether one had messages at hand when it was frozen is chance, though a good one.
const TRIES: usize = 8;

/// One of two processes of each service is frozen amid its work, and another does it meanwhile. What the frozen one does
/// late then fails at the fence, and the books add up.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_process_does_late_fails_at_the_fence() {
    let world = World::new("frozen", 2).await;
    world.product("FROZEN", 9_999).await;
    let mut services = vec!["order", "inventory", "billing"];
    for _ in 0..TRIES {
        services = not_fenced(&world, services).await;
        world.audit().await;
        if services.is_empty() {
            return;
        }
    }
    panic!("{services:?} had nothing at hand whenever they were frozen");
}

/// Freezes the first process of each of `services` under load and lets it go on; gives those that did not meet the fence.
async fn not_fenced(world: &World, services: Vec<&'static str>) -> Vec<&'static str> {
    let traffic = Traffic::begin(world, "FROZEN", ORDERS_PER_SECOND);
    sleep(Duration::from_secs(3)).await;
    let mut before = Vec::new();
    for service in services {
        before.push((service, fenced(world, service).await));
        world.shop.freeze(service).unwrap();
    }
    sleep(FROZEN).await;
    before.iter().for_each(|(service, _)| world.shop.thaw(service).unwrap());
    let mut not_fenced = Vec::new();
    for (service, before) in before {
        let met = async {
            while fenced(world, service).await <= before {
                sleep(Duration::from_millis(100)).await;
            }
        };
        if timeout(AWAKE, met).await.is_err() {
            not_fenced.push(service);
        }
        eprintln!("{service} was frozen; fenced {before} times before, {} now", fenced(world, service).await);
    }
    let accepted = traffic.end().await;
    eprintln!("{} orders, asked for again {} times", accepted.count(), accepted.asked_again());
    accepted.settle(world).await;
    not_fenced
}

async fn fenced(world: &World, service: &str) -> f64 {
    world.metric_if_any(service, "messaging_fenced_total").await.unwrap_or_default()
}

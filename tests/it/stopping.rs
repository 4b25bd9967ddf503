//! When a replica is told to stop, the other goes on at once.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use contracts::topic::PARTITIONS;
use shop::Service;
use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

use super::{
    topics::Topics,
    world::{PATIENCE, World, many},
};

/// A replica that is told to stop is replaced sooner than one that is only silent can be given up: 6 s.
const AT_ONCE: Duration = Duration::from_secs(4);
const SILENCE: Duration = Duration::from_secs(6);

impl World {
    /// What `process` counts; nothing, if it is not there yet or has not counted.
    async fn counted(&self, process: &str, metric: &str) -> f64 {
        self.shop.metric(process, metric).await.ok().flatten().unwrap_or(0.0)
    }

    /// Of the two processes of `service`, the one that streams the outbox, and the other.
    async fn relays(&self, service: &str) -> (String, String) {
        let (one, two) = (service.to_owned(), format!("{service}-2"));
        let begun = Instant::now();
        loop {
            let streams = "messaging_relay_streaming";
            match (self.counted(&one, streams).await == 1.0, self.counted(&two, streams).await == 1.0) {
                (true, false) => return (one, two),
                (false, true) => return (two, one),
                _ => assert!(begun.elapsed() < PATIENCE, "one relay of {service} streams"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How long after `since` the relay of `process` streams, and it reads all partitions.
    async fn takes_over(&self, process: &str, assigned_before: usize, since: Instant) -> (Duration, Duration) {
        let (mut streams, mut reads) = (None, None);
        while streams.is_none() || reads.is_none() {
            assert!(since.elapsed() < PATIENCE, "{process} takes over: {streams:?}, {reads:?}");
            if streams.is_none() && self.counted(process, "messaging_relay_streaming").await == 1.0 {
                streams = Some(since.elapsed());
            }
            if reads.is_none() && self.assignments(process) > assigned_before {
                reads = Some(since.elapsed());
            }
            sleep(Duration::from_millis(20)).await;
        }
        (streams.unwrap(), reads.unwrap())
    }

    /// How often `process` was given all partitions of the two topics that its service reads.
    fn assignments(&self, process: &str) -> usize {
        let (service, _) = process.split_once('-').unwrap_or((process, ""));
        let (group, all) = (format!("group=\"{service}\""), format!("partitions={}", 2 * PARTITIONS));
        let is_all = |line: &&str| line.contains(&group) && line.ends_with(&all);
        self.log(process).lines().filter(|line| line.contains("partitions are assigned")).filter(is_all).count()
    }
}

/// Of each service, the replica that streams the outbox is told to stop while orders are on their way; and then it is killed.
#[tokio::test]
async fn when_a_replica_is_told_to_stop_the_other_goes_on_at_once() {
    let world = Arc::new(World::new("stopping", 2).await);
    world.product("STOP", 9_999).await;
    many(&world, "STOP", 50).await;
    let gently = replaced(&world, async |name| world.shop.end(name).await.unwrap()).await;
    let ids = Topics::of(&world).ids();
    let (messages, different) = (ids.len(), HashSet::<Uuid>::from_iter(ids).len());
    assert!(messages > 1_000, "{messages} messages");
    // None, if each relay could confirm what it had sent; on a busy machine some are sent again, and dropped.
    eprintln!("of {messages} messages {} were sent twice", messages - different);
    let by_force = replaced(&world, async |name| world.shop.take_down(name).await.unwrap()).await;
    world.audit().await;
    eprintln!("relay streams, partitions are read, after SIGTERM {gently:?}, after SIGKILL {by_force:?}");
    assert!(gently.iter().all(|(relay, reads)| *relay < AT_ONCE && *reads < AT_ONCE), "{gently:?}");
    assert!(by_force.iter().all(|(_, reads)| *reads > SILENCE - Duration::from_secs(2)), "{by_force:?}");
}

/// Has `end` end the streaming replica of each service under load; how soon the other's relay streams, and it reads all.
async fn replaced(world: &Arc<World>, end: impl AsyncFn(&str)) -> Vec<(Duration, Duration)> {
    let mut took = Vec::new();
    for service in Service::ALL {
        let (streaming, other) = world.relays(service.name()).await;
        let published = world.counted(&streaming, "messaging_published_total").await as u64;
        let mut buying = JoinSet::new();
        let customers = Arc::clone(world);
        buying.spawn(async move { many(&customers, "STOP", 100).await });
        // What it has sent just now it has not confirmed.
        let begun = Instant::now();
        while (world.counted(&streaming, "messaging_published_total").await as u64) < published + 20 {
            assert!(begun.elapsed() < PATIENCE, "{streaming} sends");
            sleep(Duration::from_millis(5)).await;
        }
        let assigned = world.assignments(&other);
        let told = Instant::now();
        let ended = end(&streaming);
        let (times, ()) = tokio::join!(world.takes_over(&other, assigned, told), ended);
        took.push(times);
        world.shop.bring_up(&streaming);
        let orders = buying.join_next().await.unwrap().unwrap();
        assert_eq!(orders.len(), 100);
        tokio::time::timeout(PATIENCE, world.shop.all_up()).await.unwrap();
    }
    took
}

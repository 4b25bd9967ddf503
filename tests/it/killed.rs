//! Every process of the shop is killed while it is busy.

use std::{collections::BTreeMap, time::Duration};

use shop::Service;
use sqlx::PgPool;
use tokio::time::{sleep, timeout};

use super::{
    traffic::Traffic,
    world::{PATIENCE, World},
};

/// Each is killed once: the services, their databases, the broker.
const VICTIMS: [&str; 7] = ["order", "inventory", "billing", "pg-orders", "pg-billing", "mongo", "kafka"];

/// So many sagas are open whenever one is killed, or more.
const MANY: i64 = 25;

/// How many orders come, and for how long before and after the kill.
struct Load {
    per_second: u32,
    before: Duration,
    after: Duration,
}

const OFTEN: Load = Load { per_second: 60, before: Duration::from_secs(1), after: Duration::from_secs(5) };
const WHOLE: Load = Load { per_second: 200, before: Duration::from_secs(10), after: Duration::from_secs(20) };

/// Orders keep coming; a victim dies, with many sagas open. Every order that was accepted ends as it must, whatever was
/// sent again, and the books add up. So with each victim in turn.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_under_load_nothing_is_lost() {
    kill_each(&OFTEN).await;
}

/// The same at 200 orders per second for 30 s, which takes the programs of a release build:
/// `cargo test --release -p system-tests 200_orders_a_second -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a release build and five minutes"]
async fn whatever_is_killed_at_200_orders_a_second_nothing_is_lost() {
    kill_each(&WHOLE).await;
}

async fn kill_each(load: &Load) {
    let world = World::new("under-load", 1).await;
    for victim in VICTIMS {
        let sku = format!("KILL-{}", victim.to_uppercase());
        world.product(&sku, 9_999).await;
        let dropped = world.duplicates_dropped().await;
        let traffic = Traffic::begin(&world, &sku, load.per_second);
        sleep(load.before).await;
        let asked_again = world.holds_asked_again().await;
        let open = timeout(PATIENCE, world.many_are_open()).await.unwrap_or_else(|_| panic!("many sagas are open"));
        world.shop.kill(victim).await.unwrap();
        sleep(load.after).await;
        let accepted = traffic.end().await;
        timeout(PATIENCE, world.shop.all_up()).await.unwrap_or_else(|_| panic!("{victim} is up again"));
        accepted.settle(&world).await;
        let dropped = more(&dropped, &world.duplicates_dropped().await);
        let asked_again = world.holds_asked_again().await - asked_again;
        eprintln!(
            "{victim}: {} orders, asked for again {} times; {open} sagas open when killed; {dropped} messages came again, \
             {asked_again} holds were asked for again",
            accepted.count(),
            accepted.asked_again()
        );
        // A broker that has only died has what it acknowledged, and nobody sends that again. But the sagas do not wait.
        let again = if victim == "kafka" { asked_again > 0 } else { dropped > 0.0 };
        assert!(again, "nothing came again after {victim} was killed");
        world.all_is_sent().await;
        world.audit().await;
    }
    for part in world.shop.state().parts {
        let killed = u32::from(VICTIMS.contains(&part.name.as_str()));
        assert_eq!(part.restarts, killed, "{}: whoever is killed takes nobody with it", part.name);
    }
}

/// How much more there is now of what each counts; whoever was started again has counted from zero.
#[expect(clippy::float_arithmetic, reason = "counts, not money")]
fn more(before: &BTreeMap<&str, f64>, now: &BTreeMap<&str, f64>) -> f64 {
    now.iter().map(|(service, now)| if *now < before[service] { *now } else { now - before[service] }).sum()
}

impl World {
    /// For each service the messages that it had taken in before.
    async fn duplicates_dropped(&self) -> BTreeMap<&'static str, f64> {
        let mut dropped = BTreeMap::new();
        for service in Service::ALL.map(Service::name) {
            let metric = self.metric_if_any(service, "messaging_duplicates_dropped_total").await;
            dropped.insert(service, metric.unwrap_or_default());
        }
        dropped
    }

    /// Waits until many sagas are open, and says how many.
    async fn many_are_open(&self) -> i64 {
        loop {
            match self.open_sagas().await {
                open if open >= MANY => return open,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// How often sagas have asked again for a hold, which is never slow by itself.
    async fn holds_asked_again(&self) -> i64 {
        let orders = PgPool::connect(&self.shop.state().stores.orders).await.unwrap();
        let query = "select count(*) from saga_log, json_array_elements(entries) entry
                     where entry->>'word' = 'asked_again' and entry->>'command' like '%:hold-stock:do:%'";
        sqlx::query_scalar(query).fetch_one(&orders).await.unwrap()
    }
}

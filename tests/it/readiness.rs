//! A service says that it is ready when it is, and else what it lacks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;
use shop::Service;

use super::world::{PATIENCE, World};

/// From the loss of a store to the word of it: two questions that fail, and some more on a busy machine.
const SOON: Duration = Duration::from_secs(12);

/// What a process says: whether it is ready, and its needs, or those it lacks.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    is_ready: bool,
    needs: String,
}

/// What the processes of `service` need, each with the word for being well.
fn needs(service: Service) -> &'static [&'static str] {
    match service {
        Service::Order => &[
            "process: runs",
            "relay: ",
            "answers: reads",
            "catalogue: reads",
            "committer: works",
            "admission: works",
            "deadlines: works",
            "copy of the catalogue: complete",
            "database: reached",
            "broker: reached",
        ],
        Service::Billing => &[
            "process: runs",
            "consumer: reads",
            "relay: ",
            "calls: works",
            "books: works",
            "database: reached",
            "broker: reached",
        ],
        Service::Inventory => &[
            "process: runs",
            "consumer: reads",
            "relay: ",
            "stock writer: works",
            "database: reached",
            "broker: reached",
        ],
    }
}

impl World {
    /// What each process says, by its URL; those of `services`.
    async fn ready(&self, services: &[Service]) -> BTreeMap<String, Said> {
        let state = self.shop.state();
        let mut said = BTreeMap::new();
        for url in services.iter().flat_map(|service| &state.services[service]) {
            let live = reqwest::get(format!("{url}/health/live")).await.unwrap();
            assert_eq!(live.status().as_u16(), 200, "{url} lives, whatever it lacks");
            let answer = reqwest::get(format!("{url}/health/ready")).await.unwrap();
            let is_ready = answer.status().as_u16() == 200;
            assert!(is_ready || answer.status().as_u16() == 503);
            let body: Value = answer.json().await.unwrap();
            let needs = if is_ready { body["needs"].to_string() } else { body["detail"].to_string() };
            said.insert(url.clone(), Said { is_ready, needs });
        }
        said
    }

    /// Waits until all processes of `services` say so; gives how long it took.
    async fn all_say(&self, services: &[Service], limit: Duration, holds: impl Fn(&Said) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            let said = self.ready(services).await;
            if said.values().all(&holds) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < limit, "{said:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// While `store` is down, the processes of `services` lack `need`, and all others are ready; after it, all are.
    async fn lack_while_it_is_down(&self, store: &str, need: &str, services: &[Service]) {
        let others: Vec<Service> = Service::ALL.into_iter().filter(|service| !services.contains(service)).collect();
        self.shop.take_down(store).await.unwrap();
        let noticed = self.all_say(services, SOON, |said| !said.is_ready && said.needs.contains(need)).await;
        assert!(self.ready(&others).await.values().all(|said| said.is_ready), "they do without {store}");
        self.shop.bring_up(store);
        tokio::time::timeout(PATIENCE, self.shop.all_up()).await.unwrap();
        let back = self.all_say(services, PATIENCE, |said| said.is_ready).await;
        eprintln!("{store}: missed after {noticed:?}; ready {back:?} after it was up again");
    }
}

#[tokio::test]
async fn a_service_is_ready_when_all_it_needs_is_there_and_else_says_what_is_not() {
    let world = World::new("ready", 2).await;
    for service in Service::ALL {
        world.all_say(&[service], SOON, |said| said.is_ready).await;
        let said = world.ready(&[service]).await;
        for (relay, count) in [("relay: streams", 1), ("relay: stands by", 1), ("database: reached", 2)] {
            assert_eq!(said.values().filter(|said| said.needs.contains(relay)).count(), count, "{said:#?}");
        }
        for said in said.values() {
            let listed: Vec<String> = serde_json::from_str(&said.needs).unwrap();
            let needs = needs(service);
            let is_whole =
                listed.len() == needs.len() && std::iter::zip(&listed, needs).all(|(one, need)| one.starts_with(need));
            assert!(is_whole, "{listed:?}, not {needs:?}");
        }
    }
    world.lack_while_it_is_down("pg-orders", "database: away", &[Service::Order]).await;
    world.lack_while_it_is_down("pg-billing", "database: away", &[Service::Billing]).await;

    // One that hangs does not even refuse. A short hang is nothing to speak of.
    let inventory = [Service::Inventory];
    world.shop.freeze("mongo").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.shop.thaw("mongo").unwrap();
    for _ in 0..60 {
        let said = world.ready(&inventory).await;
        assert!(said.values().all(|said| said.is_ready), "{said:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.shop.freeze("mongo").unwrap();
    world.all_say(&inventory, SOON, |said| !said.is_ready && said.needs.contains("database: away")).await;
    world.all_say(&inventory, SOON, |said| said.needs.contains("relay: interrupted")).await;
    world.shop.thaw("mongo").unwrap();
    world.all_say(&inventory, PATIENCE, |said| said.is_ready).await;
    // The last, because groups decide anew once it is back: a consumer that was silent before is silent for longer then.
    world.lack_while_it_is_down("kafka", "broker: away", &Service::ALL).await;
}

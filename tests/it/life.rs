//! An order's whole life, whatever its customer and the warehouse do at the same time: each order ends shipped, or
//! cancelled and charged nothing, and its past is what was seen.

#![expect(clippy::disallowed_methods, reason = "a test has its own clock, and watches its own tasks")]

mod past;
mod seen;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream};
use serde_json::{Value, json};
use shop::Service;
use uuid::Uuid;

use self::{past::Polls, seen::Seen};
use super::world::{Customer, OK, PATIENCE, World};

/// Orders on their way at once.
const AT_ONCE: usize = 40;

/// Half of each order lies in each of these.
const LINES: [(&str, &str); 2] = [("LIFE-H", "HAMBURG"), ("LIFE-L", "LYON")];

/// What an order's customer sees of it when they cancel it.
const BOUNDARIES: [&str; 15] = [
    "authorized",
    "cancelled",
    "capturing",
    "capturing, wanted no more",
    "confirmed",
    "held",
    "partly shipped",
    "placed",
    "reclaiming",
    "refunded",
    "refunding",
    "refused",
    "shipped",
    "undoing",
    "undoing, wanted no more",
];

/// What somebody does about an order.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// The customer looks until they see this; or gives up, for it can pass unseen.
    Await(&'static str),
    /// The customer looks, and cancels.
    Cancel,
    /// The warehouse ships one half.
    Ship(usize),
    /// Both at once.
    ShipAndCancel,
    /// A time that is different for each order, up to so many milliseconds.
    Pause(u64),
}

use Act::{Await, Cancel, Pause, Ship, ShipAndCancel};

/// The ways of orders: how they are paid for, how much is wanted, what then happens. Slow cards hold a door open.
const WAYS: &[(&str, u32, &[Act])] = &[
    (OK, 1, &[]),
    (OK, 1, &[Cancel]),
    (OK, 1, &[Pause(120), Cancel]),
    (OK, 1, &[Pause(400), Cancel, Pause(50), Cancel]),
    ("tok_authorize_declined", 1, &[Pause(120), Cancel]),
    ("tok_authorize_declined", 1, &[Await("cancelled"), Cancel]),
    ("tok_capture_declined", 1, &[Pause(200), Cancel]),
    ("tok_slow_4s", 1, &[Await("held"), Cancel, Await("undoing, wanted no more"), Cancel, Await("cancelled"), Cancel]),
    ("tok_slow_4s", 5_000, &[Await("undoing"), Cancel]),
    (
        "tok_capture_slow_4s",
        1,
        &[Await("capturing"), Cancel, Await("capturing, wanted no more"), Cancel, Await("refunded"), Cancel],
    ),
    (OK, 1, &[Await("confirmed"), Cancel, Cancel]),
    ("tok_refund_slow_4s", 1, &[Await("confirmed"), Cancel, Await("refunding"), Cancel]),
    (OK, 1, &[Await("confirmed"), Ship(0), Await("partly shipped"), Cancel, Ship(1), Await("shipped"), Cancel]),
    (OK, 1, &[Await("confirmed"), Ship(0), Cancel, Cancel]),
    (OK, 1, &[Await("confirmed"), ShipAndCancel]),
    (OK, 1, &[Await("confirmed"), ShipAndCancel, Ship(1)]),
];

/// While inventory is away.
const WITHOUT_INVENTORY: (&str, u32, &[Act]) = (OK, 1, &[Await("authorized"), Cancel]);

/// How often orders were cancelled at each boundary.
type Reached = Arc<Mutex<BTreeMap<String, usize>>>;

/// Lives one order each way, to its end.
pub(crate) async fn each_way(world: &World) {
    stock(world).await;
    let (reached, polls) = (Reached::default(), Arc::default());
    let lives = WAYS.iter().map(|way| live(world, &reached, &polls, *way, 1));
    for (order, customer) in join_all(lives).await {
        world.finish(order, &customer).await;
    }
}

async fn stock(world: &World) {
    for (sku, warehouse) in LINES {
        world.product(sku, 0).await;
        world.receive(sku, warehouse, 4_999).await;
    }
}

async fn whole_lives(name: &str, orders: usize) {
    let world = Arc::new(World::new(name, 1).await);
    stock(&world).await;
    let (reached, polls) = (Reached::default(), Arc::new(Polls::default()));
    let lives = (0..orders).map(|number| live(&world, &reached, &polls, WAYS[number % WAYS.len()], number));
    let mut lived: Vec<(Uuid, Customer)> = stream::iter(lives).buffer_unordered(AT_ONCE).collect().await;
    for service in ["inventory", "billing"] {
        assert_eq!(world.metric(service, "late_cleanup_total").await, 0.0, "{service}");
    }
    world.shop.kill("inventory").await.unwrap();
    lived.extend(join_all((0..10).map(|number| live(&world, &reached, &polls, WITHOUT_INVENTORY, number))).await);
    lived.push(shipped_unheard(&world, &reached, &polls).await);

    let ends = join_all(lived.iter().map(|(order, customer)| world.finish(*order, customer))).await;
    let reached = reached.lock().unwrap().clone();
    eprintln!("cancelled so often at each boundary: {reached:?}");
    for boundary in BOUNDARIES {
        assert!(reached.get(boundary).is_some_and(|times| *times > 0), "never cancelled when {boundary}: {reached:?}");
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let charges = charges(&world.witness().await);
    for ((order, _), view) in lived.iter().zip(&ends) {
        let charged = charges.get(order).copied().unwrap_or_default();
        let total = view["total"]["amount"].as_i64().unwrap();
        let end = match (view["status"].as_str().unwrap(), view["cancellation"].as_str()) {
            ("shipped", None) => "shipped",
            ("shipped", Some("refused")) => "shipped, its cancellation refused",
            ("cancelled", None) => "cancelled",
            _ => panic!("no end: {view}"),
        };
        let due = if end == "cancelled" { 0 } else { total };
        assert_eq!(charged, due, "what the provider took, less what it gave back: {view}");
        *counts.entry(end.to_owned()).or_default() += 1;
    }
    eprintln!("{} orders: {counts:?}", lived.len());
    assert_eq!(counts.len(), 3, "{counts:?}");
    past::is_what_was_seen(&polls).await;
    let examined = world.audit().await;
    eprintln!("the audit held against: {examined:?}");
    let rebuilt = world.rebuild().await;
    assert!(rebuilt.is_clean() && rebuilt.folded >= lived.len(), "{rebuilt}");
}

#[tokio::test]
async fn whatever_customer_and_warehouse_do_at_once_an_order_is_shipped_or_charged_nothing() {
    whole_lives("lives", WAYS.len() * 5).await;
}

#[tokio::test]
#[ignore = "takes some minutes; the README says how to run it"]
async fn two_thousand_orders_are_shipped_or_charged_nothing() {
    whole_lives("two-thousand", 2_000).await;
}

/// One order, from its placing until all was done about it.
async fn live(
    world: &World,
    reached: &Reached,
    polls: &Arc<Polls>,
    (card, quantity, acts): (&str, u32, &[Act]),
    number: usize,
) -> (Uuid, Customer) {
    let customer = world.customer();
    let lines = LINES.map(|(sku, _)| json!({ "sku": sku, "quantity": quantity }));
    let order = customer.place_lines(&json!(lines), card).await;
    if number.is_multiple_of(3) {
        polls.watch(customer.clone(), order);
    }
    for (place, act) in acts.iter().enumerate() {
        match act {
            Await(boundary) => Seen::wait(&customer, order, boundary).await,
            Cancel => cancel(&customer, order, reached).await,
            Ship(half) => _ = world.ship(order, *half).await,
            ShipAndCancel => _ = tokio::join!(world.ship(order, 0), cancel(&customer, order, reached)),
            Pause(at_most) => {
                let part = (number as u64 * 7919 + place as u64 * 104_729) % at_most;
                tokio::time::sleep(Duration::from_millis(part)).await;
            }
        }
    }
    (order, customer)
}

/// One order of which half is shipped while nothing is heard of it: its cancellation begins, and is refused.
async fn shipped_unheard(world: &World, reached: &Reached, polls: &Arc<Polls>) -> (Uuid, Customer) {
    let (order, customer) = live(world, reached, polls, (OK, 1, &[Await("confirmed")]), 0).await;
    world.allocated(order).await;
    world.shop.freeze("kafka").unwrap();
    assert!(world.ship(order, 0).await, "it is shipped without the broker");
    cancel(&customer, order, reached).await;
    cancel(&customer, order, reached).await;
    world.shop.thaw("kafka").unwrap();
    Seen::wait(&customer, order, "refused").await;
    cancel(&customer, order, reached).await;
    (order, customer)
}

/// Looks at the order and cancels it: it must be refused if what was seen is too late, and may be if it became so. A
/// service that is too busy says so, and then nothing was done.
async fn cancel(customer: &Customer, order: Uuid, reached: &Reached) {
    let answered = async {
        loop {
            let seen = Seen::look(customer, order).await;
            match customer.cancel(order).await {
                (503, _) => tokio::time::sleep(Duration::from_secs(1)).await,
                (status, body) => return (seen, status, body),
            }
        }
    };
    let (seen, status, body) = tokio::time::timeout(PATIENCE, answered).await.expect("a cancellation is answered");
    *reached.lock().unwrap().entry(seen.name().to_owned()).or_default() += 1;
    match status {
        202 => assert!(!seen.is_too_late(), "cancelled when {}: {body}", seen.name()),
        409 => assert_eq!(body["code"], "order_shipped", "{body}"),
        _ => panic!("{status}: {body}"),
    }
}

/// What the provider itself took of each order, less what it gave back.
fn charges(witness: &[Value]) -> BTreeMap<Uuid, i64> {
    let mut charges = BTreeMap::new();
    for line in witness.iter().filter(|line| line["line"] == "executed") {
        let mut key = line["key"].as_str().unwrap().split(':');
        let order: Uuid = key.next().unwrap().parse().unwrap();
        let sign = match key.next().unwrap() {
            "capture" => 1,
            "refund" => -1,
            _ => continue,
        };
        *charges.entry(order).or_default() += sign * line["amount"]["amount"].as_i64().unwrap();
    }
    charges
}

impl World {
    /// Waits until inventory has heard that the order is paid.
    async fn allocated(&self, order: Uuid) {
        let allocated = async {
            while self.ask(Service::Inventory, &format!("/v1/holds/{order}")).await["state"] != "allocated" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, allocated).await.expect("what is confirmed is allocated");
    }

    /// Ships one half of the order, if inventory lets it: it may not have heard that it is paid, or all is taken back.
    /// Whether it did.
    async fn ship(&self, order: Uuid, half: usize) -> bool {
        let body = json!({ "order": order, "warehouse": LINES[half].1 });
        for _ in 0..100 {
            let (status, answer) = self.operate_inventory("/v1/shipments", &format!("{order}-{half}"), &body).await;
            match (status, answer["code"].as_str()) {
                (201, _) => return true,
                (409, Some("released" | "already_shipped" | "not_in_warehouse")) => return false,
                (404 | 409 | 503, _) => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => panic!("{status}: {answer}"),
            }
        }
        false
    }

    /// Has the rest shipped of an order that is not cancelled. Gives its end.
    async fn finish(&self, order: Uuid, customer: &Customer) -> Value {
        let end = async {
            loop {
                let view = customer.view(order, "").await;
                match view["status"].as_str().unwrap() {
                    "shipped" if view["cancellation"] != "requested" => return view,
                    "cancelled" => return view,
                    "confirmed" | "partly_shipped" if view["cancellation"] != "requested" => {
                        self.ship(order, 0).await;
                        self.ship(order, 1).await;
                    }
                    _ => {}
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, end).await.expect("every order ends")
    }
}

//! Whatever the provider, the network or billing itself does: each card is charged once, and the books say so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use contracts::{Currency, Money};
use serde_json::Value;
use shop::audit::Verdict;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    witness::reached,
    world::{OK, PATIENCE, World},
};

/// Orders on their way at once.
const AT_ONCE: usize = 100;

/// Of ten orders four come with an odd card, each in its turn.
const ODD: [&str; 22] = [
    "tok_authorize_declined",
    "tok_authorize_timeout_done",
    "tok_authorize_timeout_lost",
    "tok_authorize_error_done",
    "tok_authorize_error_lost",
    "tok_capture_declined",
    "tok_capture_timeout_done",
    "tok_capture_timeout_lost",
    "tok_capture_error_done",
    "tok_capture_error_lost",
    "tok_refund_error_done",
    "tok_refund_timeout_done",
    "tok_refund_timeout_lost",
    "tok_slow_30s",
    "tok_capture_slow_2s",
    "tok_wrong_amount",
    "tok_wrong_currency",
    "tok_wrong_id",
    "tok_capture_wrong_amount",
    "tok_capture_webhook_twice",
    "tok_authorize_webhook_late",
    "tok_authorize_webhook_forged",
];

fn card(number: usize) -> &'static str {
    if number % 10 < 6 { OK } else { ODD[(number / 10 * 4 + number % 10 - 6) % ODD.len()] }
}

/// Customers who buy, some with odd cards, at most [`AT_ONCE`] at a time.
struct Crowd {
    orders: usize,
    settled: AtomicUsize,
    /// Orders with something parked, until an operator resumed it.
    parked: Mutex<BTreeSet<Uuid>>,
}

/// How an order was paid for, and how it ended.
struct Ended {
    card: &'static str,
    status: String,
}

impl Crowd {
    /// Returns how each order ended.
    async fn buy(&self, world: &World, sku: &str) -> BTreeMap<Uuid, Ended> {
        let room = Semaphore::new(AT_ONCE);
        let customers: Vec<_> = (0..32).map(|_| world.customer()).collect();
        let one = async |number: usize| {
            let _place = room.acquire().await.unwrap();
            let card = card(number);
            let order = customers[number % customers.len()].buy(sku, 1, card).await;
            if card.starts_with("tok_refund") {
                // In two parts, under way at the same time.
                for (key, amount) in [("first", 500), ("second", 790)] {
                    world.refund(order.id, key, Money::new(amount, Currency::EUR)).await;
                }
                assert_eq!(world.refunded(order.id).await, ["refunded", "refunded"], "{card}");
            }
            self.settled.fetch_add(1, Ordering::SeqCst);
            (order.id, Ended { card, status: order.status })
        };
        futures::future::join_all((0..self.orders).map(one)).await.into_iter().collect()
    }

    /// An operator who resumes what is parked, as long as it takes.
    async fn operate(&self, world: &World) {
        let billing = PgPool::connect(&world.shop.state().stores.billing).await.unwrap();
        loop {
            let parked = "select distinct order_id from intent where parked is not null";
            for order in sqlx::query_scalar::<_, Uuid>(parked).fetch_all(&billing).await.unwrap() {
                self.parked.lock().unwrap().insert(order);
                world.resume(order).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Kills billing so many times while it has intents open, each time after a further share of the orders.
async fn kill_billing(world: &World, crowd: &Crowd, times: usize) -> usize {
    let billing = PgPool::connect(&world.shop.state().stores.billing).await.unwrap();
    let mut open_at_kills = Vec::new();
    while open_at_kills.len() < times {
        let share = crowd.orders * (open_at_kills.len() + 1) / (times + 2);
        while crowd.settled.load(Ordering::SeqCst) < share || intents(&billing).await == 0 {
            assert!(crowd.settled.load(Ordering::SeqCst) < crowd.orders, "killed only at {open_at_kills:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        world.shop.kill("billing").await.unwrap();
        // Nobody changes it now, so this is what the dead process had open.
        let open = intents(&billing).await;
        tokio::time::timeout(PATIENCE, world.shop.all_up()).await.expect("billing is up again");
        if open > 0 {
            open_at_kills.push(open);
        }
    }
    eprintln!("billing was killed {times} times, with so many intents open: {open_at_kills:?}");
    open_at_kills.iter().filter(|open| **open > 0).count()
}

async fn intents(billing: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from intent").fetch_one(billing).await.unwrap()
}

/// For each order what the provider itself has written down: how often it was captured.
fn captures(witness: &[Value]) -> BTreeMap<Uuid, usize> {
    let mut captures = BTreeMap::new();
    for line in witness.iter().filter(|line| line["line"] == "executed" && line["operation"] == "capture") {
        *captures.entry(line["reference"].as_str().unwrap().parse().unwrap()).or_default() += 1;
    }
    captures
}

/// How often each card did what is written on it, by what the provider has written down.
fn count_reached(ended: &BTreeMap<Uuid, Ended>, crowd: &Crowd, witness: &[Value]) -> BTreeMap<&'static str, usize> {
    let mut counts: BTreeMap<&str, usize> = ODD.into_iter().map(|card| (card, 0)).collect();
    let lines = super::witness::by_order(witness);
    let parked = crowd.parked.lock().unwrap();
    for (order, Ended { card, .. }) in ended.iter().filter(|(_, ended)| ended.card != OK) {
        let lines = lines.get(order).map_or(&[][..], Vec::as_slice);
        *counts.get_mut(card).unwrap() += usize::from(reached(card, *order, lines, parked.contains(order)));
    }
    counts
}

async fn charged_once(name: &str, orders: usize, kills: usize) -> World {
    let world = World::new(name, 1).await;
    world.product("MONEY", 9_999).await;
    let crowd = Crowd { orders, settled: AtomicUsize::new(0), parked: Mutex::default() };
    let (ended, killed) = tokio::select! {
        both = async { tokio::join!(crowd.buy(&world, "MONEY"), kill_billing(&world, &crowd, kills)) } => both,
        () = crowd.operate(&world) => unreachable!("the operator goes on"),
    };
    assert_eq!((ended.len(), killed), (orders, kills));
    let examined = world.audit().await;
    assert!(examined.values().all(|rows| *rows > 0), "{examined:?}");

    let witness = world.witness().await;
    let reached = count_reached(&ended, &crowd, &witness);
    eprintln!("each card did what is written on it so often: {reached:?}");
    assert!(reached.values().all(|times| *times > 0), "{reached:?}");
    let captures = captures(&witness);
    assert!(captures.values().all(|times| *times == 1), "an order was charged twice: {captures:?}");
    let confirmed: BTreeSet<Uuid> =
        ended.iter().filter(|(_, ended)| ended.status == "confirmed").map(|(id, _)| *id).collect();
    assert_eq!(captures.into_keys().collect::<BTreeSet<_>>(), confirmed, "charged are those that are confirmed");
    eprintln!("{orders} orders, {} confirmed; the audit held against: {examined:?}", confirmed.len());
    assert!(confirmed.len() > orders / 2, "{} of {orders} confirmed", confirmed.len());
    world
}

#[tokio::test]
async fn every_card_is_charged_once_however_often_billing_dies() {
    let world = charged_once("charged", 300, 3).await;
    a_changed_row_is_named(&world).await;
}

#[tokio::test]
#[ignore = "takes some minutes; the README says how to run it"]
async fn five_thousand_cards_are_charged_once_while_billing_dies_twenty_times() {
    charged_once("five-thousand", 5_000, 20).await;
}

/// A superuser changes one row of what happened; the audit names it.
async fn a_changed_row_is_named(world: &World) {
    let billing = PgPool::connect(&world.shop.state().stores.billing).await.unwrap();
    for (change, back, named) in [
        ("update ledger_posting set amount = amount + 1 where seq = 5 and line = 1", "amount - 1", "entry 5"),
        ("update ledger_posting set account = 'provider_fees' where seq = 7 and line = 1", "", "entry 7"),
    ] {
        let changed = async |sql: &str| {
            let sql = format!("set local session_replication_role = replica; {sql}");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&billing).await.unwrap();
        };
        changed(change).await;
        let report = world.shop.audit().await.unwrap();
        assert_eq!(report.verdict(), Verdict::Violated, "{change}");
        let chain = report.findings.iter().find(|finding| finding.predicate.starts_with("L3 every entry")).unwrap();
        assert!(chain.violations.iter().any(|violation| violation.starts_with(named)), "{change}: {report}");
        assert_eq!(chain.violations.len(), 1, "{change}: {report}");
        if !back.is_empty() {
            changed(&change.replace("amount + 1", back)).await;
            assert_eq!(world.shop.audit().await.unwrap().verdict(), Verdict::True);
        }
    }
}

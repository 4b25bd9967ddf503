//! Whatever the provider, the network or billing itself does: each card is charged once, and the books say so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use shop::audit::Verdict;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{sync::Semaphore, task::JoinSet};
use uuid::Uuid;

use super::world::{OK, World};

/// Orders on their way at once.
const AT_ONCE: usize = 100;

/// Of ten orders four come with an odd card, each in its turn.
const ODD: [&str; 12] = [
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
    "tok_slow_2s",
    "tok_capture_slow_2s",
];

fn card(number: usize) -> &'static str {
    if number % 10 < 6 { OK } else { ODD[(number / 10 * 4 + number % 10 - 6) % ODD.len()] }
}

/// Customers who buy, some with odd cards, at most [`AT_ONCE`] at a time.
struct Crowd {
    orders: usize,
    settled: AtomicUsize,
}

impl Crowd {
    /// Returns the order ids and how each ended.
    async fn buy(&self, world: &World, sku: &str) -> BTreeMap<Uuid, String> {
        let room = Semaphore::new(AT_ONCE);
        let customers: Vec<_> = (0..32).map(|_| world.customer()).collect();
        let one = async |number: usize| {
            let _place = room.acquire().await.unwrap();
            let order = customers[number % customers.len()].buy(sku, 1, card(number)).await;
            self.settled.fetch_add(1, Ordering::SeqCst);
            (order.id, order.status)
        };
        futures::future::join_all((0..self.orders).map(one)).await.into_iter().collect()
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
        tokio::time::timeout(Duration::from_secs(60), world.shop.all_up()).await.expect("billing is up again");
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
async fn captures_by_the_witness(world: &World) -> BTreeMap<Uuid, usize> {
    let url = format!("{}/v1/log", world.shop.state().stores.provider);
    let log = reqwest::get(url).await.unwrap().error_for_status().unwrap().text().await.unwrap();
    let mut captures = BTreeMap::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["line"] == "executed" && line["operation"] == "capture" {
            *captures.entry(line["reference"].as_str().unwrap().parse().unwrap()).or_default() += 1;
        }
    }
    captures
}

async fn charged_once(name: &str, orders: usize, kills: usize) -> World {
    let world = World::new(name, 1).await;
    world.product("MONEY", 9_999).await;
    let crowd = Crowd { orders, settled: AtomicUsize::new(0) };
    let (ended, killed) = tokio::join!(crowd.buy(&world, "MONEY"), kill_billing(&world, &crowd, kills));
    assert_eq!((ended.len(), killed), (orders, kills));
    let examined = world.audit().await;
    assert!(examined.values().all(|rows| *rows > 0), "{examined:?}");

    let captures = captures_by_the_witness(&world).await;
    assert!(captures.values().all(|times| *times == 1), "an order was charged twice: {captures:?}");
    let confirmed: BTreeSet<Uuid> =
        ended.iter().filter(|(_, status)| *status == "confirmed").map(|(id, _)| *id).collect();
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
#[ignore = "takes four minutes"]
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

/// How long orders take beside others whose provider takes 30 s, against how long they take alone: in one run.
#[tokio::test]
#[ignore = "measures for a minute"]
async fn a_slow_provider_delays_its_own_orders_only() {
    let world = Arc::new(World::new("slow", 1).await);
    world.product("SLOW", 9_999).await;
    // The first ones warm everything up.
    p99(&world).await;
    let alone = p99(&world).await;
    let mut slow = JoinSet::new();
    for _ in 0..200 {
        let world = Arc::clone(&world);
        slow.spawn(async move { world.customer().post(&Uuid::now_v7().to_string(), "SLOW", 1, "tok_slow_30s").await });
    }
    slow.join_all().await;
    let beside = p99(&world).await;
    let billing = PgPool::connect(&world.shop.state().stores.billing).await.unwrap();
    assert!(intents(&billing).await >= 200, "the slow ones were on their way all the time");
    eprintln!("p99 alone {alone:?}, beside 200 slow ones {beside:?}");
    assert!(beside < 2 * alone, "p99 alone {alone:?}, beside slow ones {beside:?}");
}

/// The 99th percentile of how long orders take to be confirmed, 16 at a time, for some seconds: fewer than a slow order
/// waits for its provider.
async fn p99(world: &Arc<World>) -> Duration {
    let end = Instant::now() + Duration::from_secs(12);
    let mut buying = JoinSet::new();
    for _ in 0..16 {
        let customer = world.customer();
        buying.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                assert_eq!(customer.buy("SLOW", 1, OK).await.status, "confirmed");
                took.push(begun.elapsed());
            }
            took
        });
    }
    let mut took = buying.join_all().await.concat();
    assert!(took.len() > 200, "only {} orders were measured", took.len());
    took.sort();
    took[took.len() * 99 / 100]
}

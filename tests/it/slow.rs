//! A provider that is slow for some delays nobody else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::PgPool;
use tokio::{
    select,
    sync::Mutex,
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use uuid::Uuid;

use super::world::{OK, PATIENCE, World};

/// Customers who buy one after the other, all the time. They are the others.
const CUSTOMERS: usize = 6;
/// How often somebody else orders besides, all the time. Only the card differs: so it is the provider that makes the
/// difference, and not the orders.
const PAUSE: Duration = Duration::from_millis(150);
/// So many orders are measured with each, however slow the machine is, or more.
const ENOUGH: usize = 250;
/// How long it is measured with a provider that is prompt, before and after, at least.
const PROMPT: Duration = Duration::from_secs(12);
/// How long with one that takes 30 s: longer than that, so that the calls of every age are there, first ones and those
/// that are made again.
const SLOW: Duration = Duration::from_secs(36);

/// What is measured: when each order was confirmed, and how long it took.
type Taken = Arc<Mutex<Vec<(Instant, Duration)>>>;

/// How long orders take beside others whose provider takes 30 s, against how long they take beside others whose provider
/// is prompt: in one run.
#[tokio::test]
async fn a_slow_provider_delays_its_own_orders_only() {
    let world = Arc::new(World::new("slow", 1).await);
    world.product("SLOW", 9_999).await;
    let (taken, is_slow, mut buying) = (Taken::default(), Arc::new(AtomicBool::new(false)), JoinSet::new());
    for _ in 0..CUSTOMERS {
        buying.spawn(buy(Arc::clone(&world), Arc::clone(&taken)));
    }
    buying.spawn(order_besides(Arc::clone(&world), Arc::clone(&is_slow)));
    // The first ones warm everything up.
    sleep(Duration::from_secs(5)).await;
    let mut normal = measured(&mut buying, &taken, PROMPT, ENOUGH / 2).await;

    let begun = Instant::now();
    is_slow.store(true, Ordering::SeqCst);
    let beside = measured(&mut buying, &taken, SLOW, ENOUGH).await;
    let billing = PgPool::connect(&world.shop.state().stores.billing).await.unwrap();
    let (open, again) = slow_intents(&billing).await;
    is_slow.store(false, Ordering::SeqCst);
    assert!(open > 100 && again > 50, "{open} slow calls were under way, {again} of them not for the first time");

    let gone = async {
        while slow_intents(&billing).await.0 > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(120), gone).await.expect("the slow ones end");
    normal.append(&mut measured(&mut buying, &taken, PROMPT, ENOUGH / 2).await);
    buying.shutdown().await;

    let ([p50, p99], [p50_beside, p99_beside]) = (percentiles(&normal), percentiles(&beside));
    eprintln!(
        "of {} orders p50 {p50:?}, p99 {p99:?}; of {} beside slow ones p50 {p50_beside:?}, p99 {p99_beside:?}",
        normal.len(),
        beside.len()
    );
    let late = beside.iter().filter(|(_, took)| *took >= 2 * p99).map(|(at, took)| (*at - begun, *took));
    let late: Vec<(Duration, Duration)> = late.collect();
    assert!(p99_beside < 2 * p99, "p99 {p99:?}, beside slow ones {p99_beside:?}; when, and how long: {late:?}");
}

/// What is measured from now on for so long, and until there is enough of it. None of those who are `buying` may stop.
async fn measured(
    buying: &mut JoinSet<()>,
    taken: &Taken,
    at_least: Duration,
    enough: usize,
) -> Vec<(Instant, Duration)> {
    taken.lock().await.clear();
    let there_is_enough = async {
        sleep(at_least).await;
        while taken.lock().await.len() < enough {
            sleep(Duration::from_millis(100)).await;
        }
    };
    select! {
        there = timeout(at_least + PATIENCE, there_is_enough) => there.expect("enough orders are confirmed"),
        ended = buying.join_next() => panic!("somebody has stopped buying: {ended:?}"),
    }
    std::mem::take(&mut *taken.lock().await)
}

/// Somebody buys, again and again.
async fn buy(world: Arc<World>, taken: Taken) {
    let customer = world.customer();
    loop {
        let begun = Instant::now();
        assert_eq!(customer.buy("SLOW", 1, OK).await.status, "confirmed");
        taken.lock().await.push((Instant::now(), begun.elapsed()));
    }
}

/// Somebody orders at a steady pace, and waits for nothing.
async fn order_besides(world: Arc<World>, is_slow: Arc<AtomicBool>) {
    let customer = world.customer();
    let mut next = interval(PAUSE);
    loop {
        next.tick().await;
        let card = if is_slow.load(Ordering::SeqCst) { "tok_slow_30s" } else { OK };
        let placed = customer.post(&Uuid::now_v7().to_string(), "SLOW", 1, card).await;
        assert!(placed.status().is_success(), "{}", placed.status());
    }
}

/// How many calls to the slow provider are open, and how many of them are not the first.
async fn slow_intents(billing: &PgPool) -> (i64, i64) {
    let query = "select count(*), count(*) filter (where tries > 1) from intent where token = 'tok_slow_30s'";
    sqlx::query_as(query).fetch_one(billing).await.unwrap()
}

/// The 50th and the 99th.
fn percentiles(taken: &[(Instant, Duration)]) -> [Duration; 2] {
    let mut took: Vec<Duration> = taken.iter().map(|(_, took)| *took).collect();
    took.sort();
    [50, 99].map(|hundredths| took.get(took.len() * hundredths / 100).copied().unwrap_or_default())
}

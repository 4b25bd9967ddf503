//! A provider that is slow for some delays nobody else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use sqlx::PgPool;
use tokio::{
    select,
    sync::Mutex,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use super::world::{OK, PATIENCE, World};

/// Customers who buy one after the other, all the time. They are the others.
const CUSTOMERS: usize = 6;
/// How often somebody else orders besides, all the time. Only the card differs: so it is the provider that makes the
/// difference, and not the orders.
const PAUSE: Duration = Duration::from_millis(150);
/// How long it is measured, and how many orders at least, however slow the machine is.
struct Measured {
    /// With a provider that is prompt: once before, once after.
    prompt: (Duration, usize),
    /// With one that takes 30 s.
    slow: (Duration, usize),
}

/// So that many slow calls are under way, and many of them are made again.
const BRIEFLY: Measured = Measured { prompt: (Duration::from_secs(4), 50), slow: (Duration::from_secs(20), 100) };
/// Longer than 30 s, so that the calls of every age are there, and so many orders that there is a 99th percentile.
const WHOLE: Measured = Measured { prompt: (Duration::from_secs(15), 250), slow: (Duration::from_secs(45), 500) };

/// What is measured: when each order was confirmed, and how long it took.
type Taken = Arc<Mutex<Vec<(Instant, Duration)>>>;

/// Orders beside others whose provider takes 30 s go on as they do beside others whose provider is prompt, in one run. An
/// order that waits for others' calls, twice as it calls twice, takes ten times as long at least; one that has less of the
/// machine, because calls are made again, does not.
#[tokio::test]
async fn a_slow_provider_delays_its_own_orders_only() {
    let ([p50, _], [p50_beside, _], _) = beside_slow_ones(BRIEFLY).await;
    assert!(p50_beside < 4 * p50, "p50 {p50:?}, beside slow ones {p50_beside:?}");
}

/// How much later the last ones come. It is a benchmark: the 99th percentile is that of the machine's worst second.
/// `cargo test --release -p system-tests beside_a_slow_provider -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a benchmark: takes a machine of its own and two minutes"]
async fn p99_beside_a_slow_provider_is_below_twice_the_normal() {
    let ([_, p99], [_, p99_beside], late) = beside_slow_ones(WHOLE).await;
    assert!(p99_beside < 2 * p99, "p99 {p99:?}, beside slow ones {p99_beside:?}; when, and how long: {late:?}");
}

/// The 50th and 99th percentile of how long orders take, the same beside slow ones, and of these the last: how long
/// after the provider had become slow they were confirmed, and how long they took.
async fn beside_slow_ones(measure: Measured) -> ([Duration; 2], [Duration; 2], Vec<(Duration, Duration)>) {
    let world = Arc::new(World::new("slow", 1).await);
    world.product("SLOW", 9_999).await;
    let (taken, is_slow, mut buying) = (Taken::default(), Arc::new(AtomicBool::new(false)), JoinSet::new());
    for _ in 0..CUSTOMERS {
        buying.spawn(buy(Arc::clone(&world), Arc::clone(&taken)));
    }
    buying.spawn(order_besides(Arc::clone(&world), Arc::clone(&is_slow)));
    // The first ones warm everything up.
    sleep(Duration::from_secs(5)).await;
    let mut normal = measured(&mut buying, &taken, measure.prompt).await;

    let begun = Instant::now();
    is_slow.store(true, Ordering::SeqCst);
    let beside = measured(&mut buying, &taken, measure.slow).await;
    let billing = PgPool::connect(&world.shop.state().stores.billing).await.unwrap();
    let (open, again) = slow_intents(&billing).await;
    is_slow.store(false, Ordering::SeqCst);
    assert!(open > 80 && again > 50, "{open} slow calls were under way, {again} of them not for the first time");

    let gone = async {
        while slow_intents(&billing).await.0 > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the slow ones end");
    normal.append(&mut measured(&mut buying, &taken, measure.prompt).await);
    buying.shutdown().await;

    let (all, all_beside) = (percentiles(&normal), percentiles(&beside));
    eprintln!("p50 and p99 of {} orders {all:?}; of {} beside slow ones {all_beside:?}", normal.len(), beside.len());
    let late = beside.iter().filter(|(_, took)| *took >= 2 * all[1]).map(|(at, took)| (*at - begun, *took));
    (all, all_beside, late.collect())
}

/// What is measured from now on for so long, and until there is enough of it. None of those who are `buying` may stop.
async fn measured(
    buying: &mut JoinSet<()>,
    taken: &Taken,
    (at_least, enough): (Duration, usize),
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
        customer.place_lines(&json!([{ "sku": "SLOW", "quantity": 1 }]), card).await;
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

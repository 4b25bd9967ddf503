//! Orders that come at a steady rate, whether or not anybody is there to take them, as long as there are not too many.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Response, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;

use super::world::{Customer, OK, Order, PATIENCE, World};

/// Of twenty orders, how many come with which quantity and card, and what becomes of each. Every outcome is there, and
/// so are calls whose own outcome is in the dark. The slow ones see to it that sagas are open at any time.
const MIX: [(usize, u32, &str, &str); 9] = [
    (9, 1, OK, "confirmed"),
    (1, 1, "tok_authorize_declined", "payment_declined"),
    (1, 1, "tok_capture_declined", "payment_declined"),
    (1, MORE_THAN_THERE_IS, OK, "out_of_stock"),
    (3, 1, "tok_slow_2s", "confirmed"),
    (2, 1, "tok_capture_slow_2s", "confirmed"),
    (1, 1, "tok_authorize_error_lost", "confirmed"),
    (1, 1, "tok_capture_error_done", "confirmed"),
    (1, 1, "tok_authorize_error_done", "confirmed"),
];

/// No product of these tests has more than 9,999 pieces.
const MORE_THAN_THERE_IS: u32 = 10_000;

/// At most so many orders are open at once as come in this time; more would only measure how slow the machine is. It is
/// far below the time after which a saga gives up.
const OPEN_AT_ONCE: Duration = Duration::from_secs(4);
/// When it is looked again whether enough orders have ended.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long he looks who does not find the database.
const LOOKS_FOR: Duration = Duration::from_millis(500);

/// How long a customer waits for an answer before he asks again, with the same key, at another process if there is one.
const CUSTOMERS_PATIENCE: Duration = Duration::from_secs(5);
/// When he asks again if nobody says when.
const ASKS_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Customers who keep coming, until [`Traffic::end`].
pub(crate) struct Traffic {
    over: Arc<AtomicBool>,
    /// One task, which gives what its customers have bought.
    comers: JoinSet<Vec<Bought>>,
}

/// One order that the shop has accepted.
struct Bought {
    id: Uuid,
    card: &'static str,
    /// What must become of it, by what its customer came with.
    outcome: &'static str,
    /// How often it was asked for in vain before.
    in_vain: usize,
}

/// The orders that the shop has accepted.
pub(crate) struct Accepted(Vec<Bought>);

impl Traffic {
    /// So many orders of `sku` per second from now on, dealt out over the processes of the order service. None waits for
    /// the one before.
    pub(crate) fn begin(world: &World, sku: &str, per_second: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let customers: Vec<Customer> = (0..32).map(|_| world.customer()).collect();
        let orders = PgPoolOptions::new().acquire_timeout(LOOKS_FOR);
        let orders = orders.connect_lazy(&world.shop.state().stores.orders).unwrap();
        let mut comers = JoinSet::new();
        comers.spawn(come(customers, orders, sku.into(), per_second, Arc::clone(&over)));
        Self { over, comers }
    }

    /// Nobody comes any more. Waits until everybody who came has an answer.
    pub(crate) async fn end(mut self) -> Accepted {
        self.over.store(true, Ordering::Relaxed);
        Accepted(self.comers.join_next().await.unwrap().unwrap())
    }
}

/// Orders until it is `over`; gives what is bought.
async fn come(
    customers: Vec<Customer>,
    orders: PgPool,
    sku: Arc<str>,
    per_second: u32,
    over: Arc<AtomicBool>,
) -> Vec<Bought> {
    for customer in &customers {
        customer.introduce().await;
    }
    let (mut buying, mut bought) = (JoinSet::new(), Vec::new());
    let mut next = interval(Duration::from_secs(1) / per_second);
    // Who could not come in time comes at once: the rate is kept, whatever the machine is busy with.
    next.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (at_once, looks_after) =
        (per_second as usize * OPEN_AT_ONCE.as_secs() as usize, per_second.div_ceil(8) as usize);
    for number in 0.. {
        next.tick().await;
        if over.load(Ordering::Relaxed) {
            break;
        }
        buying.spawn(buy(customers[number % customers.len()].clone(), Arc::clone(&sku), number));
        while number % looks_after == 0 && !over.load(Ordering::Relaxed) {
            while let Some(answered) = buying.try_join_next() {
                bought.push(answered.unwrap());
            }
            // Nobody knows how many are open while the database is down.
            let open = open_sagas(&orders).await.unwrap_or_default();
            if buying.len() + usize::try_from(open).unwrap() < at_once {
                break;
            }
            sleep(LOOKS_AGAIN_AFTER).await;
            next.reset();
        }
    }
    bought.extend(buying.join_all().await);
    bought
}

/// One order. Whatever goes wrong, the customer asks again under the same key, until it is accepted.
async fn buy(customer: Customer, sku: Arc<str>, number: usize) -> Bought {
    let (quantity, card, outcome) = of_the_mix(number);
    let (key, lines) = (Uuid::now_v7().to_string(), json!([{ "sku": *sku, "quantity": quantity }]));
    let accepted = async {
        for in_vain in 0.. {
            let request = customer.request_at(in_vain, &key, &lines, card).timeout(CUSTOMERS_PATIENCE);
            let wait = match request.send().await {
                Ok(answer) if answer.status() == StatusCode::ACCEPTED => match answer.json::<Order>().await {
                    Ok(order) => return Bought { id: order.id, card, outcome, in_vain },
                    // Who dies in the middle of an answer.
                    Err(_) => ASKS_AGAIN_AFTER,
                },
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => later(&answer),
                Ok(answer) => panic!("an order is refused with {}", answer.status()),
                Err(_) => ASKS_AGAIN_AFTER,
            };
            sleep(wait).await;
        }
        unreachable!("nobody counts so far")
    };
    timeout(PATIENCE, accepted).await.expect("a request is answered")
}

/// When to ask again, as the answer says.
fn later(answer: &Response) -> Duration {
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    seconds.map_or(ASKS_AGAIN_AFTER, Duration::from_secs)
}

fn of_the_mix(number: usize) -> (u32, &'static str, &'static str) {
    let everybody = MIX.iter().flat_map(|&(times, quantity, card, outcome)| [(quantity, card, outcome)].repeat(times));
    let whole: Vec<_> = everybody.collect();
    // Seven and twenty have no divisor in common, so that neighbours differ.
    whole[number * 7 % whole.len()]
}

impl Accepted {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// How often customers had to ask again.
    pub(crate) fn asked_again(&self) -> usize {
        self.0.iter().map(|bought| bought.in_vain).sum()
    }

    /// Waits until every one has settled, and makes sure that each did as it had to. One that its saga's deadline gave
    /// up did not.
    pub(crate) async fn settle(&self, world: &World) {
        let orders = PgPool::connect(&world.shop.state().stores.orders).await.unwrap();
        let pending = async {
            while self.became(&orders).await.values().any(|became| became == "pending") {
                sleep(Duration::from_millis(200)).await;
            }
        };
        let settled = timeout(PATIENCE, pending).await;
        let became = self.became(&orders).await;
        let mut otherwise = Vec::new();
        for Bought { id, card, outcome, .. } in &self.0 {
            let became = became.get(id).map_or("lost", String::as_str);
            if became != *outcome {
                otherwise.push((card, outcome, became, history(&orders, *id).await));
            }
        }
        assert!(otherwise.is_empty() && settled.is_ok(), "of {} orders, these: {otherwise:#?}", self.count());
    }

    /// The status of each order, or why it was cancelled.
    async fn became(&self, orders: &PgPool) -> BTreeMap<Uuid, String> {
        let ids: Vec<Uuid> = self.0.iter().map(|bought| bought.id).collect();
        let became: Vec<(Uuid, String)> =
            sqlx::query_as("select id, coalesce(cancel_reason->>'code', status) from orders where id = any($1)")
                .bind(ids)
                .fetch_all(orders)
                .await
                .unwrap();
        became.into_iter().collect()
    }
}

/// What an order's saga has gone through.
async fn history(orders: &PgPool, order: Uuid) -> Vec<String> {
    let log = "select entries::text from saga_log join saga on saga.id = saga_id where order_id = $1 order by seq";
    sqlx::query_scalar(log).bind(order).fetch_all(orders).await.unwrap()
}

impl Customer {
    /// Places an order, and asks again as long as the service is too busy.
    pub(crate) async fn place_lines(&self, lines: &Value, token: &str) -> Uuid {
        let key = Uuid::now_v7().to_string();
        let placed = async {
            loop {
                let answer = self.post_lines(&key, lines, token).await;
                if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                    return answer.error_for_status().unwrap().json::<Order>().await.unwrap().id;
                }
                sleep(later(&answer)).await;
            }
        };
        timeout(PATIENCE, placed).await.expect("an order is accepted")
    }
}

impl World {
    /// Sagas that have not ended.
    pub(crate) async fn open_sagas(&self) -> i64 {
        open_sagas(&PgPool::connect(&self.shop.state().stores.orders).await.unwrap()).await.unwrap()
    }
}

async fn open_sagas(orders: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from saga where state = 'running'").fetch_one(orders).await
}

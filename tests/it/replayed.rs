//! All that was ever said is said again, to services that have forgotten the ids of what they took in.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{
    life,
    stores::Stores,
    topics::Topics,
    traffic::Traffic,
    world::{PATIENCE, World},
};

const ORDERS_PER_SECOND: u32 = 50;
/// Orders come for so long before.
const WHILE: Duration = Duration::from_secs(5);

/// What must not change, among all others: the tables whose rows a message brings about.
pub(crate) const BUSINESS: [&str; 12] = [
    "order.orders",
    "order.order_events",
    "order.saga",
    "order.saga_log",
    "billing.payment",
    "billing.ledger_entry",
    "billing.invoice",
    "billing.refund",
    "inventory.hold",
    "inventory.stock",
    "inventory.movement",
    "inventory.shipment",
];

/// Natural keys, not the ids of messages, are what makes an effect happen once.
#[tokio::test(flavor = "multi_thread")]
async fn all_topics_read_again_from_their_beginning_change_nothing() {
    let world = World::new("replayed", 1).await;
    world.product("REPLAY", 9_999).await;
    let traffic = Traffic::begin(&world, "REPLAY", ORDERS_PER_SECOND);
    sleep(WHILE).await;
    life::each_way(&world).await;
    traffic.end().await.settle(&world).await;
    world.audit().await;

    let (stores, topics) = (Stores::of(&world).await, Topics::of(&world));
    let (before, taken_in) = (stores.contents().await, stores.taken_in().await);
    stores.forget_what_was_read().await;
    // Whoever takes this in meets the fence, and looks where to read.
    topics.say_the_last_again().await;
    if timeout(PATIENCE, stores.until_all_is_read(&topics)).await.is_err() {
        panic!("not all is read again: {:?} of {:?}", stores.offsets().await, topics.ends());
    }

    let (after, again) = (stores.contents().await, stores.taken_in().await);
    eprintln!("{} messages were taken in, {} again; compared: {before:#?}", taken_in.len(), again.len());
    assert!(taken_in.len() > 1_500 && again.is_superset(&taken_in), "{} are taken in again", again.len());
    let empty = |table: &&str| before.get(*table).is_none_or(|rows| rows.starts_with("0 rows"));
    assert_eq!(BUSINESS.iter().filter(|table| empty(table)).collect::<Vec<_>>(), [&""; 0], "these have rows");
    let changed: Vec<_> = before.keys().filter(|table| before.get(*table) != after.get(*table)).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "changed: {changed:?}");
    world.audit().await;
}

impl Stores {
    /// Returns when the topics have ended for a while where the consumers have come to, answers to what was read again
    /// included.
    pub(crate) async fn until_all_is_read(&self, topics: &Topics) {
        let mut quiet = 0;
        while quiet < 5 {
            let offsets = self.offsets().await;
            let ends = topics.ends();
            let read = |topic: &str, at: i32, end: i64| {
                let of_this = offsets.iter().filter(|((_, name, partition), _)| name == topic && *partition == at);
                of_this.into_iter().all(|(_, next)| *next >= end)
            };
            let all = ends.into_iter().all(|(topic, partition, end)| read(topic, partition, end));
            quiet = if all { quiet + 1 } else { 0 };
            sleep(Duration::from_millis(500)).await;
        }
    }
}

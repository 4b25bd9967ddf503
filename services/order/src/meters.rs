//! What operators see of the orders: counters, moved once per batch, after its commit.

use std::sync::LazyLock;

use metrics::{Counter, counter};

use crate::{
    order::{Order, Status},
    place::{PlaceError, Placed},
};

struct Meters {
    placed: Counter,
    confirmed: Counter,
    cancelled: Counter,
}

static METERS: LazyLock<Meters> = LazyLock::new(|| Meters {
    placed: counter!("orders_placed_total"),
    confirmed: counter!("orders_confirmed_total"),
    cancelled: counter!("orders_cancelled_total"),
});

/// Counts those that were placed now, not before.
pub(crate) fn placed(answers: &[Result<Placed, PlaceError>]) {
    let now = answers.iter().filter(|answer| matches!(answer, Ok(Placed::Now(_)))).count();
    METERS.placed.increment(now as u64);
}

/// Counts orders that have just ended.
pub(crate) fn ended(orders: &[Order]) {
    let confirmed = orders.iter().filter(|order| order.status == Status::Confirmed).count();
    METERS.confirmed.increment(confirmed as u64);
    METERS.cancelled.increment((orders.len() - confirmed) as u64);
}

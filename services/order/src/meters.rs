//! What operators see of the orders: counters, moved once per batch, after its commit.

use std::sync::LazyLock;

use contracts::order::OrderEvent;
use metrics::{Counter, counter};

struct Meters {
    placed: Counter,
    confirmed: Counter,
    shipments: Counter,
    cancellations_refused: Counter,
    cancelled: Counter,
}

static METERS: LazyLock<Meters> = LazyLock::new(|| Meters {
    placed: counter!("orders_placed_total"),
    confirmed: counter!("orders_confirmed_total"),
    shipments: counter!("orders_shipments_total"),
    cancellations_refused: counter!("orders_cancellations_refused_total"),
    cancelled: counter!("orders_cancelled_total"),
});

/// Counts what has just happened to orders.
pub(crate) fn happened(events: &[OrderEvent]) {
    for event in events {
        let counter = match event {
            OrderEvent::Placed { .. } => &METERS.placed,
            OrderEvent::Confirmed { .. } => &METERS.confirmed,
            OrderEvent::Shipped { .. } => &METERS.shipments,
            OrderEvent::CancellationRefused { .. } => &METERS.cancellations_refused,
            OrderEvent::Cancelled { .. } => &METERS.cancelled,
        };
        counter.increment(1);
    }
}

//! What operators see of the orders: counters, moved once per batch, after its commit.

use std::sync::LazyLock;

use contracts::order::OrderEvent;
use metrics::{Counter, Gauge, counter, gauge};

use crate::store::sagas::Counts;

struct Meters {
    placed: Counter,
    confirmed: Counter,
    shipments: Counter,
    cancellations_refused: Counter,
    cancelled: Counter,
    sagas_open: Gauge,
    sagas_parked: Gauge,
}

static METERS: LazyLock<Meters> = LazyLock::new(|| Meters {
    placed: counter!("orders_placed_total"),
    confirmed: counter!("orders_confirmed_total"),
    shipments: counter!("orders_shipments_total"),
    cancellations_refused: counter!("orders_cancellations_refused_total"),
    cancelled: counter!("orders_cancelled_total"),
    sagas_open: gauge!("orders_sagas_open"),
    sagas_parked: gauge!("orders_sagas_parked"),
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

/// So many sagas there are now.
pub(crate) fn sagas(Counts { open, parked }: Counts) {
    METERS.sagas_open.set(open as f64);
    METERS.sagas_parked.set(parked as f64);
}

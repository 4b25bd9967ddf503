//! O: orders are the folds of their events.

use contracts::{
    ShipmentId,
    order::{CancelReason, OrderEvent},
};
use uuid::Uuid;

use super::{
    Books, Finding,
    books::{Order, columns},
};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    vec![
        Finding::of("O1 every order has ended", books.orders.values(), |order| {
            (order.status == "pending").then(|| format!("order {} is pending", order.id))
        }),
        Finding::of("O3 an order's events are numbered 1..n without gaps", &books.events, |(order, events)| {
            let whole = events
                .iter()
                .zip(1..)
                .all(|((version, event), n)| *version == n && event.version() == n.cast_unsigned());
            (!whole).then(|| format!("order {order}"))
        }),
        Finding::of("O3 the time of an order's events never goes back", &books.events, |(order, events)| {
            let goes_back = !events.is_sorted_by_key(|(_, event)| at(event));
            goes_back.then(|| format!("order {order}"))
        }),
        Finding::of("O4 every order is the fold of its events", books.orders.values(), |order| {
            let events = books.events.get(&order.id).map_or(&[][..], Vec::as_slice);
            differs(order, events).map(|what| format!("order {}: {what}", order.id))
        }),
        Finding::of("O4 every stream of events has its order", books.events.keys(), |id: &Uuid| {
            (!books.orders.contains_key(id)).then(|| format!("events of {id}"))
        }),
    ]
}

/// What the fold of `events` says otherwise than the stored order. A fold of its own: the audit shares no code with
/// the service it judges.
fn differs(order: &Order, events: &[(i32, OrderEvent)]) -> Option<String> {
    let Some((_, OrderEvent::Placed { customer, lines, total, .. })) = events.first() else {
        return Some("its first event does not place it".to_owned());
    };
    let fold = events[1..].iter().try_fold(Fold::default(), |fold, (version, event)| fold.after(event).ok_or(version));
    let Fold { status, reason, shipments, refused } = match fold {
        Ok(fold) => fold,
        Err(version) => return Some(format!("event {version} cannot follow those before it")),
    };
    let same = [
        ("customer", order.customer_id == customer.as_uuid()),
        ("lines", order.lines.0 == *lines),
        ("total", order.total() == columns(total)),
        ("status", order.status == status),
        ("reason", order.cancel_reason.as_ref().map(|stored| &stored.0) == reason),
        ("list of shipments", order.shipments.0 == shipments),
        ("refused cancellation", order.cancellation_refused == refused),
        ("version", usize::try_from(order.version) == Ok(events.len())),
        ("time of placing", Some(order.placed_us) == events.first().map(|(_, event)| at(event))),
        ("time of change", Some(order.updated_us) == events.last().map(|(_, event)| at(event))),
        ("order", events.iter().all(|(_, event)| event.order().as_uuid() == order.id)),
    ];
    same.iter().find(|(_, same)| !same).map(|(what, _)| format!("its {what} is not that of its events"))
}

/// What the events after the placing make of an order.
struct Fold<'e> {
    status: &'static str,
    reason: Option<&'e CancelReason>,
    shipments: Vec<ShipmentId>,
    refused: bool,
}

impl Default for Fold<'_> {
    fn default() -> Self {
        Self { status: "pending", reason: None, shipments: Vec::new(), refused: false }
    }
}

impl<'e> Fold<'e> {
    /// `None` if `event` cannot follow.
    fn after(mut self, event: &'e OrderEvent) -> Option<Self> {
        let is_paid = matches!(self.status, "confirmed" | "partly_shipped" | "shipped");
        match event {
            OrderEvent::Confirmed { .. } if self.status == "pending" => self.status = "confirmed",
            OrderEvent::Shipped { shipment, complete, .. } if is_paid && !self.shipments.contains(shipment) => {
                self.shipments.push(*shipment);
                self.status = if *complete || self.status == "shipped" { "shipped" } else { "partly_shipped" };
            }
            OrderEvent::CancellationRefused { .. } if is_paid && !self.refused => self.refused = true,
            OrderEvent::Cancelled { reason, .. }
                if self.status == "pending"
                    || (self.status == "confirmed" && !self.refused && *reason == CancelReason::Requested) =>
            {
                self.status = "cancelled";
                self.reason = Some(reason);
            }
            OrderEvent::Placed { .. }
            | OrderEvent::Confirmed { .. }
            | OrderEvent::Shipped { .. }
            | OrderEvent::CancellationRefused { .. }
            | OrderEvent::Cancelled { .. } => return None,
        }
        Some(self)
    }
}

/// Unit: microseconds since 1970.
fn at(event: &OrderEvent) -> i64 {
    event.at().as_microsecond()
}

//! O: orders are the folds of their events.

use contracts::order::OrderEvent;
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
    let (status, reason) = match events {
        [_] => ("pending", None),
        [_, (_, OrderEvent::Confirmed { .. })] => ("confirmed", None),
        [_, (_, OrderEvent::Cancelled { reason, .. })] => ("cancelled", Some(reason)),
        _ => return Some(format!("{} events, which cannot follow one another", events.len())),
    };
    let same = [
        ("customer", order.customer_id == customer.as_uuid()),
        ("lines", order.lines.0 == *lines),
        ("total", order.total() == columns(total)),
        ("status", order.status == status),
        ("reason", order.cancel_reason.as_ref().map(|stored| &stored.0) == reason),
        ("version", usize::try_from(order.version) == Ok(events.len())),
        ("time of placing", Some(order.placed_us) == events.first().map(|(_, event)| at(event))),
        ("time of change", Some(order.updated_us) == events.last().map(|(_, event)| at(event))),
        ("order", events.iter().all(|(_, event)| event.order().as_uuid() == order.id)),
    ];
    same.iter().find(|(_, same)| !same).map(|(what, _)| format!("its {what} is not that of its events"))
}

/// Unit: microseconds since 1970.
fn at(event: &OrderEvent) -> i64 {
    event.at().as_microsecond()
}

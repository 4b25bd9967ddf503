//! An order as it was: the fold of its events up to a moment. Pure.

use contracts::order::OrderEvent;
use jiff::Timestamp;

use crate::order::{Impossible, Order};

/// Which state of an order is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The last event that is not later counts. An event's time is when its transaction began, so it is some milliseconds
    /// before anybody could see it.
    AsOf(Timestamp),
    /// The event with this number is the last that counts.
    Version(u32),
}

/// What `events`, all of one order, make of it at `moment`; `None` if it did not exist then, or not in that version.
pub(crate) fn at(events: &[OrderEvent], moment: Moment) -> Result<Option<Order>, Impossible> {
    let counting = match moment {
        Moment::AsOf(time) => events.partition_point(|event| event.at() <= time),
        Moment::Version(version) => usize::try_from(version).ok().filter(|count| *count <= events.len()).unwrap_or(0),
    };
    Order::fold(&events[..counting])
}

#[cfg(test)]
mod tests {
    use contracts::{Currency, CustomerId, Money, OrderId, ShipmentId, order::CancelReason};

    use super::*;
    use crate::order::Status;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Placed at 10 s, confirmed at 20 s, shipped at 20 s and at 30 s.
    fn events() -> Vec<OrderEvent> {
        let (order, customer, total) = (OrderId::mint(), CustomerId::mint(), Money::new(0, Currency::EUR));
        let shipped = |version, complete, at| {
            let shipment = ShipmentId::mint();
            OrderEvent::Shipped { order, version, shipment, complete, at }
        };
        vec![
            OrderEvent::Placed { order, version: 1, customer, lines: Vec::new(), total, at: second(10) },
            OrderEvent::Confirmed { order, version: 2, at: second(20) },
            shipped(3, false, second(20)),
            shipped(4, true, second(30)),
        ]
    }

    #[test]
    fn a_moment_shows_what_had_happened_by_then() {
        let events = events();
        let status = |moment| at(&events, moment).unwrap().map(|order| order.status);
        let nanosecond = jiff::SignedDuration::from_nanos(1);
        for (time, expected) in [
            (second(10) - nanosecond, None),
            (second(10), Some(Status::Pending)),
            (second(20) - nanosecond, Some(Status::Pending)),
            (second(20), Some(Status::PartlyShipped)),
            (second(30), Some(Status::Shipped)),
            (Timestamp::MIN, None),
            (Timestamp::MAX, Some(Status::Shipped)),
        ] {
            assert_eq!(status(Moment::AsOf(time)), expected, "{time}");
        }
        let versions = [None, Some(Status::Pending), Some(Status::Confirmed), Some(Status::PartlyShipped)];
        for (version, expected) in versions.into_iter().chain([Some(Status::Shipped), None, None]).enumerate() {
            assert_eq!(status(Moment::Version(version.try_into().unwrap())), expected, "version {version}");
        }
        assert_eq!(status(Moment::Version(u32::MAX)), None);
    }

    #[test]
    fn a_stream_that_cannot_be_is_not_folded() {
        let mut events = events();
        events.remove(1);
        assert!(at(&events, Moment::Version(2)).is_err(), "shipped, never confirmed");
        let OrderEvent::Placed { order, .. } = events[0] else { panic!("placed first") };
        let cancelled = OrderEvent::Cancelled { order, version: 2, reason: CancelReason::TimedOut, at: second(11) };
        assert!(at(&[events[0].clone(), cancelled], Moment::Version(2)).unwrap().is_some());
    }
}

//! The order's and its sagas' part of the audit over a whole life: shipped, cancelled, refused.

use contracts::{ShipmentId, order::CancelReason, order::OrderEvent};
use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use super::{super::books::Saga, Shop, check, shop};

const KINDS: [&str; 2] = ["O", "M"];

impl Shop {
    /// The confirmed order goes on: `event` happens to it, and it is `status` now.
    fn happens(&mut self, status: &str, event: impl FnOnce(u32, Timestamp) -> OrderEvent) {
        let events = self.books.events.get_mut(&self.confirmed).unwrap();
        let version = i32::try_from(events.len()).unwrap() + 1;
        let at = Timestamp::from_second(2 + i64::from(version)).unwrap();
        events.push((version, event(version.cast_unsigned(), at)));
        let order = self.order();
        order.status = status.into();
        order.version = version;
        order.updated_us = at.as_microsecond();
    }

    fn ships(&mut self, shipment: ShipmentId, complete: bool, status: &str) {
        let order = self.confirmed.into();
        self.happens(status, |version, at| OrderEvent::Shipped { order, version, shipment, complete, at });
        self.order().shipments.0.push(shipment);
    }

    /// Its cancellation has come to this.
    fn cancellation(&mut self, state: &str) {
        let (id, kind) = (Uuid::now_v7(), "cancellation".into());
        self.books.sagas.push(Saga { id, kind, order_id: self.confirmed, state: state.into(), seq: 1 });
        self.books.saga_log.insert(id, vec![1]);
    }

    fn is_refused(&mut self, status: &str) {
        let order = self.confirmed.into();
        self.happens(status, |version, at| OrderEvent::CancellationRefused { order, version, at });
        self.order().cancellation_refused = true;
        self.cancellation("unwound");
    }

    fn is_cancelled(&mut self) {
        let (order, reason) = (self.confirmed.into(), CancelReason::Requested);
        self.order().cancel_reason = Some(Json(reason.clone()));
        self.happens("cancelled", |version, at| OrderEvent::Cancelled { order, version, reason, at });
        self.cancellation("completed");
    }

    /// What of the order service's own books contradicts the predicates.
    fn contradictions(&self) -> Vec<String> {
        let findings = check(&self.books).findings;
        let ours = findings.iter().filter(|finding| KINDS.iter().any(|kind| finding.predicate.starts_with(kind)));
        ours.flat_map(|finding| finding.violations.iter().map(|row| format!("{}: {row}", finding.predicate))).collect()
    }
}

#[test]
fn whole_lives_pass() {
    let lives: [fn(&mut Shop); 6] = [
        |shop| shop.ships(ShipmentId::mint(), true, "shipped"),
        |shop| {
            shop.ships(ShipmentId::mint(), false, "partly_shipped");
            shop.is_refused("partly_shipped");
            shop.ships(ShipmentId::mint(), true, "shipped");
        },
        // The last shipment was heard of first.
        |shop| {
            shop.ships(ShipmentId::mint(), true, "shipped");
            shop.ships(ShipmentId::mint(), false, "shipped");
        },
        |shop| {
            shop.is_refused("confirmed");
            shop.ships(ShipmentId::mint(), true, "shipped");
        },
        Shop::is_cancelled,
        // It was wanted no more while its money was taken.
        |shop| {
            shop.books.events.get_mut(&shop.confirmed).unwrap().pop();
            shop.is_cancelled();
        },
    ];
    for (place, live) in lives.iter().enumerate() {
        let mut shop = shop();
        live(&mut shop);
        assert_eq!(shop.contradictions(), [""; 0], "life {place}");
    }
}

#[test]
fn what_cannot_follow_is_named() {
    let lives: [fn(&mut Shop); 7] = [
        |shop| {
            let shipment = ShipmentId::mint();
            shop.ships(shipment, false, "partly_shipped");
            shop.ships(shipment, false, "partly_shipped");
        },
        |shop| {
            shop.ships(ShipmentId::mint(), true, "shipped");
            shop.is_cancelled();
        },
        |shop| {
            shop.is_refused("confirmed");
            shop.is_cancelled();
        },
        |shop| {
            shop.is_cancelled();
            shop.ships(ShipmentId::mint(), true, "shipped");
        },
        |shop| {
            let order = shop.confirmed.into();
            shop.happens("confirmed", |version, at| OrderEvent::Confirmed { order, version, at });
        },
        // The status keeps up with neither shipment.
        |shop| shop.ships(ShipmentId::mint(), true, "partly_shipped"),
        |shop| {
            shop.is_cancelled();
            shop.books.sagas.last_mut().unwrap().state = "unwound".into();
        },
    ];
    for (place, live) in lives.iter().enumerate() {
        let mut shop = shop();
        live(&mut shop);
        let order = shop.confirmed.to_string();
        assert!(shop.contradictions().iter().any(|found| found.contains(&order)), "life {place}");
    }
}

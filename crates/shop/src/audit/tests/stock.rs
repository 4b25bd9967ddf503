//! Stock that adds up, and mistakes planted in it.

use contracts::ShipmentId;
use mongodb::bson;
use uuid::Uuid;

use super::{
    super::stock::{Cause, Hold, HoldState, Level, Line, Movement, MovementId, Pick, Shipment, Stock},
    Books, Planted, Row, Shop, check, shop,
};

const SKU: &str = "MUG";
const WAREHOUSE: &str = "LYON";

/// Ten mugs have come in.
pub(super) fn fill(books: &mut Books) {
    books.stock.push(Stock { sku: SKU.into(), warehouses: [(WAREHOUSE.into(), Level::default())].into() });
    moves(books, "received", 10);
}

/// The hold of an order of two mugs, in its end.
pub(super) fn hold(books: &mut Books, order: Uuid, state: HoldState) {
    moves(books, "held", 2);
    let mut picks = vec![Pick { sku: SKU.into(), warehouse: WAREHOUSE.into(), pieces: 2 }];
    if state == HoldState::Released {
        moves(books, "released", 2);
        picks.clear();
    }
    let (id, lines) = (bson::Uuid::from_bytes(order.into_bytes()), vec![Line { sku: SKU.into(), quantity: 2 }]);
    books.holds.insert(order, Hold { order: id, state, lines, picks, late_cleanup: false });
}

fn moves(books: &mut Books, kind: &str, pieces: i64) {
    let level = books.stock[0].warehouses.get_mut(WAREHOUSE).unwrap();
    level.on_hand += pieces * [0, 1, -1][usize::from(kind == "received") + 2 * usize::from(kind == "shipped")];
    level.held += match kind {
        "held" => pieces,
        "received" => 0,
        _ => -pieces,
    };
    let at = bson::DateTime::from_millis(i64::try_from(books.movements.len()).unwrap());
    let causes = vec![Cause { kind: kind.into(), warehouse: WAREHOUSE.into(), pieces }];
    let warehouses = books.stock[0].warehouses.clone();
    books.movements.push(Movement { id: MovementId { sku: SKU.into(), at }, causes, warehouses });
}

impl Shop {
    fn level(&mut self) -> &mut Level {
        self.books.stock[0].warehouses.get_mut(WAREHOUSE).unwrap()
    }

    fn hold(&mut self) -> &mut Hold {
        self.books.holds.get_mut(&self.confirmed).unwrap()
    }

    /// Some of the confirmed order's mugs leave, and the order service learns of it.
    fn leaves(&mut self, pieces: i64) {
        moves(&mut self.books, "shipped", pieces);
        let (id, lines) = (ShipmentId::mint(), vec![Line { sku: SKU.into(), quantity: pieces }]);
        let [shipment, order] = [id.as_uuid(), self.confirmed].map(|id| bson::Uuid::from_bytes(id.into_bytes()));
        self.books.shipments.push(Shipment { shipment, order, warehouse: WAREHOUSE.into(), lines });
        self.order().shipments.0.push(id);
        let hold = self.hold();
        hold.picks[0].pieces -= pieces;
        hold.picks.retain(|pick| pick.pieces > 0);
        hold.state = if hold.picks.is_empty() { HoldState::Shipped } else { HoldState::Allocated };
    }
}

pub(super) const PLANTED: &[Planted] = &[
    ("I1 on hand", Row::Mug, |shop| shop.level().on_hand += 1),
    ("I1 on hand", Row::Mug, |shop| shop.books.movements.clear()),
    ("I1 on hand", Row::Mug, |shop| {
        shop.leaves(1);
        shop.level().on_hand += 1;
    }),
    ("I1 what was", Row::Mug, |shop| {
        shop.leaves(1);
        shop.books.shipments.clear();
    }),
    ("I2", Row::Mug, |shop| shop.level().held -= 1),
    ("I2", Row::Mug, |shop| shop.hold().picks[0].pieces = 3),
    ("I2", Row::Mug, |shop| shop.hold().picks[0].warehouse = "MILAN".into()),
    ("I2", Row::Mug, |shop| shop.hold().state = HoldState::Released),
    ("I3", Row::Mug, |shop| shop.level().held = 11),
    ("I3", Row::Mug, |shop| shop.level().held = -1),
    ("I4 each movement", Row::Mug, |shop| drop(shop.books.movements.remove(1))),
    ("I4 each movement", Row::Mug, |shop| shop.books.movements[1].causes[0].pieces = 3),
    ("I4 each movement", Row::Mug, |shop| shop.books.movements[1].causes[0].kind = "eaten".into()),
    ("I4 each movement", Row::Mug, |shop| {
        moves(&mut shop.books, "held", 20);
        moves(&mut shop.books, "released", 20);
    }),
    ("I4 the stock", Row::Mug, |shop| drop(shop.books.movements.pop())),
    ("I4 the stock", Row::Mug, |shop| shop.books.movements.clear()),
    ("I5", Row::Confirmed, |shop| shop.hold().lines.clear()),
    ("I5", Row::Confirmed, |shop| shop.hold().picks.clear()),
    ("I5", Row::Confirmed, |shop| shop.hold().state = HoldState::Shipped),
    ("I5", Row::Confirmed, |shop| shop.hold().state = HoldState::Tombstone),
    ("I5", Row::Confirmed, |shop| {
        shop.leaves(2);
        shop.hold().state = HoldState::Allocated;
    }),
    ("I5", Row::Confirmed, |shop| {
        shop.leaves(1);
        shop.hold().state = HoldState::Open;
    }),
    ("I6", Row::Cancelled, |shop| shop.books.holds.get_mut(&shop.cancelled).unwrap().late_cleanup = true),
    ("X1 to a confirmed order", Row::Confirmed, |shop| drop(shop.books.holds.remove(&shop.confirmed))),
    ("X1 to a confirmed order", Row::Confirmed, |shop| shop.hold().state = HoldState::Open),
    ("X1 to a confirmed order", Row::Confirmed, |shop| shop.hold().lines[0].quantity = 1),
    ("X1 a confirmed order knows", Row::Confirmed, |shop| {
        shop.leaves(1);
        shop.order().shipments.0.clear();
    }),
    ("X1 a confirmed order knows", Row::Confirmed, |shop| shop.order().shipments.0.push(ShipmentId::mint())),
    ("X2 a cancelled order holds", Row::Cancelled, |shop| {
        shop.books.holds.get_mut(&shop.cancelled).unwrap().state = HoldState::Open
    }),
    ("X2 a cancelled order holds", Row::Cancelled, |shop| {
        shop.books.holds.get_mut(&shop.cancelled).unwrap().state = HoldState::Shipped
    }),
    ("X2 nothing was shipped", Row::Cancelled, |shop| {
        shop.leaves(1);
        shop.books.shipments[0].order = bson::Uuid::from_bytes(shop.cancelled.into_bytes());
    }),
];

/// What of the stock contradicts the predicates.
fn contradictions(shop: &Shop) -> Vec<String> {
    let findings = check(&shop.books).findings;
    let ours = findings.iter().filter(|one| one.predicate.starts_with('I') || one.predicate.starts_with("X1"));
    ours.flat_map(|finding| finding.violations.iter().map(|row| format!("{}: {row}", finding.predicate))).collect()
}

#[test]
fn an_order_that_is_shipped_in_part_or_whole_adds_up() {
    let mut shop = shop();
    shop.leaves(1);
    assert_eq!(contradictions(&shop), [""; 0]);
    shop.leaves(1);
    assert_eq!(contradictions(&shop), [""; 0]);
    assert_eq!(shop.hold().state, HoldState::Shipped);
}

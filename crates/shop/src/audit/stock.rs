//! I: stock. Of each SKU in each warehouse, and what movements, holds and shipments say of it.

use std::{collections::BTreeMap, fmt};

use mongodb::bson;
use serde::Deserialize;
use uuid::Uuid;

use super::{Books, Finding};

/// What there is of a SKU in its warehouses.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stock {
    #[serde(rename = "_id")]
    pub(super) sku: String,
    pub(super) warehouses: Warehouses,
}

pub(super) type Warehouses = BTreeMap<String, Level>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Level {
    pub(super) on_hand: i64,
    pub(super) held: i64,
}

/// What a transaction made of the stock of a SKU, and why.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Movement {
    #[serde(rename = "_id")]
    pub(super) id: MovementId,
    pub(super) causes: Vec<Cause>,
    pub(super) warehouses: Warehouses,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct MovementId {
    pub(super) sku: String,
    pub(super) at: bson::DateTime,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Cause {
    pub(super) kind: String,
    pub(super) warehouse: String,
    pub(super) pieces: i64,
}

/// What inventory knows of an order.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Hold {
    #[serde(rename = "_id")]
    pub(super) order: bson::Uuid,
    pub(super) state: HoldState,
    pub(super) lines: Vec<Line>,
    pub(super) picks: Vec<Pick>,
    #[serde(default)]
    pub(super) late_cleanup: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) enum HoldState {
    Open,
    Allocated,
    Shipped,
    Released,
    Refused(serde::de::IgnoredAny),
    Tombstone,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) quantity: i64,
}

/// Pieces that lie in a warehouse for an order.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pick {
    pub(super) sku: String,
    pub(super) warehouse: String,
    pub(super) pieces: i64,
}

/// Pieces that have left a warehouse for an order.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Shipment {
    pub(super) shipment: bson::Uuid,
    pub(super) order: bson::Uuid,
    pub(super) warehouse: String,
    pub(super) lines: Vec<Line>,
}

/// One SKU in one warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'a> {
    sku: &'a str,
    warehouse: &'a str,
}

type Sums<'a> = BTreeMap<Place<'a>, i64>;

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let (received, moved_out) = (moved(books, "received"), moved(books, "shipped"));
    let (held, shipped) = (held(books), shipped(books));
    let ordered = ordered(books);
    let newest: BTreeMap<&str, &Movement> = ordered.iter().map(|one| (one.id.sku.as_str(), *one)).collect();
    let sum = |of: &Sums<'_>, place: &Place<'_>| of.get(place).copied().unwrap_or(0);
    vec![
        Finding::of("I1 on hand is what was received less what was shipped", places(books), |(place, level)| {
            let (said, is) = (level.on_hand, sum(&received, &place) - sum(&moved_out, &place));
            (said != is).then(|| format!("{place}: {said} on hand, {is} received less shipped"))
        }),
        Finding::of("I1 what was shipped is what the shipments say", places(books), |(place, _)| {
            let (said, is) = (sum(&moved_out, &place), sum(&shipped, &place));
            (said != is).then(|| format!("{place}: movements say {said} were shipped, shipments {is}"))
        }),
        Finding::of("I2 held is what lies there for open and allocated holds", places(books), |(place, level)| {
            let (said, is) = (level.held, sum(&held, &place));
            (said != is).then(|| format!("{place}: {said} held, the holds say {is}"))
        }),
        Finding::of("I3 nothing is oversold", places(books), |(place, level)| {
            (!level.is_sound()).then(|| format!("{place}: {} held of {}", level.held, level.on_hand))
        }),
        movements(&ordered),
        Finding::of("I4 the stock is what its newest movement says", &books.stock, |stock| {
            let said = newest.get(stock.sku.as_str()).map(|movement| &movement.warehouses);
            (*said.unwrap_or(&Warehouses::new()) != stock.warehouses).then(|| stock.sku.clone())
        }),
        whole_or_nothing(books),
        Finding::of("I6 nothing of a cancelled order was left to clean up", books.holds.values(), |hold| {
            hold.late_cleanup.then(|| format!("the hold of order {}", hold.order))
        }),
    ]
}

/// Each movement, from the first of its SKU on: its causes make, of what there was before, what it says; and at no time
/// was more held than there was.
fn movements(ordered: &[&Movement]) -> Finding {
    let mut before: BTreeMap<&str, Warehouses> = BTreeMap::new();
    let mut checked = Vec::with_capacity(ordered.len());
    for movement in ordered {
        let now = before.entry(&movement.id.sku).or_default();
        movement.causes.iter().for_each(|cause| cause.add_to(now));
        let sound = *now == movement.warehouses && now.values().all(|level| level.is_sound());
        // What it says counts from here on, so that one mistake is named once.
        now.clone_from(&movement.warehouses);
        checked.push((&movement.id, sound));
    }
    Finding::of("I4 each movement says what it made of the one before", checked, |(id, sound)| {
        (!sound).then(|| format!("{} at {}", id.sku, id.at))
    })
}

/// Of an order all lines are held or have left, or none.
fn whole_or_nothing(books: &Books) -> Finding {
    let mut left: BTreeMap<[u8; 16], BTreeMap<&str, i64>> = BTreeMap::new();
    for shipment in &books.shipments {
        let of_order = left.entry(shipment.order.bytes()).or_default();
        shipment.lines.iter().for_each(|line| *of_order.entry(&line.sku).or_default() += line.quantity);
    }
    Finding::of("I5 of an order all lines are held or shipped, or none", books.holds.values(), |hold| {
        let shipped = left.get(&hold.order.bytes()).cloned().unwrap_or_default();
        let mut there: BTreeMap<&str, i64> = BTreeMap::new();
        hold.picks.iter().for_each(|pick| *there.entry(&pick.sku).or_default() += pick.pieces);
        let (none_left, none_there) = (shipped.is_empty(), there.is_empty());
        shipped.into_iter().for_each(|(sku, pieces)| *there.entry(sku).or_default() += pieces);
        let asked: BTreeMap<&str, i64> = hold.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        let whole = !asked.is_empty() && there == asked;
        let fits = match hold.state {
            HoldState::Open => whole && none_left,
            HoldState::Allocated => whole && !none_there,
            HoldState::Shipped => whole && none_there,
            HoldState::Released | HoldState::Refused(_) | HoldState::Tombstone => there.is_empty(),
        };
        (!fits).then(|| format!("the hold of order {}", hold.order))
    })
}

/// Those of a SKU one after the other, the first first.
fn ordered(books: &Books) -> Vec<&Movement> {
    let mut ordered: Vec<&Movement> = books.movements.iter().collect();
    ordered.sort_by(|one, other| one.id.cmp(&other.id));
    ordered
}

fn places(books: &Books) -> impl Iterator<Item = (Place<'_>, Level)> {
    books.stock.iter().flat_map(|stock| {
        stock.warehouses.iter().map(|(warehouse, level)| (Place { sku: &stock.sku, warehouse }, *level))
    })
}

fn moved<'a>(books: &'a Books, kind: &str) -> Sums<'a> {
    let mut sums = Sums::new();
    for Movement { id, causes, .. } in &books.movements {
        for cause in causes.iter().filter(|cause| cause.kind == kind) {
            *sums.entry(Place { sku: &id.sku, warehouse: &cause.warehouse }).or_default() += cause.pieces;
        }
    }
    sums
}

fn held(books: &Books) -> Sums<'_> {
    let mut sums = Sums::new();
    let counting = books.holds.values().filter(|hold| matches!(hold.state, HoldState::Open | HoldState::Allocated));
    for Pick { sku, warehouse, pieces } in counting.flat_map(|hold| &hold.picks) {
        *sums.entry(Place { sku, warehouse }).or_default() += pieces;
    }
    sums
}

fn shipped(books: &Books) -> Sums<'_> {
    let mut sums = Sums::new();
    for Shipment { warehouse, lines, .. } in &books.shipments {
        for Line { sku, quantity } in lines {
            *sums.entry(Place { sku, warehouse }).or_default() += quantity;
        }
    }
    sums
}

impl Level {
    fn is_sound(self) -> bool {
        0 <= self.held && self.held <= self.on_hand
    }
}

impl Cause {
    fn add_to(&self, warehouses: &mut Warehouses) {
        let level = warehouses.entry(self.warehouse.clone()).or_default();
        let (on_hand, held) = match self.kind.as_str() {
            "received" => (1, 0),
            "held" => (0, 1),
            "released" => (0, -1),
            "shipped" => (-1, -1),
            // What nobody knows makes nothing of anything, so the movement is named.
            _ => (0, 0),
        };
        level.on_hand += on_hand * self.pieces;
        level.held += held * self.pieces;
    }
}

impl Shipment {
    pub(super) fn id(&self) -> Uuid {
        Uuid::from_bytes(self.shipment.bytes())
    }

    pub(super) fn order(&self) -> Uuid {
        Uuid::from_bytes(self.order.bytes())
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.sku, self.warehouse)
    }
}

//! The stock of the SKUs that one transaction concerns, in memory. Pure.
//!
//! Read once, changed in memory by everything the transaction decides, written once: one statement per SKU that changed,
//! and one movement, which keeps what it was changed to and why.

#[cfg(test)]
pub(crate) mod tests;

use std::{cmp::Reverse, collections::BTreeMap};

use contracts::{OrderId, Sku, Warehouse, inventory::StockLine};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{receive::Receipt, request::RequestId};

/// How much of one SKU there is in one warehouse. Unit: pieces. `0 <= held <= on_hand`, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Level {
    /// In the warehouse.
    pub(crate) on_hand: i64,
    /// Promised to orders, and still in the warehouse.
    pub(crate) held: i64,
}

impl Level {
    /// What can still be promised.
    pub(crate) fn available(self) -> i64 {
        self.on_hand - self.held
    }
}

/// The warehouses that a SKU has ever been in.
pub(crate) type Warehouses = BTreeMap<Warehouse, Level>;

/// One SKU in all its warehouses, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Levels {
    /// Since when it is like this. Each change has a millisecond of its own, so a time names one state.
    pub(crate) at: Timestamp,
    pub(crate) warehouses: Warehouses,
}

impl Levels {
    /// A SKU of which nothing came in yet.
    pub(crate) fn none(at: Timestamp) -> Self {
        Self { at, warehouses: Warehouses::new() }
    }
}

/// All of `warehouses` together.
pub(crate) fn total(warehouses: &Warehouses) -> Level {
    let add = |sum: Level, level: &Level| Level { on_hand: sum.on_hand + level.on_hand, held: sum.held + level.held };
    warehouses.values().fold(Level::default(), add)
}

/// Pieces of one SKU that are held in one warehouse. A hold has one at most per SKU and warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Pick {
    pub(crate) sku: Sku,
    pub(crate) warehouse: Warehouse,
    pub(crate) pieces: u32,
}

/// One reason why the stock of a SKU has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) kind: Kind,
    pub(crate) by: By,
    pub(crate) warehouse: Warehouse,
    pub(crate) pieces: u32,
}

/// How stock changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// On hand grows.
    Received,
    /// Held grows.
    Held,
    /// Held shrinks.
    Released,
    /// On hand and held shrink.
    Shipped,
}

/// Whose wish it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    Order(OrderId),
    Receipt(RequestId),
}

/// Levels as they were read, and as they are by now.
#[derive(Debug, Default)]
pub(crate) struct Stock(BTreeMap<Sku, Entry>);

#[derive(Debug)]
struct Entry {
    read_at: Timestamp,
    now: Warehouses,
    causes: Vec<Cause>,
}

/// A SKU whose stock was changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    pub(crate) sku: &'a Sku,
    /// Since when it is like this: see [`Levels::at`].
    pub(crate) at: Timestamp,
    pub(crate) to: &'a Warehouses,
    /// In the order they came.
    pub(crate) causes: &'a [Cause],
}

/// No product has this SKU.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownSku;

/// A hold has more pieces than are held of its SKU: the books are broken, and nobody may go on with them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("less of {sku} is held in {warehouse} than its holds say")]
pub(crate) struct BrokenBooks {
    sku: Sku,
    warehouse: Warehouse,
}

impl Stock {
    /// Holds all of `lines` for `order`, or nothing of them, and says where. A warehouse that has everything comes first,
    /// so that the order leaves in one piece; else each line is taken from where most of it is.
    ///
    /// # Errors
    /// The first SKU of which there is not enough, or that does not exist. Then nothing has changed.
    pub(crate) fn hold(&mut self, order: OrderId, lines: &[StockLine]) -> Result<Vec<Pick>, Sku> {
        let picks = match self.has_all(lines) {
            Some(warehouse) => lines.iter().map(|line| pick(line, &warehouse, line.quantity.get())).collect(),
            None => self.of_several(lines)?,
        };
        for pick in &picks {
            let entry = self.0.get_mut(&pick.sku).expect("what was picked is there");
            let level = entry.now.get_mut(&pick.warehouse).expect("what was picked is there");
            level.held += i64::from(pick.pieces);
            entry.note(Kind::Held, order, pick);
        }
        Ok(picks)
    }

    /// Lets go of `picks`, which are held for `order`.
    ///
    /// # Errors
    /// [`BrokenBooks`]; then nothing of the transaction may be kept.
    pub(crate) fn release(&mut self, order: OrderId, picks: &[Pick]) -> Result<(), BrokenBooks> {
        self.give_up(Kind::Released, order, picks)
    }

    /// `picks`, which are held for `order`, leave their warehouses.
    ///
    /// # Errors
    /// [`BrokenBooks`]; then nothing of the transaction may be kept.
    pub(crate) fn ship(&mut self, order: OrderId, picks: &[Pick]) -> Result<(), BrokenBooks> {
        self.give_up(Kind::Shipped, order, picks)
    }

    /// Takes in what a receipt says.
    pub(crate) fn receive(&mut self, receipt: &Receipt) -> Result<(), UnknownSku> {
        let entry = self.0.get_mut(&receipt.sku).ok_or(UnknownSku)?;
        let (warehouse, pieces) = (receipt.warehouse.clone(), receipt.pieces.get());
        let level = entry.now.entry(warehouse.clone()).or_default();
        let on_hand = level.on_hand.checked_add(i64::from(pieces));
        level.on_hand = on_hand.expect("2^63 pieces would take 2^43 receipts of the largest size");
        entry.causes.push(Cause { kind: Kind::Received, by: By::Receipt(receipt.id.clone()), warehouse, pieces });
        Ok(())
    }

    /// What was changed, ordered by SKU: two transactions that concern the same SKUs meet at the first of them. The time
    /// of a SKU always goes on, whatever the clock does: its history could not be asked by time.
    pub(crate) fn changes(&self, now: Timestamp) -> impl Iterator<Item = Change<'_>> {
        let changed = self.0.iter().filter(|(_, entry)| !entry.causes.is_empty());
        changed.map(move |(sku, Entry { read_at, now: to, causes })| {
            let next = read_at.checked_add(1.millisecond()).expect("stock does not change at the end of time");
            Change { sku, at: now.max(next), to, causes }
        })
    }

    fn give_up(&mut self, kind: Kind, order: OrderId, picks: &[Pick]) -> Result<(), BrokenBooks> {
        for pick in picks {
            let pieces = i64::from(pick.pieces);
            let broken = || BrokenBooks { sku: pick.sku.clone(), warehouse: pick.warehouse.clone() };
            let entry = self.0.get_mut(&pick.sku).ok_or_else(broken)?;
            let level = entry.now.get_mut(&pick.warehouse).filter(|level| level.held >= pieces).ok_or_else(broken)?;
            level.held -= pieces;
            if kind == Kind::Shipped {
                level.on_hand -= pieces;
            }
            entry.note(kind, order, pick);
        }
        Ok(())
    }

    /// The first warehouse, by its code, that has all of `lines`.
    fn has_all(&self, lines: &[StockLine]) -> Option<Warehouse> {
        let first = self.0.get(&lines.first()?.sku)?;
        let has = |warehouse: &Warehouse, line: &StockLine| {
            let level = self.0.get(&line.sku).and_then(|entry| entry.now.get(warehouse));
            level.is_some_and(|level| level.available() >= i64::from(line.quantity.get()))
        };
        first.now.keys().find(|warehouse| lines.iter().all(|line| has(warehouse, line))).cloned()
    }

    fn of_several(&self, lines: &[StockLine]) -> Result<Vec<Pick>, Sku> {
        let mut picks = Vec::with_capacity(lines.len());
        for line in lines {
            let mut missing = i64::from(line.quantity.get());
            for (warehouse, level) in self.0.get(&line.sku).map(Entry::fullest_first).unwrap_or_default() {
                let pieces = missing.min(level.available());
                if pieces > 0 {
                    missing -= pieces;
                    picks.push(pick(line, warehouse, u32::try_from(pieces).expect("no more than the line asks for")));
                }
            }
            if missing > 0 {
                return Err(line.sku.clone());
            }
        }
        Ok(picks)
    }
}

fn pick(line: &StockLine, warehouse: &Warehouse, pieces: u32) -> Pick {
    Pick { sku: line.sku.clone(), warehouse: warehouse.clone(), pieces }
}

impl Entry {
    fn note(&mut self, kind: Kind, order: OrderId, pick: &Pick) {
        let (by, warehouse, pieces) = (By::Order(order), pick.warehouse.clone(), pick.pieces);
        self.causes.push(Cause { kind, by, warehouse, pieces });
    }

    fn fullest_first(&self) -> Vec<(&Warehouse, &Level)> {
        let mut warehouses: Vec<_> = self.now.iter().collect();
        warehouses.sort_by_key(|(_, level)| Reverse(level.available()));
        warehouses
    }
}

impl FromIterator<(Sku, Levels)> for Stock {
    fn from_iter<I: IntoIterator<Item = (Sku, Levels)>>(levels: I) -> Self {
        let entry = |Levels { at, warehouses }| Entry { read_at: at, now: warehouses, causes: Vec::new() };
        Self(levels.into_iter().map(|(sku, levels)| (sku, entry(levels))).collect())
    }
}

#[cfg(test)]
impl Stock {
    /// The level of `sku` by now in one warehouse.
    pub(crate) fn level_in(&self, sku: &Sku, warehouse: &str) -> Level {
        let warehouse: Warehouse = warehouse.parse().expect("the code of a warehouse");
        self.0.get(sku).and_then(|entry| entry.now.get(&warehouse)).copied().unwrap_or_default()
    }
}

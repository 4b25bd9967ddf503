//! The stock of the SKUs that one transaction concerns, in memory. Pure.
//!
//! Read once, changed in memory by everything the transaction decides, written once: one statement per SKU that changed.

use std::collections::BTreeMap;

use contracts::{Sku, inventory::StockLine};

/// How much of one SKU there is. Unit: pieces. `0 <= held <= on_hand`, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// In the warehouse.
    pub(crate) on_hand: i64,
    /// Promised to orders, and still in the warehouse.
    pub(crate) held: i64,
}

impl Level {
    /// A SKU of which nothing came in yet.
    pub(crate) const NONE: Self = Self { on_hand: 0, held: 0 };

    /// What can still be promised.
    pub(crate) fn available(self) -> i64 {
        self.on_hand - self.held
    }
}

/// Levels as they were read, and as they are by now.
#[derive(Debug, Default)]
pub(crate) struct Stock(BTreeMap<Sku, Entry>);

#[derive(Debug)]
struct Entry {
    read: Level,
    now: Level,
}

/// A SKU whose level is no longer what was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    pub(crate) sku: &'a Sku,
    pub(crate) to: Level,
}

/// No product has this SKU.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownSku;

/// A hold has more pieces than are held of its SKU: the books are broken, and nobody may go on with them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("less of {sku} is held than its open holds say")]
pub(crate) struct BrokenBooks {
    sku: Sku,
}

impl Stock {
    /// Holds all of `lines`, or nothing of them.
    ///
    /// # Errors
    /// The first SKU of which there is not enough, or that does not exist. Then nothing has changed.
    pub(crate) fn hold(&mut self, lines: &[StockLine]) -> Result<(), Sku> {
        let short = lines.iter().find(|line| self.available(&line.sku) < i64::from(line.quantity.get()));
        if let Some(line) = short {
            return Err(line.sku.clone());
        }
        for line in lines {
            if let Some(entry) = self.0.get_mut(&line.sku) {
                entry.now.held += i64::from(line.quantity.get());
            }
        }
        Ok(())
    }

    /// Lets go of `lines`, which an open hold has.
    pub(crate) fn release(&mut self, lines: &[StockLine]) -> Result<(), BrokenBooks> {
        for StockLine { sku, quantity } in lines {
            let pieces = i64::from(quantity.get());
            match self.0.get_mut(sku) {
                Some(entry) if entry.now.held >= pieces => entry.now.held -= pieces,
                Some(_) | None => return Err(BrokenBooks { sku: sku.clone() }),
            }
        }
        Ok(())
    }

    /// Takes `pieces` of `sku` in.
    pub(crate) fn receive(&mut self, sku: &Sku, pieces: u32) -> Result<(), UnknownSku> {
        let entry = self.0.get_mut(sku).ok_or(UnknownSku)?;
        let on_hand = entry.now.on_hand.checked_add(i64::from(pieces));
        entry.now.on_hand = on_hand.expect("2^63 pieces would take 2^31 receipts of the largest size");
        Ok(())
    }

    /// What has changed, ordered by SKU: two transactions that concern the same SKUs meet at the first of them.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let changed = self.0.iter().filter(|(_, entry)| entry.read != entry.now);
        changed.map(|(sku, entry)| Change { sku, to: entry.now })
    }

    fn available(&self, sku: &Sku) -> i64 {
        self.0.get(sku).map_or(0, |entry| entry.now.available())
    }
}

impl FromIterator<(Sku, Level)> for Stock {
    fn from_iter<I: IntoIterator<Item = (Sku, Level)>>(levels: I) -> Self {
        Self(levels.into_iter().map(|(sku, level)| (sku, Entry { read: level, now: level })).collect())
    }
}

#[cfg(test)]
impl Stock {
    /// The level of `sku` by now.
    pub(crate) fn level(&self, sku: &Sku) -> Option<Level> {
        self.0.get(sku).map(|entry| entry.now)
    }

    /// All levels by now, as the next transaction would read them.
    pub(crate) fn levels(self) -> BTreeMap<Sku, Level> {
        self.0.into_iter().map(|(sku, entry)| (sku, entry.now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(text: &str) -> Sku {
        text.parse().unwrap()
    }

    fn line(text: &str, pieces: u32) -> StockLine {
        StockLine { sku: sku(text), quantity: pieces.try_into().unwrap() }
    }

    fn stock() -> Stock {
        [(sku("A"), Level { on_hand: 5, held: 2 }), (sku("B"), Level { on_hand: 1, held: 0 })].into_iter().collect()
    }

    #[test]
    fn holds_all_lines_or_none() {
        let mut stock = stock();
        assert_eq!(stock.hold(&[line("A", 1), line("B", 2)]), Err(sku("B")));
        assert_eq!(stock.changes().count(), 0);
        assert_eq!(stock.hold(&[line("A", 3), line("B", 1)]), Ok(()));
        assert_eq!(stock.level(&sku("A")), Some(Level { on_hand: 5, held: 5 }));
        assert_eq!(stock.hold(&[line("A", 1)]), Err(sku("A")), "what was held in memory counts");
    }

    #[test]
    fn has_nothing_of_an_unknown_sku() {
        let mut stock = stock();
        assert_eq!(stock.hold(&[line("C", 1)]), Err(sku("C")));
        assert_eq!(stock.receive(&sku("C"), 1), Err(UnknownSku));
    }

    #[test]
    fn writes_only_what_changed_in_the_end() {
        let mut stock = stock();
        stock.hold(&[line("A", 1), line("B", 1)]).unwrap();
        stock.release(&[line("B", 1)]).unwrap();
        let changes: Vec<_> = stock.changes().map(|change| (change.sku.clone(), change.to.held)).collect();
        assert_eq!(changes, [(sku("A"), 3)]);
    }

    #[test]
    fn never_lets_go_of_more_than_is_held() {
        assert_eq!(stock().release(&[line("A", 3)]), Err(BrokenBooks { sku: sku("A") }));
        assert_eq!(stock().release(&[line("C", 1)]), Err(BrokenBooks { sku: sku("C") }));
    }
}

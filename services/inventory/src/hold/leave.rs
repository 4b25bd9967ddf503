//! Pieces of a hold leave a warehouse.

use contracts::{Sku, Warehouse, inventory::StockLine};
use jiff::Timestamp;

use super::{Hold, State};
use crate::stock::{BrokenBooks, Pick, Stock};

/// What left a warehouse for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) lines: Vec<StockLine>,
    /// Whether nothing of the order is left in any warehouse.
    pub(crate) complete: bool,
}

/// Why nothing leaves. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotShipped {
    /// No command about this order has come.
    UnknownOrder,
    /// The hold is in this state; only an allocated one is shipped.
    NotAllocated(&'static str),
    /// It was taken back.
    Released,
    /// All of it has left.
    Shipped,
    /// Of this SKU, or of all, so many pieces do not lie there for the order.
    NotThere(Option<Sku>),
}

impl Hold {
    /// What `lines` say leaves `warehouse`, or all that lies there for the order.
    ///
    /// # Errors
    /// [`BrokenBooks`]; then nothing of the transaction may be kept.
    pub(crate) fn ship(
        &mut self,
        warehouse: &Warehouse,
        lines: Option<&[StockLine]>,
        stock: &mut Stock,
        now: Timestamp,
    ) -> Result<Result<Left, NotShipped>, BrokenBooks> {
        let there = match self.state {
            State::Allocated => self.picks.iter().filter(|pick| pick.warehouse == *warehouse),
            State::Released => return Ok(Err(NotShipped::Released)),
            State::Shipped => return Ok(Err(NotShipped::Shipped)),
            State::Open | State::Refused(_) | State::Tombstone => {
                return Ok(Err(NotShipped::NotAllocated(self.state.name())));
            }
        };
        let leaving: Vec<Pick> = match lines {
            None => there.cloned().collect(),
            Some(lines) => match lines.iter().map(|line| part(there.clone(), line)).collect() {
                Ok(parts) => parts,
                Err(missing) => return Ok(Err(missing)),
            },
        };
        if leaving.is_empty() {
            return Ok(Err(NotShipped::NotThere(None)));
        }
        stock.ship(self.order, &leaving)?;
        for gone in &leaving {
            let of_it = |pick: &&mut Pick| (&pick.sku, &pick.warehouse) == (&gone.sku, &gone.warehouse);
            self.picks.iter_mut().find(of_it).expect("it was taken from there").pieces -= gone.pieces;
        }
        self.picks.retain(|pick| pick.pieces > 0);
        let complete = self.picks.is_empty();
        if complete {
            self.state = State::Shipped;
            self.at = now;
        }
        let line = |pick: Pick| {
            let quantity = pick.pieces.try_into().expect("a pick is a part of a line");
            StockLine { sku: pick.sku, quantity }
        };
        Ok(Ok(Left { lines: leaving.into_iter().map(line).collect(), complete }))
    }

    /// Whether a piece has left.
    pub(super) fn has_left(&self) -> bool {
        let asked: u64 = self.lines.iter().map(|line| u64::from(line.quantity.get())).sum();
        let here: u64 = self.picks.iter().map(|pick| u64::from(pick.pieces)).sum();
        here < asked
    }
}

/// So much of the pick among `there` as `line` says.
fn part<'a>(mut there: impl Iterator<Item = &'a Pick>, line: &StockLine) -> Result<Pick, NotShipped> {
    let pieces = line.quantity.get();
    let found = there.find(|pick| pick.sku == line.sku && pick.pieces >= pieces);
    found.map(|pick| Pick { pieces, ..pick.clone() }).ok_or_else(|| NotShipped::NotThere(Some(line.sku.clone())))
}

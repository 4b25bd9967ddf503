//! A batch of commands, decided in memory in the order of their log: holds and stock go in, answers come out. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use contracts::{
    OrderId, Sku,
    inventory::{InventoryCommand, InventoryEvent},
};
use jiff::Timestamp;

use crate::{
    hold::{self, Hold, HoldError, State},
    stock::Stock,
};

/// The holds of the orders that one batch concerns: as they were read, and as they are by now.
#[derive(Debug, Default)]
pub(crate) struct Holds(HashMap<OrderId, Entry>);

#[derive(Debug, Default)]
struct Entry {
    now: Option<Hold>,
    /// Commands in the hold as it was read; none if there was no hold. Each command obeyed adds one, so a hold has
    /// changed if, and only if, it has more by now.
    read: usize,
}

/// Obeys `commands` one after the other and gives back their answers, one each, in the same order.
///
/// `holds` and `stock` have what was read of the orders and SKUs concerned; see [`orders`] and [`skus`].
///
/// # Errors
/// Which command cannot be obeyed, and why; then nothing of the batch may be kept.
pub(crate) fn decide(
    commands: &[&InventoryCommand],
    holds: &mut Holds,
    stock: &mut Stock,
    now: Timestamp,
) -> Result<Vec<InventoryEvent>, (usize, HoldError)> {
    let obey = |(index, command): (usize, &&InventoryCommand)| {
        let hold = &mut holds.0.entry(order(command)).or_default().now;
        hold::obey(hold, command, stock, now).map_err(|error| (index, error))
    };
    commands.iter().enumerate().map(obey).collect()
}

/// The orders whose holds must be read before `commands` can be decided.
pub(crate) fn orders(commands: &[&InventoryCommand]) -> HashSet<OrderId> {
    commands.iter().map(|command| order(command)).collect()
}

/// The SKUs whose stock must be read before `commands` can be decided: what may be held, and what may be let go.
pub(crate) fn skus(commands: &[&InventoryCommand], holds: &Holds) -> BTreeSet<Sku> {
    let wanted = commands.iter().filter_map(|command| match command {
        InventoryCommand::HoldStock { order, lines, .. } if holds.hold(*order).is_none() => Some(lines),
        InventoryCommand::HoldStock { .. }
        | InventoryCommand::ReleaseStock { .. }
        | InventoryCommand::ReclaimStock { .. } => None,
    });
    let open = holds.0.values().filter_map(|entry| entry.now.as_ref().filter(|hold| hold.state == State::Open));
    let held = open.map(|hold| &hold.lines);
    wanted.chain(held).flatten().map(|line| line.sku.clone()).collect()
}

fn order(command: &InventoryCommand) -> OrderId {
    match command {
        InventoryCommand::HoldStock { order, .. }
        | InventoryCommand::ReleaseStock { order, .. }
        | InventoryCommand::ReclaimStock { order, .. } => *order,
    }
}

impl Holds {
    /// Holds that are not stored yet.
    pub(crate) fn added(&self) -> impl Iterator<Item = &Hold> {
        self.changed().filter(|entry| entry.read == 0).filter_map(|entry| entry.now.as_ref())
    }

    /// Holds that are stored, but no longer like this.
    pub(crate) fn altered(&self) -> impl Iterator<Item = &Hold> {
        self.changed().filter(|entry| entry.read > 0).filter_map(|entry| entry.now.as_ref())
    }

    /// Every answer that was given about `order`, in the order they were given.
    pub(crate) fn answers(&self, order: OrderId) -> Vec<InventoryEvent> {
        let commands = self.hold(order).into_iter().flat_map(|hold| &hold.commands);
        commands.map(|answered| answered.event(order)).collect()
    }

    fn changed(&self) -> impl Iterator<Item = &Entry> {
        self.0.values().filter(|entry| entry.now.as_ref().is_some_and(|hold| hold.commands.len() > entry.read))
    }

    fn hold(&self, order: OrderId) -> Option<&Hold> {
        self.0.get(&order).and_then(|entry| entry.now.as_ref())
    }
}

impl FromIterator<Hold> for Holds {
    fn from_iter<I: IntoIterator<Item = Hold>>(holds: I) -> Self {
        let entry = |hold: Hold| (hold.order, Entry { read: hold.commands.len(), now: Some(hold) });
        Self(holds.into_iter().map(entry).collect())
    }
}

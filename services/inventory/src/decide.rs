//! A batch of messages, decided in memory in the order of their log: holds and stock go in, answers come out. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use contracts::{
    OrderId, Sku,
    inventory::{InventoryCommand, InventoryEvent},
};
use jiff::Timestamp;

use crate::{
    hold::{self, Hold, HoldError, Left, NotShipped},
    ship::Dispatch,
    stock::{BrokenBooks, Stock},
};

/// A message that concerns a hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Command(InventoryCommand),
    /// The order is confirmed.
    Confirmed(OrderId),
    /// The order is cancelled.
    Cancelled(OrderId),
}

/// What a batch of messages came to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Decided {
    /// The answers, each with the index of the message that it answers, in the order of the messages.
    pub(crate) answers: Vec<(usize, InventoryEvent)>,
    /// Cancelled orders of which something was left.
    pub(crate) late: Vec<OrderId>,
}

/// The holds of the orders that one transaction concerns: as they were read, and as they are by now.
#[derive(Debug, Default)]
pub(crate) struct Holds(HashMap<OrderId, Entry>);

#[derive(Debug, Default)]
struct Entry {
    now: Option<Hold>,
    was_read: bool,
    changed: Changed,
}

/// How far a hold is from what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Changed {
    #[default]
    Not,
    /// From open to allocated, and in nothing else. This happens to every confirmed order, so it is written apart.
    Allocated,
    /// In whatever way.
    Somehow,
}

/// Takes in `messages` one after the other.
///
/// `holds` and `stock` have what was read of the orders and SKUs concerned; see [`orders`] and [`skus`].
///
/// # Errors
/// Which message cannot be obeyed, and why; then nothing of the batch may be kept.
pub(crate) fn decide(
    messages: &[&Message],
    holds: &mut Holds,
    stock: &mut Stock,
    now: Timestamp,
) -> Result<Decided, (usize, HoldError)> {
    let mut decided = Decided::default();
    for (index, message) in messages.iter().enumerate() {
        let entry = holds.0.entry(message.order()).or_default();
        entry.take(index, message, stock, now, &mut decided).map_err(|error| (index, error))?;
    }
    Ok(decided)
}

/// The orders whose holds must be read before `messages` can be decided.
pub(crate) fn orders(messages: &[&Message]) -> HashSet<OrderId> {
    messages.iter().map(|message| message.order()).collect()
}

/// The SKUs whose stock must be read before `messages` can be decided: what may be held, and what may be let go.
pub(crate) fn skus(messages: &[&Message], holds: &Holds) -> BTreeSet<Sku> {
    let mut skus = BTreeSet::new();
    for message in messages {
        match (message, holds.get(message.order())) {
            (Message::Command(InventoryCommand::HoldStock { lines, .. }), None) => {
                skus.extend(lines.iter().map(|line| line.sku.clone()));
            }
            (Message::Command(InventoryCommand::HoldStock { .. }) | Message::Confirmed(_), _) | (_, None) => {}
            (Message::Command(_) | Message::Cancelled(_), Some(hold)) => skus.extend(hold.skus().cloned()),
        }
    }
    skus
}

impl Message {
    /// Whose hold it concerns.
    pub(crate) fn order(&self) -> OrderId {
        match self {
            Self::Command(
                InventoryCommand::HoldStock { order, .. }
                | InventoryCommand::ReleaseStock { order, .. }
                | InventoryCommand::ReclaimStock { order, .. },
            )
            | Self::Confirmed(order)
            | Self::Cancelled(order) => *order,
        }
    }
}

impl Entry {
    fn take(
        &mut self,
        index: usize,
        message: &Message,
        stock: &mut Stock,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<(), HoldError> {
        match message {
            Message::Command(command) => {
                let known = self.commands();
                let answer = hold::obey(&mut self.now, command, stock, now)?;
                // Each command obeyed for the first time adds itself to the hold.
                if self.commands() > known {
                    self.changed = Changed::Somehow;
                }
                decided.answers.push((index, answer));
            }
            Message::Confirmed(order) => {
                if hold::allocate(self.now.as_mut(), *order, now)? {
                    self.changed = self.changed.max(Changed::Allocated);
                }
            }
            Message::Cancelled(order) => {
                if hold::close(self.now.as_mut(), stock, now)? {
                    self.changed = Changed::Somehow;
                    decided.late.push(*order);
                }
            }
        }
        Ok(())
    }

    fn commands(&self) -> usize {
        self.now.as_ref().map_or(0, |hold| hold.commands.len())
    }
}

impl Holds {
    /// Holds that are not stored yet.
    pub(crate) fn added(&self) -> impl Iterator<Item = &Hold> {
        self.which(|entry| !entry.was_read && entry.changed > Changed::Not)
    }

    /// Holds that are stored, and have only become allocated since.
    pub(crate) fn allocated(&self) -> impl Iterator<Item = &Hold> {
        self.which(|entry| entry.was_read && entry.changed == Changed::Allocated)
    }

    /// Holds that are stored, but no longer like this in some other way.
    pub(crate) fn altered(&self) -> impl Iterator<Item = &Hold> {
        self.which(|entry| entry.was_read && entry.changed == Changed::Somehow)
    }

    /// All holds, as they are by now.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Hold> {
        self.which(|_| true)
    }

    /// The hold of `order`, as it is by now.
    pub(crate) fn get(&self, order: OrderId) -> Option<&Hold> {
        self.0.get(&order).and_then(|entry| entry.now.as_ref())
    }

    /// Pieces of the hold that `dispatch` names leave: see [`Hold::ship`].
    ///
    /// # Errors
    /// [`BrokenBooks`]; then nothing of the transaction may be kept.
    pub(crate) fn ship(
        &mut self,
        dispatch: &Dispatch,
        stock: &mut Stock,
        now: Timestamp,
    ) -> Result<Result<Left, NotShipped>, BrokenBooks> {
        let known = self.0.get_mut(&dispatch.order).and_then(|entry| Some((&mut entry.changed, entry.now.as_mut()?)));
        let Some((changed, hold)) = known else { return Ok(Err(NotShipped::UnknownOrder)) };
        let left = hold.ship(&dispatch.warehouse, dispatch.lines.as_deref(), stock, now)?;
        if left.is_ok() {
            *changed = Changed::Somehow;
        }
        Ok(left)
    }

    fn which(&self, chosen: impl Fn(&Entry) -> bool) -> impl Iterator<Item = &Hold> {
        self.0.values().filter(move |entry| chosen(entry)).filter_map(|entry| entry.now.as_ref())
    }
}

impl FromIterator<Hold> for Holds {
    fn from_iter<I: IntoIterator<Item = Hold>>(holds: I) -> Self {
        let entry = |hold: Hold| (hold.order, Entry { now: Some(hold), was_read: true, changed: Changed::Not });
        Self(holds.into_iter().map(entry).collect())
    }
}

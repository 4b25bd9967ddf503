//! The hold of one order: its states, and what becomes of it when a command comes. Pure.
//!
//! | state | `HoldStock` | `ReleaseStock` |
//! |---|---|---|
//! | none | held: Open; or short: Refused | Tombstone, released |
//! | Open | held | Released, released |
//! | Released | refused: released | released |
//! | Refused | refused, for the same reason | released |
//! | Tombstone | refused: released | released |
//!
//! A command that was answered before gets the stored answer, whatever the state. What the table does not list is
//! [`Impossible`]: an open hold asked for other lines, a command id that named the other step, lines that are no order's.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use contracts::{
    CommandId, OrderId,
    inventory::{InventoryCommand, InventoryEvent, StockLine, StockRefusal},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::stock::{BrokenBooks, Stock};

/// What inventory knows of an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hold {
    pub(crate) order: OrderId,
    pub(crate) state: State,
    /// What was asked for; empty for a tombstone. Held only while the state is [`State::Open`].
    pub(crate) lines: Vec<StockLine>,
    /// Every command that came, with its answer, in the order they came.
    pub(crate) commands: Vec<Answered>,
    /// When the state was reached.
    pub(crate) at: Timestamp,
}

/// Where a hold stands. Only `Open` counts in the stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// All lines are held.
    Open,
    /// They were held, and are no more. Terminal.
    Released,
    /// Nothing was held, and nothing will be. Terminal.
    Refused(StockRefusal),
    /// The undo came before the do: a do that comes late finds this and is refused. Terminal.
    Tombstone,
}

/// A command and what was answered to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) command: CommandId,
    pub(crate) answer: Answer,
    pub(crate) at: Timestamp,
}

/// The answers to `HoldStock` are `Held` and `Refused`; the answer to `ReleaseStock` is `Released`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Held,
    Refused(StockRefusal),
    Released,
}

/// A command that no interleaving of the protocol brings: the message is at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Impossible {
    #[error("order {0} holds other lines already")]
    OtherLines(OrderId),
    #[error("command {0} named the other step before")]
    OtherStep(CommandId),
    #[error("the lines of order {0} are none, or name a SKU twice")]
    BadLines(OrderId),
    #[error("nothing was ever held for order {0}")]
    NothingHeld(OrderId),
}

/// Why a command could not be obeyed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HoldError {
    #[error(transparent)]
    Impossible(#[from] Impossible),
    #[error(transparent)]
    BrokenBooks(#[from] BrokenBooks),
}

/// Lets `command` act on `hold`, the hold of its order if there is one, and gives back the answer.
///
/// A command that was answered before changes nothing: neither `hold` nor `stock`.
///
/// # Errors
/// [`HoldError`]; then nothing of the transaction may be kept.
pub(crate) fn obey(
    hold: &mut Option<Hold>,
    command: &InventoryCommand,
    stock: &mut Stock,
    now: Timestamp,
) -> Result<InventoryEvent, HoldError> {
    let (id, order) = match command {
        InventoryCommand::HoldStock { command, order, .. } | InventoryCommand::ReleaseStock { command, order } => {
            (command, *order)
        }
        InventoryCommand::ReclaimStock { order, .. } => return Err(Impossible::NothingHeld(*order).into()),
    };
    if let Some(known) = hold.as_ref().and_then(|hold| hold.answered(id)) {
        return match (command, &known.answer) {
            (InventoryCommand::HoldStock { .. }, Answer::Held | Answer::Refused(_))
            | (InventoryCommand::ReleaseStock { .. }, Answer::Released) => Ok(known.event(order)),
            (InventoryCommand::HoldStock { .. }, Answer::Released)
            | (InventoryCommand::ReleaseStock { .. }, Answer::Held | Answer::Refused(_))
            | (InventoryCommand::ReclaimStock { .. }, _) => Err(Impossible::OtherStep(id.clone()).into()),
        };
    }
    let answer = match command {
        InventoryCommand::HoldStock { lines, .. } => take(hold, order, lines, stock, now)?,
        InventoryCommand::ReleaseStock { .. } | InventoryCommand::ReclaimStock { .. } => {
            let_go(hold, order, stock, now)?
        }
    };
    let answered = Answered { command: id.clone(), answer, at: now };
    let event = answered.event(order);
    hold.as_mut().expect("both steps leave a hold").commands.push(answered);
    Ok(event)
}

/// The do: all lines, or none.
fn take(
    hold: &mut Option<Hold>,
    order: OrderId,
    lines: &[StockLine],
    stock: &mut Stock,
    now: Timestamp,
) -> Result<Answer, HoldError> {
    if let Some(hold) = hold {
        return match &hold.state {
            State::Open if hold.lines == lines => Ok(Answer::Held),
            State::Open => Err(Impossible::OtherLines(order).into()),
            State::Refused(reason) => Ok(Answer::Refused(reason.clone())),
            State::Released | State::Tombstone => Ok(Answer::Refused(StockRefusal::Released)),
        };
    }
    let skus: BTreeSet<_> = lines.iter().map(|line| &line.sku).collect();
    if lines.is_empty() || skus.len() < lines.len() {
        return Err(Impossible::BadLines(order).into());
    }
    let (state, answer) = match stock.hold(lines) {
        Ok(()) => (State::Open, Answer::Held),
        Err(sku) => {
            let reason = StockRefusal::OutOfStock { sku };
            (State::Refused(reason.clone()), Answer::Refused(reason))
        }
    };
    *hold = Some(Hold { order, state, lines: lines.to_vec(), commands: Vec::new(), at: now });
    Ok(answer)
}

/// The undo: never refused.
fn let_go(hold: &mut Option<Hold>, order: OrderId, stock: &mut Stock, now: Timestamp) -> Result<Answer, HoldError> {
    match hold {
        None => {
            let (lines, commands) = (Vec::new(), Vec::new());
            *hold = Some(Hold { order, state: State::Tombstone, lines, commands, at: now });
        }
        Some(hold) => match hold.state {
            State::Open => {
                stock.release(&hold.lines)?;
                hold.state = State::Released;
                hold.at = now;
            }
            State::Released | State::Refused(_) | State::Tombstone => {}
        },
    }
    Ok(Answer::Released)
}

impl Hold {
    fn answered(&self, command: &CommandId) -> Option<&Answered> {
        self.commands.iter().find(|answered| answered.command == *command)
    }
}

impl Answered {
    /// The answer as it goes out; the same however often it goes out.
    pub(crate) fn event(&self, order: OrderId) -> InventoryEvent {
        let (command, at) = (self.command.clone(), self.at);
        match &self.answer {
            Answer::Held => InventoryEvent::StockHeld { command, order, at },
            Answer::Refused(reason) => InventoryEvent::StockRefused { command, order, reason: reason.clone(), at },
            Answer::Released => InventoryEvent::StockReleased { command, order, at },
        }
    }
}

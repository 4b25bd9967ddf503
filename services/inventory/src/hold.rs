//! The hold of one order: its states, and what becomes of it when a message or a shipment comes. Pure.
//!
//! | state | `HoldStock` | `ReleaseStock` | `ReclaimStock` | `OrderConfirmed` | `OrderCancelled` | a shipment |
//! |---|---|---|---|---|---|---|
//! | none | held: Open; or short: Refused | Tombstone, released | - | - | nothing | refused |
//! | Open | held | Released, released | Released, reclaimed | Allocated | Released, late | refused |
//! | Allocated | held | - | Released, reclaimed; refused if a part has left | nothing | Released, late | Allocated; Shipped if it was the last |
//! | Shipped | held | - | refused | nothing | late | refused |
//! | Released | refused: released | released | reclaimed if it was before, else - | nothing | nothing | refused |
//! | Refused | refused, for the same reason | released | - | - | nothing | refused |
//! | Tombstone | refused: released | released | - | - | nothing | refused |
//!
//! A command that was answered before gets the stored answer, whatever the state. The order's events come on another
//! topic than the commands, so `ReclaimStock` may overtake `OrderConfirmed`. *Late* is a cleaning up that nobody should
//! have left to do: it is counted, and the audit fails. A dash is [`Impossible`], and so are a hold asked for other
//! lines, a command id that named another step, and lines that are no order's.

mod leave;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod ways;

use std::collections::BTreeSet;

use contracts::{
    CommandId, OrderId, Sku,
    inventory::{InventoryCommand, InventoryEvent, StockLine, StockRefusal},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::leave::{Left, NotShipped};
use crate::stock::{BrokenBooks, Pick, Stock};

/// What inventory knows of an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hold {
    pub(crate) order: OrderId,
    pub(crate) state: State,
    /// What was asked for; empty for a tombstone.
    pub(crate) lines: Vec<StockLine>,
    /// What lies in the warehouses for this order.
    pub(crate) picks: Vec<Pick>,
    /// Every command that came, with its answer, in the order they came.
    pub(crate) commands: Vec<Answered>,
    /// Whether the order was cancelled with something still held or shipped.
    pub(crate) late_cleanup: bool,
    /// When the state was reached.
    pub(crate) at: Timestamp,
}

/// Where a hold stands. `Open` and `Allocated` count in the stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// All lines are held.
    Open,
    /// The order is confirmed: what is held may be shipped, and a part of it may have been.
    Allocated,
    /// All lines have left. Terminal.
    Shipped,
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

/// The answers to `HoldStock` are `Held` and `Refused`, to `ReleaseStock` `Released`, to `ReclaimStock` `Reclaimed` and
/// `ReclaimRefused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Held,
    Refused(StockRefusal),
    Released,
    Reclaimed,
    ReclaimRefused,
}

/// A message that no interleaving of the protocol brings: the message is at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Impossible {
    #[error("order {0} holds other lines already")]
    OtherLines(OrderId),
    #[error("command {0} named another step before")]
    OtherStep(CommandId),
    #[error("the lines of order {0} are none, or name a SKU twice")]
    BadLines(OrderId),
    #[error("{message} cannot meet the hold of order {order}, which is {state}")]
    State { message: &'static str, order: OrderId, state: &'static str },
}

/// Why a message could not be obeyed.
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
    let (InventoryCommand::HoldStock { command: id, order, .. }
    | InventoryCommand::ReleaseStock { command: id, order }
    | InventoryCommand::ReclaimStock { command: id, order }) = command;
    if let Some(known) = hold.as_ref().and_then(|hold| hold.answered(id)) {
        let same_step = match known.answer {
            Answer::Held | Answer::Refused(_) => matches!(command, InventoryCommand::HoldStock { .. }),
            Answer::Released => matches!(command, InventoryCommand::ReleaseStock { .. }),
            Answer::Reclaimed | Answer::ReclaimRefused => matches!(command, InventoryCommand::ReclaimStock { .. }),
        };
        return if same_step { Ok(known.event(*order)) } else { Err(Impossible::OtherStep(id.clone()).into()) };
    }
    let answer = match command {
        InventoryCommand::HoldStock { lines, .. } => take(hold, *order, lines, stock, now)?,
        InventoryCommand::ReleaseStock { .. } => let_go(hold, *order, stock, now)?,
        InventoryCommand::ReclaimStock { .. } => take_back(hold.as_mut(), *order, stock, now)?,
    };
    let answered = Answered { command: id.clone(), answer, at: now };
    let event = answered.event(*order);
    hold.as_mut().expect("every step leaves a hold").commands.push(answered);
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
            State::Open | State::Allocated | State::Shipped if hold.lines == lines => Ok(Answer::Held),
            State::Open | State::Allocated | State::Shipped => Err(Impossible::OtherLines(order).into()),
            State::Refused(reason) => Ok(Answer::Refused(reason.clone())),
            State::Released | State::Tombstone => Ok(Answer::Refused(StockRefusal::Released)),
        };
    }
    let skus: BTreeSet<_> = lines.iter().map(|line| &line.sku).collect();
    if lines.is_empty() || skus.len() < lines.len() {
        return Err(Impossible::BadLines(order).into());
    }
    let (state, picks, answer) = match stock.hold(order, lines) {
        Ok(picks) => (State::Open, picks, Answer::Held),
        Err(sku) => {
            let reason = StockRefusal::OutOfStock { sku };
            (State::Refused(reason.clone()), Vec::new(), Answer::Refused(reason))
        }
    };
    *hold = Some(Hold { lines: lines.to_vec(), picks, ..Hold::new(order, state, now) });
    Ok(answer)
}

/// The undo: never refused.
fn let_go(hold: &mut Option<Hold>, order: OrderId, stock: &mut Stock, now: Timestamp) -> Result<Answer, HoldError> {
    match hold {
        None => *hold = Some(Hold::new(order, State::Tombstone, now)),
        Some(hold) => match hold.state {
            State::Open => hold.give_back(stock, now)?,
            State::Allocated | State::Shipped => return Err(impossible("ReleaseStock", order, Some(hold)).into()),
            State::Released | State::Refused(_) | State::Tombstone => {}
        },
    }
    Ok(Answer::Released)
}

/// The pivot of a cancellation: the first piece that has left decides.
fn take_back(hold: Option<&mut Hold>, order: OrderId, stock: &mut Stock, now: Timestamp) -> Result<Answer, HoldError> {
    let Some(hold) = hold else { return Err(impossible("ReclaimStock", order, None).into()) };
    match hold.state {
        State::Open | State::Allocated | State::Shipped if hold.has_left() => Ok(Answer::ReclaimRefused),
        State::Open | State::Allocated | State::Shipped => {
            hold.give_back(stock, now)?;
            Ok(Answer::Reclaimed)
        }
        State::Released if hold.commands.iter().any(|known| known.answer == Answer::Reclaimed) => Ok(Answer::Reclaimed),
        State::Released | State::Refused(_) | State::Tombstone => {
            Err(impossible("ReclaimStock", order, Some(hold)).into())
        }
    }
}

/// The order is confirmed: its warehouses may ship. Says whether that changed anything.
///
/// # Errors
/// [`Impossible`], if nothing was ever held for it.
pub(crate) fn allocate(hold: Option<&mut Hold>, order: OrderId, now: Timestamp) -> Result<bool, Impossible> {
    let Some(hold) = hold else { return Err(impossible("OrderConfirmed", order, None)) };
    match hold.state {
        State::Open => {
            hold.state = State::Allocated;
            hold.at = now;
            Ok(true)
        }
        State::Allocated | State::Shipped | State::Released => Ok(false),
        State::Refused(_) | State::Tombstone => Err(impossible("OrderConfirmed", order, Some(hold))),
    }
}

/// The order is cancelled: nothing may be left of it. Says whether something was, which must not happen. Of what has
/// left, nothing can be taken back.
///
/// # Errors
/// [`BrokenBooks`]; then nothing of the transaction may be kept.
pub(crate) fn close(hold: Option<&mut Hold>, stock: &mut Stock, now: Timestamp) -> Result<bool, BrokenBooks> {
    let Some(hold) = hold else { return Ok(false) };
    match hold.state {
        State::Open | State::Allocated => hold.give_back(stock, now)?,
        // The order may be said to be cancelled twice; it counts once.
        State::Shipped if !hold.late_cleanup => {}
        State::Shipped | State::Released | State::Refused(_) | State::Tombstone => return Ok(false),
    }
    hold.late_cleanup = true;
    Ok(true)
}

fn impossible(message: &'static str, order: OrderId, hold: Option<&Hold>) -> Impossible {
    Impossible::State { message, order, state: hold.map_or("unknown", |hold| hold.state.name()) }
}

impl Hold {
    fn new(order: OrderId, state: State, at: Timestamp) -> Self {
        let (lines, picks, commands) = (Vec::new(), Vec::new(), Vec::new());
        Self { order, state, lines, picks, commands, late_cleanup: false, at }
    }

    /// The SKUs whose stock changes when what is held is let go, or leaves.
    pub(crate) fn skus(&self) -> impl Iterator<Item = &Sku> {
        self.picks.iter().map(|pick| &pick.sku)
    }

    /// Every answer that was given, in the order they were given.
    pub(crate) fn answers(&self) -> impl Iterator<Item = InventoryEvent> {
        self.commands.iter().map(|answered| answered.event(self.order))
    }

    fn answered(&self, command: &CommandId) -> Option<&Answered> {
        self.commands.iter().find(|answered| answered.command == *command)
    }

    fn give_back(&mut self, stock: &mut Stock, now: Timestamp) -> Result<(), BrokenBooks> {
        stock.release(self.order, &self.picks)?;
        self.picks.clear();
        self.state = State::Released;
        self.at = now;
        Ok(())
    }
}

impl State {
    /// The word for it in what people read.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Allocated => "allocated",
            Self::Shipped => "shipped",
            Self::Released => "released",
            Self::Refused(_) => "refused",
            Self::Tombstone => "tombstone",
        }
    }
}

impl Answered {
    /// The answer as it goes out; the same however often it goes out.
    fn event(&self, order: OrderId) -> InventoryEvent {
        let (command, at) = (self.command.clone(), self.at);
        match &self.answer {
            Answer::Held => InventoryEvent::StockHeld { command, order, at },
            Answer::Refused(reason) => InventoryEvent::StockRefused { command, order, reason: reason.clone(), at },
            Answer::Released => InventoryEvent::StockReleased { command, order, at },
            Answer::Reclaimed => InventoryEvent::StockReclaimed { command, order, at },
            Answer::ReclaimRefused => InventoryEvent::ReclaimRefused { command, order, at },
        }
    }
}

//! What sagas cause, saved in one transaction: their rows and log, the events of their orders, the outgoing messages.
//!
//! Three things move a saga: an order is placed (`place`), a participant answers (`answers`), time passes (`deadlines`).
//! All three end here.

use std::collections::HashMap;

use contracts::{
    OrderId,
    order::{CancelReason, OrderEvent},
};
use jiff::Timestamp;
use messaging::{HandleError, Outgoing};
use saga::{Ended, Impossible, Input, Instance, LogEntry, Transition, Why};
use service::message::outgoing;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    checkout::{CHECKOUT, Checkout, Command},
    order::Order,
    store,
};

/// What a batch has caused so far, in memory.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Sagas that began in this batch.
    new: Vec<Instance<Checkout>>,
    /// Sagas that were loaded, locked; written back whether they changed or not.
    loaded: HashMap<Uuid, Instance<Checkout>>,
    /// For each transition, its saga and its entries.
    log: Vec<(Uuid, Vec<LogEntry<CancelReason>>)>,
    ended: Vec<(OrderId, Ended<CancelReason>)>,
    events: Vec<OrderEvent>,
    messages: Vec<Outgoing>,
}

impl Progress {
    /// Of these sagas, which are loaded and locked.
    pub(crate) fn of(loaded: Vec<Instance<Checkout>>) -> Self {
        Self { loaded: loaded.into_iter().map(|instance| (instance.id, instance)).collect(), ..Self::default() }
    }

    /// An order was placed.
    pub(crate) fn placed(&mut self, event: OrderEvent) {
        self.messages.push(outgoing(&event));
        self.events.push(event);
    }

    /// A saga began.
    pub(crate) fn started(&mut self, instance: Instance<Checkout>, transition: Transition<Checkout>) {
        self.take(&instance, transition);
        self.new.push(instance);
    }

    /// Something happened to the saga `id`.
    ///
    /// # Errors
    /// [`AdvanceError`]; then nothing of the transaction may be kept.
    pub(crate) fn advance(&mut self, id: Uuid, input: Input<CancelReason>, now: Timestamp) -> Result<(), AdvanceError> {
        let mut instance = self.loaded.remove(&id).ok_or(AdvanceError::NoSaga(id))?;
        let transition = CHECKOUT.advance(&mut instance, input, now)?;
        self.take(&instance, transition);
        self.loaded.insert(id, instance);
        Ok(())
    }

    /// The authorization of the saga `id` is settled: its token goes.
    pub(crate) fn forget_token(&mut self, id: Uuid) {
        if let Some(instance) = self.loaded.get_mut(&id) {
            instance.data.forget_token();
        }
    }

    fn take(&mut self, instance: &Instance<Checkout>, transition: Transition<Checkout>) {
        if !transition.log.is_empty() {
            self.log.push((instance.id, transition.log));
        }
        self.ended.extend(transition.ended.map(|ended| (instance.data.order(), ended)));
        self.messages.extend(transition.commands.into_iter().map(|(_, command)| match command {
            Command::Inventory(command) => outgoing(&command),
            Command::Billing(command) => outgoing(&command),
        }));
    }

    /// Ends the orders whose sagas have ended, and gives them back as they are now.
    pub(crate) async fn end_orders(
        &mut self,
        tx: &mut PgConnection,
        now: Timestamp,
    ) -> Result<Vec<Order>, HandleError> {
        if self.ended.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<OrderId> = self.ended.iter().map(|(order, _)| *order).collect();
        let mut orders = store::orders::lock(tx, &ids).await?;
        let mut done = Vec::with_capacity(ids.len());
        for (id, ended) in self.ended.drain(..) {
            let order = orders.remove(&id).ok_or_else(|| HandleError::Message(UnknownOrder(id).into()))?;
            let event = match ended {
                Ended::Completed => order.confirm(now),
                Ended::Unwound(why) => order.cancel(reason(why), now),
            };
            self.messages.push(outgoing(&event));
            done.push(Order::apply(Some(order), &event).map_err(|error| HandleError::Message(error.into()))?);
            self.events.push(event);
        }
        store::orders::update(tx, &done).await?;
        Ok(done)
    }

    /// Writes the rest: one statement per table.
    pub(crate) async fn save(self, tx: &mut PgConnection, now: Timestamp) -> sqlx::Result<()> {
        store::orders::append(tx, &self.events).await?;
        store::sagas::insert(tx, &self.new).await?;
        store::sagas::update(tx, self.loaded.values()).await?;
        store::sagas::log(tx, &self.log, now).await?;
        messaging::postgres::outbox::put(tx, &self.messages).await
    }
}

fn reason(why: Why<CancelReason>) -> CancelReason {
    match why {
        Why::Refused { reason, .. } => reason,
        Why::TimedOut => CancelReason::TimedOut,
        Why::Cancelled => CancelReason::Requested,
    }
}

/// What happened has no place in the saga it names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdvanceError {
    /// This database does not have it, or cannot read it back.
    #[error("there is no saga {0} that can be read")]
    NoSaga(Uuid),
    #[error(transparent)]
    Impossible(#[from] Impossible),
}

/// A saga names an order that this database does not have.
#[derive(Debug, thiserror::Error)]
#[error("there is no order {0}")]
struct UnknownOrder(OrderId);

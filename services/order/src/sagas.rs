//! What sagas cause, saved in one transaction: their rows and log, the events of their orders, the outgoing messages.
//!
//! Four things move a saga: an order is placed (`place`), a participant answers (`answers`), time passes (`deadlines`),
//! somebody wants the order cancelled (`cancel`). All four end here.

mod any;

use std::collections::{HashMap, hash_map::Entry};

use contracts::{OrderId, billing::PaymentToken, order::OrderEvent};
use jiff::{SignedDuration, Timestamp};
use messaging::{HandleError, Outgoing};
use saga::CommandId;
use service::{message::outgoing, postgres::fault};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;
use web::trace::Traceparent;

pub(crate) use any::{AnySaga, Kind, Logged, Moves, Refusal};

use crate::{
    App,
    checkout::Command,
    meters,
    order::{self, News, Order},
    sagas::any::{Moved, Then},
    store,
};

/// What a batch has caused so far, in memory.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Sagas that began in this batch.
    new: Vec<AnySaga>,
    /// Sagas that were loaded, locked; written back whether they changed or not.
    loaded: HashMap<Uuid, AnySaga>,
    log: Vec<Logged>,
    /// What orders have yet to hear, in the order it happened, and the trace in which it did.
    news: Vec<(OrderId, News, Traceparent)>,
    events: Vec<OrderEvent>,
    messages: Vec<Outgoing>,
}

impl Progress {
    /// Of these sagas, which are loaded and locked.
    pub(crate) fn of(loaded: Vec<AnySaga>) -> Self {
        Self { loaded: loaded.into_iter().map(|saga| (saga.id(), saga)).collect(), ..Self::default() }
    }

    /// An order was placed: its checkout begins, which is given up unless it has reached its pivot within `deadline`.
    pub(crate) fn placed(&mut self, event: OrderEvent, token: PaymentToken, deadline: SignedDuration, now: Timestamp) {
        let (saga, moved) =
            AnySaga::checkout(&event, token, deadline, now).expect("placing an order gives the event that says so");
        self.happened(event);
        self.began(saga, moved, now);
    }

    /// An order that is paid for is to be cancelled.
    pub(crate) fn cancel(&mut self, order: OrderId, now: Timestamp) {
        let (saga, moved) = AnySaga::cancellation(order, now);
        self.began(saga, moved, now);
    }

    /// Something reached the saga `id`.
    ///
    /// # Errors
    /// [`AdvanceError`]; then nothing of the transaction may be kept.
    pub(crate) fn advance(&mut self, id: Uuid, moves: Moves, now: Timestamp) -> Result<(), AdvanceError> {
        let saga = self.loaded.get_mut(&id).ok_or(AdvanceError::NoSaga(id))?;
        let order = saga.order();
        let moved = saga.advance(moves, now)?;
        self.take(order, moved, now);
        Ok(())
    }

    /// Something happened to an order that no saga waited for.
    pub(crate) fn tell(&mut self, order: OrderId, news: News) {
        self.news.push((order, news, Traceparent::here()));
    }

    fn began(&mut self, saga: AnySaga, moved: Moved, now: Timestamp) {
        self.take(saga.order(), moved, now);
        self.new.push(saga);
    }

    fn take(&mut self, order: OrderId, Moved { commands, log, then }: Moved, now: Timestamp) {
        self.log.extend(log);
        self.messages.extend(commands.iter().map(|command| match command {
            Command::Inventory(command) => outgoing(command),
            Command::Billing(command) => outgoing(command),
        }));
        match then {
            Then::Nothing => {}
            Then::Tell(news) => self.tell(order, news),
            Then::Cancel => self.cancel(order, now),
        }
    }

    fn happened(&mut self, event: OrderEvent) {
        self.messages.push(outgoing(&event));
        self.events.push(event);
    }

    /// The orders that have yet to hear something.
    fn listeners(&self) -> Vec<OrderId> {
        self.news.iter().map(|(order, ..)| *order).collect()
    }

    /// Tells them, and gives back those that have changed, as they are now.
    fn spread(&mut self, mut orders: HashMap<OrderId, Order>, now: Timestamp) -> Result<Vec<Order>, NewsError> {
        let mut changed = HashMap::new();
        for (id, news, cause) in std::mem::take(&mut self.news) {
            let order = match changed.entry(id) {
                Entry::Occupied(again) => again.into_mut(),
                Entry::Vacant(first) => first.insert(orders.remove(&id).ok_or(NewsError::NoOrder(id))?),
            };
            let Some(event) = order.hear(news, now) else { continue };
            *order = Order::apply(Some(order.clone()), &event)?;
            cause.sync_scope(|| self.happened(event));
        }
        Ok(changed.into_values().collect())
    }

    /// Tells the orders, writes everything with one statement per table, and commits.
    ///
    /// # Errors
    /// The database's, and [`HandleError::Message`] for news that cannot be, or of an order that cannot be read.
    pub(crate) async fn commit(
        mut self,
        app: &App,
        mut tx: Transaction<'_, Postgres>,
        now: Timestamp,
    ) -> Result<(), HandleError> {
        let listeners = self.listeners();
        let mut changed = Vec::new();
        if !listeners.is_empty() {
            let orders = store::orders::lock(&mut tx, &listeners).await.map_err(fault)?;
            changed = self.spread(orders, now).map_err(|error| HandleError::Message(error.into()))?;
            store::orders::update(&mut tx, &changed).await?;
        }
        let events = self.save(&mut tx, now).await?;
        tx.commit().await?;
        meters::happened(&events);
        app.settled.announce(changed);
        Ok(())
    }

    /// What [`commit`](Self::commit) would write: the sagas, the orders that have changed, and what is sent.
    #[cfg(test)]
    pub(crate) fn without_a_database(
        mut self,
        orders: HashMap<OrderId, Order>,
        now: Timestamp,
    ) -> Result<Written, NewsError> {
        let changed = self.spread(orders, now)?;
        Ok((self.loaded.into_values().chain(self.new).collect(), changed, self.messages))
    }

    /// Writes all but the orders. Gives back the events.
    pub(crate) async fn save(self, tx: &mut PgConnection, now: Timestamp) -> sqlx::Result<Vec<OrderEvent>> {
        store::orders::append(tx, &self.events).await?;
        store::sagas::insert(tx, &self.new).await?;
        store::sagas::update(tx, self.loaded.values()).await?;
        store::sagas::log(tx, &self.log, now).await?;
        messaging::postgres::outbox::put(tx, &self.messages).await?;
        Ok(self.events)
    }
}

/// Sagas, orders that have changed, and messages.
#[cfg(test)]
type Written = (Vec<AnySaga>, Vec<Order>, Vec<Outgoing>);

/// What happened has no place in the saga it names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdvanceError {
    /// This database does not have it, or cannot read it back.
    #[error("there is no saga {0} that can be read")]
    NoSaga(Uuid),
    /// The answer does not fit the kind of saga whose command it names.
    #[error("{0} is no command that can be answered so")]
    OtherKind(CommandId),
    #[error(transparent)]
    Impossible(#[from] saga::Impossible),
}

/// What happened has no place in the order it names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewsError {
    /// This database does not have it.
    #[error("there is no order {0}")]
    NoOrder(OrderId),
    #[error(transparent)]
    Impossible(#[from] order::Impossible),
}

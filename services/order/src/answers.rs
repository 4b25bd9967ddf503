//! Where everything meets: what inventory and billing say moves the sagas and the orders. One transaction for all that
//! came.
//!
//! What an answer leads to is decided by `checkout` and `cancellation` (the steps) and by the saga crate's machine
//! (forward or back); what becomes of an order, by `order`.

use std::collections::HashMap;

use contracts::{
    CommandId, CustomerId, OrderId, Topic, billing::BillingEvent, inventory::InventoryEvent, order::CancelReason,
};
use jiff::Timestamp;
use messaging::{Batch, HandleError, Handler, Record};
use saga::{Answer, NotACommandId};
use service::message::cause;
use uuid::Uuid;

use crate::{
    App,
    cancellation::ReclaimRefusal,
    checkout,
    order::News,
    sagas::{Moves, Progress},
    store,
};

/// The topics that answers come on.
pub(crate) const TOPICS: [&str; 2] = [Topic::InventoryEvents.name(), Topic::BillingEvents.name()];

/// Takes in what the participants say.
pub(crate) struct Answers(pub(crate) App);

impl Handler for Answers {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let Self(app) = self;
        let mut read = batch.records.iter().map(read).collect::<Result<HashMap<_, _>, _>>()?;
        let mut tx = app.db.begin().await?;
        let fresh = messaging::postgres::inbox::accept(&mut tx, batch).await?;
        let heard = fresh.iter().filter_map(|record| Some((*record, read.remove(&record.id)?)));
        let heard: Vec<(&Record, Heard)> = heard.collect();
        let ids: Vec<Uuid> = heard.iter().filter_map(|(_, heard)| heard.saga()).collect();
        let (now, sagas) = store::sagas::lock(&mut tx, &ids).await?;
        let (mut progress, mut erased) = (Progress::of(sagas), Vec::new());
        for (record, heard) in heard {
            let taken = cause(record).sync_scope(|| match heard {
                Heard::Answer(saga, moves) => progress.advance(saga, moves, now),
                Heard::News(order, news) => {
                    progress.tell(order, news);
                    Ok(())
                }
                Heard::Erased(customer, at) => {
                    erased.push((customer, at));
                    Ok(())
                }
            });
            taken.map_err(|error| HandleError::this_message(record.id, error))?;
        }
        store::references::forget(&mut tx, &erased).await?;
        progress.commit(app, tx, now).await
    }
}

/// What a participant says.
pub(crate) enum Heard {
    /// To a saga.
    Answer(Uuid, Moves),
    /// Of itself, about an order.
    News(OrderId, News),
    /// Of somebody who is forgotten, and since when.
    Erased(CustomerId, Timestamp),
}

impl Heard {
    fn saga(&self) -> Option<Uuid> {
        match self {
            Self::Answer(saga, _) => Some(*saga),
            Self::News(..) | Self::Erased(..) => None,
        }
    }

    fn to_checkout(command: &CommandId, answer: Answer<CancelReason>) -> Result<Self, NotACommandId> {
        let command: saga::CommandId = command.as_str().parse()?;
        Ok(Self::Answer(command.saga, Moves::Checkout(command, answer)))
    }

    fn to_cancellation(command: &CommandId, answer: Answer<ReclaimRefusal>) -> Result<Self, NotACommandId> {
        let command: saga::CommandId = command.as_str().parse()?;
        Ok(Self::Answer(command.saga, Moves::Cancellation(command, answer)))
    }
}

fn read(record: &Record) -> Result<(Uuid, Heard), HandleError> {
    let heard = if record.topic == Topic::InventoryEvents.name() {
        from_inventory(record.decode()?)
    } else {
        from_billing(record.decode()?)
    };
    Ok((record.id, heard.map_err(|error| HandleError::this_message(record.id, error))?))
}

pub(crate) fn from_inventory(event: InventoryEvent) -> Result<Heard, NotACommandId> {
    match event {
        InventoryEvent::StockHeld { command, .. } | InventoryEvent::StockReleased { command, .. } => {
            Heard::to_checkout(&command, Answer::Done)
        }
        InventoryEvent::StockRefused { command, reason, .. } => {
            Heard::to_checkout(&command, Answer::Refused(checkout::no_stock(reason)))
        }
        InventoryEvent::StockReclaimed { command, .. } => Heard::to_cancellation(&command, Answer::Done),
        InventoryEvent::ReclaimRefused { command, .. } => {
            Heard::to_cancellation(&command, Answer::Refused(ReclaimRefusal::Shipped))
        }
        InventoryEvent::StockShipped { order, shipment, complete, .. } => {
            Ok(Heard::News(order, News::Shipped { shipment, complete }))
        }
    }
}

pub(crate) fn from_billing(event: BillingEvent) -> Result<Heard, NotACommandId> {
    match event {
        BillingEvent::PaymentAuthorized { command, .. }
        | BillingEvent::PaymentVoided { command, .. }
        | BillingEvent::PaymentCaptured { command, .. } => Heard::to_checkout(&command, Answer::Done),
        BillingEvent::PaymentRefused { command, reason, .. } | BillingEvent::CaptureRefused { command, reason, .. } => {
            Heard::to_checkout(&command, Answer::Refused(checkout::no_payment(reason)))
        }
        BillingEvent::PaymentRefunded { command, .. } => Heard::to_cancellation(&command, Answer::Done),
        BillingEvent::CustomerErased { customer, at } => Ok(Heard::Erased(customer, at)),
    }
}

//! Where everything meets: the answers of inventory and billing move the sagas. One transaction for all that came.
//!
//! What an answer leads to is decided by `checkout` (the steps) and by the saga crate's machine (forward or back).

use std::collections::HashMap;

use contracts::{Topic, billing::BillingEvent, inventory::InventoryEvent, order::CancelReason};
use messaging::{Batch, HandleError, Handler, Record};
use saga::{Answer, Input};
use uuid::Uuid;

use crate::{App, checkout, meters, sagas::Progress, store};

/// The topics that answers come on.
pub(crate) const TOPICS: [&str; 2] = [Topic::InventoryEvents.name(), Topic::BillingEvents.name()];

/// Takes answers in.
pub(crate) struct Answers(pub(crate) App);

impl Handler for Answers {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let Self(app) = self;
        let mut read = batch.records.iter().map(read).collect::<Result<HashMap<_, _>, _>>()?;
        let mut tx = app.db.begin().await?;
        let fresh = messaging::postgres::inbox::accept(&mut tx, batch).await?;
        let answers: Vec<(Uuid, Received)> = fresh.iter().filter_map(|record| read.remove_entry(&record.id)).collect();
        let ids: Vec<Uuid> = answers.iter().map(|(_, received)| received.command.saga).collect();
        let (now, sagas) = store::sagas::lock(&mut tx, &ids).await?;
        let mut progress = Progress::of(sagas);
        for (message, Received { command, answer, authorization }) in answers {
            let saga = command.saga;
            let advanced = progress.advance(saga, Input::Answered { command, answer }, now);
            advanced.map_err(|error| HandleError::this_message(message, error))?;
            if authorization {
                progress.forget_token(saga);
            }
        }
        let ended = progress.end_orders(&mut tx, now).await?;
        progress.save(&mut tx, now).await?;
        tx.commit().await?;
        meters::ended(&ended);
        app.settled.announce(ended);
        Ok(())
    }
}

/// An answer, read.
struct Received {
    command: saga::CommandId,
    answer: Answer<CancelReason>,
    /// Whether it settles the authorization, after which nobody needs the payment token.
    authorization: bool,
}

fn read(record: &Record) -> Result<(Uuid, Received), HandleError> {
    let answered = if record.topic == Topic::InventoryEvents.name() {
        checkout::from_inventory(record.decode::<InventoryEvent>()?)
    } else {
        checkout::from_billing(record.decode::<BillingEvent>()?)
    };
    let (command, answer) = answered.map_err(|error| HandleError::this_message(record.id, error))?;
    let authorization = matches!(record.kind.as_str(), "billing.payment-authorized.v1" | "billing.payment-refused.v1");
    let not_ours = |error: saga::NotACommandId| HandleError::this_message(record.id, error);
    let command = command.as_str().parse().map_err(not_ours)?;
    Ok((record.id, Received { command, answer, authorization }))
}

//! What arrives on `billing.commands`: one transaction per batch, then the opened intents go to the worker.

use std::collections::HashMap;

use contracts::OrderId;
use contracts::billing::BillingCommand;
use messaging::postgres::inbox;
use messaging::{Batch, HandleError, Handler, Undecodable};
use service::clock::Clock;
use service::crash_point;
use sqlx::PgPool;
use uuid::Uuid;

use crate::changes::Changes;
use crate::settle::Desk;
use crate::store::payments;

/// Takes in batches of [`BillingCommand`]s.
#[derive(Debug, Clone)]
pub struct Commands {
    pool: PgPool,
    clock: Clock,
    desk: Desk,
}

impl Commands {
    /// Payments live in the database of `pool`; the intents they open are put on `desk`.
    pub fn new(pool: PgPool, clock: Clock, desk: Desk) -> Self {
        Self { pool, clock, desk }
    }
}

impl Handler for Commands {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let commands = decode(batch)?;
        let mut tx = self.pool.begin().await?;
        let fresh = inbox::accept(&mut tx, batch).await?;
        let fresh: Vec<(&Uuid, &BillingCommand)> =
            fresh.iter().filter_map(|record| commands.get_key_value(&record.id)).collect();
        let mut locked = payments::lock(&mut tx, fresh.iter().map(|(_, command)| order(command))).await?;
        let now = self.clock.now();
        let mut changes = Changes::default();
        for (message, command) in fresh {
            let Some(payment) = locked.get_mut(&order(command)) else { continue };
            let known = payment.commands.len();
            let effects = payment.receive(command, now).map_err(|fault| HandleError::this_message(*message, fault))?;
            if payment.commands.len() > known {
                changes.changed(payment);
            }
            changes.add(payment, effects);
        }
        let opened = changes.write(&mut tx, &locked, self.desk.lease(), now).await?;
        crash_point("billing.commands.writing");
        tx.commit().await?;
        crash_point("billing.commands.written");
        self.desk.hand_over(opened);
        Ok(())
    }
}

/// Every message of the batch, by its id. Before the transaction: what cannot be read shall not hold locks.
fn decode(batch: &Batch) -> Result<HashMap<Uuid, BillingCommand>, Undecodable> {
    batch.records.iter().map(|record| Ok((record.id, record.decode()?))).collect()
}

fn order(command: &BillingCommand) -> OrderId {
    match command {
        BillingCommand::AuthorizePayment { order, .. }
        | BillingCommand::VoidPayment { order, .. }
        | BillingCommand::CapturePayment { order, .. }
        | BillingCommand::RefundPayment { order, .. } => *order,
    }
}

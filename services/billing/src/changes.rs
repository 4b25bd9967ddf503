//! What one transaction writes: the payments that changed, their ledger entries, their answers. The same for commands
//! that arrive and for what the provider says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contracts::OrderId;
use jiff::Timestamp;
use messaging::Outgoing;
use messaging::postgres::outbox;
use service::message::outgoing;
use sqlx::PgConnection;

use crate::intent::Intent;
use crate::ledger::LedgerEntry;
use crate::payment::{Effect, Payment};
use crate::store;

/// Collected over a batch, written once.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    changed: BTreeSet<OrderId>,
    entries: Vec<LedgerEntry>,
    answers: Vec<Outgoing>,
    opened: Vec<Intent>,
}

impl Changes {
    /// `payment` is not as it was.
    pub(crate) fn changed(&mut self, payment: &Payment) {
        self.changed.insert(payment.order);
    }

    /// What a transition of `payment` asked for; `payment` is as that transition left it.
    pub(crate) fn add(&mut self, payment: &Payment, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(event) => self.answers.push(outgoing(&event)),
                Effect::Post(entry) => self.entries.push(entry),
                Effect::OpenIntent(_) => self.opened.extend(Intent::of(payment)),
            }
        }
    }

    /// Writes it all, and gives back the intents to be handed to the worker once this is committed.
    pub(crate) async fn write(
        self,
        conn: &mut PgConnection,
        payments: &BTreeMap<OrderId, Payment>,
        lease: Duration,
        now: Timestamp,
    ) -> sqlx::Result<Vec<Intent>> {
        let changed = self.changed.iter().filter_map(|order| payments.get(order));
        store::save_payments(&mut *conn, changed, lease, now).await?;
        store::insert_entries(&mut *conn, &self.entries).await?;
        outbox::put(conn, &self.answers).await?;
        Ok(self.opened)
    }
}

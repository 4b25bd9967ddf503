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
use crate::provider::Outcome;
use crate::store::{intents, ledger, payments};

/// Collected over a batch, written once.
#[derive(Debug, Default)]
pub(crate) struct Changes<'b> {
    changed: BTreeSet<OrderId>,
    entries: Vec<LedgerEntry>,
    answers: Vec<Outgoing>,
    opened: Vec<Intent>,
    settled: Vec<(&'b Intent, &'b Outcome)>,
}

impl<'b> Changes<'b> {
    /// `payment` is not as it was.
    pub(crate) fn changed(&mut self, payment: &Payment) {
        self.changed.insert(payment.order);
    }

    /// `intent` is settled: this is the provider's word on it.
    pub(crate) fn settled(&mut self, intent: &'b Intent, outcome: &'b Outcome) {
        self.settled.push((intent, outcome));
    }

    /// What a transition of `payment` asked for; `payment` is as that transition left it.
    pub(crate) fn add(&mut self, payment: &Payment, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(event) => self.answers.push(outgoing(&event)),
                Effect::Post(entry) => self.entries.push(entry),
                Effect::OpenIntent(act) => self.opened.push(Intent::new(payment.order, act)),
            }
        }
    }

    /// Writes it all, and gives back the intents to be handed to the worker once this is committed.
    pub(crate) async fn write(
        self,
        conn: &mut PgConnection,
        all: &BTreeMap<OrderId, Payment>,
        lease: Duration,
        now: Timestamp,
    ) -> sqlx::Result<Vec<Intent>> {
        let changed = self.changed.iter().filter_map(|order| all.get(order));
        payments::save(&mut *conn, changed, now).await?;
        intents::replace(&mut *conn, &self.settled, &self.opened, lease, now).await?;
        outbox::put(&mut *conn, &self.answers).await?;
        ledger::append(conn, &self.entries).await?;
        Ok(self.opened)
    }
}

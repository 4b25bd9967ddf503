//! What one transaction writes: the payments that changed, their ledger entries, answers and invoices. The same for
//! what arrives and for what the provider says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contracts::OrderId;
use jiff::Timestamp;
use messaging::Outgoing;
use messaging::postgres::outbox;
use service::message::outgoing;
use sqlx::PgConnection;

use crate::intent::Intent;
use crate::invoice::Sale;
use crate::ledger::LedgerEntry;
use crate::payment::{Effect, Payment};
use crate::provider::Outcome;
use crate::refund::Refund;
use crate::returns::Closed;
use crate::store::invoices::{self, Credit};
use crate::store::{intents, ledger, payments, refunds};

/// Collected over a batch, written once.
#[derive(Debug, Default)]
pub(crate) struct Changes<'b> {
    changed: BTreeSet<OrderId>,
    entries: Vec<LedgerEntry>,
    answers: Vec<Outgoing>,
    opened: Vec<Intent>,
    settled: Vec<(&'b Intent, &'b Outcome)>,
    refunds: Vec<Refund>,
    sales: BTreeMap<OrderId, Sale>,
    credits: Vec<Credit>,
    late: Vec<OrderId>,
}

impl<'b> Changes<'b> {
    /// `payment` is not as it was.
    pub(crate) fn changed(&mut self, payment: &Payment) {
        self.changed.insert(payment.order);
    }

    /// What the provider's word on `intent` made of `payment` or of one of its refunds. Without effects it was settled
    /// before: taken twice.
    pub(crate) fn of_payment(
        &mut self,
        payment: &Payment,
        intent: &'b Intent,
        outcome: &'b Outcome,
        effects: Vec<Effect>,
    ) {
        if effects.is_empty() {
            return;
        }
        self.changed(payment);
        self.settled.push((intent, outcome));
        self.add(payment, effects);
        if let Some(command) = payment.stuck() {
            tracing::error!(order.id = %payment.order, command.id = %command,
                "A command that waited is impossible now and stays unanswered.");
        }
    }

    /// An order is to be invoiced.
    pub(crate) fn sold(&mut self, sale: Option<Sale>) {
        self.sales.extend(sale.map(|sale| (sale.order, sale)));
    }

    /// The order of `payment` is cancelled: what is left of its invoice is credited.
    pub(crate) fn closed(&mut self, payment: &Payment, end: Closed) {
        let order = payment.order;
        self.changed(payment);
        self.credits.push(Credit { order, part: None });
        self.add(payment, end.effects);
        if end.held {
            self.late.push(order);
            tracing::error!(order.id = %order, payment.state = payment.state.name(),
                "A cancelled order held some of its payment, which is let go now: somebody has erred.");
        }
    }

    /// How many orders held something when they were cancelled.
    pub(crate) fn late(&self) -> usize {
        self.late.len()
    }

    /// A refund that is to be asked for.
    pub(crate) fn requested(&mut self, refund: &Refund) {
        self.opened.push(Intent::new(refund.order, refund.act()));
        self.refunds.push(refund.clone());
    }

    /// What a transition of `payment` asked for; `payment` is as that transition left it.
    pub(crate) fn add(&mut self, payment: &Payment, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(event) => self.answers.push(outgoing(&event)),
                Effect::Post(entry) => self.entries.push(entry),
                Effect::OpenIntent(act) => self.opened.push(Intent::new(payment.order, act)),
                Effect::Park(act, why) => {
                    tracing::error!(order.id = %payment.order, reason = why,
                        "The payment is parked until an operator resumes it.");
                    self.opened.push(Intent::parked(payment.order, act, why));
                }
                Effect::Keep(refund) => self.refunds.push(refund),
                Effect::Credit(refund) => self.credits.push(Credit { order: payment.order, part: Some(refund) }),
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
        refunds::save(&mut *conn, &self.refunds, now).await?;
        payments::mark_late(&mut *conn, &self.late).await?;
        intents::replace(&mut *conn, &self.settled, &self.opened, lease, now).await?;
        outbox::put(&mut *conn, &self.answers).await?;
        invoices::issue(&mut *conn, &self.sales, &self.credits).await?;
        ledger::append(conn, &self.entries).await?;
        Ok(self.opened.into_iter().filter(|intent| intent.parked.is_none()).collect())
    }
}

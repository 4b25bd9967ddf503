//! Takes in what Kafka brings, commands and the order's events together: one transaction per batch, then the opened
//! intents go to the worker. Together, because a transaction costs the same for one topic as for two.

use std::borrow::Cow;
use std::collections::HashMap;

use contracts::billing::BillingCommand;
use contracts::order::OrderEvent;
use contracts::{OrderId, Topic};
use messaging::postgres::inbox;
use messaging::{Batch, HandleError, Handler, Record, Undecodable};
use metrics::{Counter, counter};
use service::clock::Clock;
use service::crash_point;
use service::postgres::fault;
use sqlx::PgPool;
use uuid::Uuid;

use crate::changes::Changes;
use crate::invoice::Party;
use crate::settle::Desk;
use crate::store::{customers, invoices, payments};
use crate::{commands, events};

/// The topics that are read.
pub(crate) const TOPICS: [&str; 2] = [Topic::BillingCommands.name(), Topic::OrderEvents.name()];

/// Takes in batches of [`BillingCommand`]s and [`OrderEvent`]s.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: PgPool,
    clock: Clock,
    desk: Desk,
    seller: Party,
    late_cleanup: Late,
}

/// Cancelled orders that something was still held for: somebody has erred.
#[derive(Clone)]
struct Late(Counter);

/// What a record says.
enum Message {
    Command(BillingCommand),
    Event(OrderEvent),
}

impl Reader {
    /// Payments live in the database of `pool`; the intents they open are put on `desk`; `seller` invoices.
    pub fn new(pool: PgPool, clock: Clock, desk: Desk, seller: Party) -> Self {
        let late_cleanup = Late(counter!("late_cleanup_total"));
        // So that it is shown before anything is late.
        late_cleanup.0.increment(0);
        Self { pool, clock, desk, seller, late_cleanup }
    }
}

impl Handler for Reader {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let batch = relevant(batch);
        let read = decode(&batch)?;
        let mut tx = self.pool.begin().await?;
        let fresh = inbox::accept(&mut tx, &batch).await?;
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        for record in fresh {
            match read.get(&record.id) {
                Some(Message::Command(command)) => asked.push((record, command)),
                Some(Message::Event(event)) => told.push((record, event)),
                None => {}
            }
        }
        let orders = asked.iter().map(|(_, command)| commands::order(command)).chain(events::cancelled(&told));
        let locked = payments::lock(&mut tx, orders.collect::<Vec<OrderId>>()).await;
        let mut locked = locked.map_err(fault)?;
        let customers = customers::known(&mut tx, commands::customers(&asked, &locked)).await?;
        let candidates = invoices::candidates(&mut tx, &events::confirmed(&told)).await.map_err(fault)?;
        let now = self.clock.now();
        let mut changes = Changes::default();
        commands::receive(&asked, &mut locked, &customers, &mut changes, now)?;
        events::receive(&told, candidates, &mut locked, &self.seller, &mut changes, now)?;
        let late = changes.late();
        let opened = changes.write(&mut tx, &locked, self.desk.lease(), now).await.map_err(fault)?;
        crash_point("billing.reader.writing");
        tx.commit().await?;
        crash_point("billing.reader.written");
        self.late_cleanup.0.increment(late as u64);
        self.desk.hand_over(opened);
        Ok(())
    }
}

/// The batch without the records that change nothing here: their ids need not be remembered, only their places.
fn relevant(batch: &Batch) -> Cow<'_, Batch> {
    if batch.replayed || batch.records.iter().all(events::matters) {
        return Cow::Borrowed(batch);
    }
    Cow::Owned(Batch {
        records: batch.records.iter().filter(|record| events::matters(record)).cloned().collect(),
        positions: batch.positions.clone(),
        dropped: batch.dropped.clone(),
        faulty: batch.faulty.clone(),
        replayed: batch.replayed,
        parked_keys_max: batch.parked_keys_max,
    })
}

/// Every message of the batch, by its id. Before the transaction: what cannot be read shall not hold locks.
fn decode(batch: &Batch) -> Result<HashMap<Uuid, Message>, Undecodable> {
    let read = |record: &Record| {
        Ok(if record.topic == Topic::OrderEvents.name() {
            Message::Event(record.decode()?)
        } else {
            Message::Command(record.decode()?)
        })
    };
    batch.records.iter().map(|record| Ok((record.id, read(record)?))).collect()
}

impl std::fmt::Debug for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Late")
    }
}

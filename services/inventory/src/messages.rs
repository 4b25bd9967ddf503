//! Messages from Kafka: commands to hold, release and reclaim, and what has become of orders. One transaction per batch,
//! one answer to each command.

use std::{iter, ptr};

use contracts::{Message as _, OrderId, Topic, inventory::InventoryCommand, order::OrderEvent};
use jiff::Timestamp;
use messaging::{Batch, HandleError, Handler, Outgoing, Record, mongo::Transaction};
use service::message::{cause, outgoing};
use web::trace::Traceparent;

use crate::{
    decide::{self, Decided, Message},
    hold::HoldError,
    store,
    writer::Writer,
};

/// The topics they come on: one stock writer takes both in.
pub const TOPICS: [&str; 2] = [Topic::name(InventoryCommand::TOPIC), Topic::name(OrderEvent::TOPIC)];

/// Of an order's events, the beginnings of the names, whatever their versions, of those that concern no hold. They are
/// passed over unread, and leave no row: an order has more of them than of the others.
const PASSED_OVER: [&str; 3] = ["order.placed.", "order.shipped.", "order.cancellation-refused."];

/// Takes batches of messages and hands them to the stock writer.
#[derive(Debug, Clone)]
pub struct Messages {
    writer: Writer,
}

impl Messages {
    /// Messages for `writer`.
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer }
    }
}

impl Handler for Messages {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        self.writer.take_in(DecodedBatch::decode(batch)?).await
    }
}

/// A batch whose messages could all be read.
#[derive(Debug)]
pub(crate) struct DecodedBatch {
    batch: Batch,
    /// One per record of the batch; none where it concerns no hold.
    messages: Vec<Option<Message>>,
    /// The work of taking it in, if it is a part of a trace.
    work: Option<Traceparent>,
}

impl DecodedBatch {
    /// Reads every message, before any transaction begins.
    fn decode(batch: &Batch) -> Result<Self, HandleError> {
        let mut batch = batch.clone();
        // The one record of a replay is parked, and has to be taken from there.
        if !batch.replayed {
            batch.records.retain(|record| !PASSED_OVER.iter().any(|kind| record.kind.starts_with(kind)));
        }
        let messages = batch.records.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { batch, messages, work: Traceparent::current() })
    }

    /// Those of `fresh`, which are some of the batch's records in the batch's order, that concern a hold.
    fn of<'a>(&'a self, fresh: &[&'a Record]) -> (Vec<&'a Record>, Vec<&'a Message>) {
        let mut fresh = fresh.iter().peekable();
        let pairs = iter::zip(&self.batch.records, &self.messages);
        let pairs = pairs.filter(|(record, _)| fresh.next_if(|next| ptr::eq(**next, *record)).is_some());
        pairs.filter_map(|(record, message)| Some((record, message.as_ref()?))).unzip()
    }
}

fn read(record: &Record) -> Result<Option<Message>, HandleError> {
    if record.topic == TOPICS[0] {
        return Ok(Some(Message::Command(record.decode()?)));
    }
    Ok(match record.decode()? {
        OrderEvent::Confirmed { order, .. } => Some(Message::Confirmed(order)),
        OrderEvent::Cancelled { order, .. } => Some(Message::Cancelled(order)),
        OrderEvent::Placed { .. } | OrderEvent::Shipped { .. } | OrderEvent::CancellationRefused { .. } => None,
    })
}

/// Takes in all messages of `batch` that were never seen before, in `tx`, which the caller commits. Gives the cancelled
/// orders of which something was left.
///
/// # Errors
/// [`HandleError`]; then nothing may be committed.
pub(crate) async fn take_in(
    tx: &mut Transaction,
    batch: &DecodedBatch,
    now: Timestamp,
) -> Result<Vec<OrderId>, HandleError> {
    let fresh = tx.accept(&batch.batch).await?;
    let (records, messages) = batch.of(&fresh);
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut holds = store::hold::load(tx, &decide::orders(&messages)).await?;
    let mut stock = store::stock::load(tx, &decide::skus(&messages, &holds)).await?;
    let decided = decide::decide(&messages, &mut holds, &mut stock, now);
    let Decided { answers, late } = decided.map_err(|(index, error)| error.of(records[index]))?;
    // First what two writers can quarrel about: who loses shall lose early.
    store::stock::write(tx, &stock, now).await?;
    store::hold::write(tx, &holds).await?;
    let caused =
        |(index, answer): &(usize, _)| cause(records[*index]).within(batch.work).sync_scope(|| outgoing(answer));
    let answers: Vec<Outgoing> = answers.iter().map(caused).collect();
    tx.put(&answers).await?;
    Ok(late)
}

impl HoldError {
    /// Whose fault it is that `record` cannot be obeyed.
    fn of(self, record: &Record) -> HandleError {
        match self {
            Self::Impossible(_) => HandleError::this_message(record.id, self),
            Self::BrokenBooks(_) => HandleError::Ours(self.into()),
        }
    }
}

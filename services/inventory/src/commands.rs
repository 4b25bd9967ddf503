//! Commands from Kafka: a batch of `HoldStock` and `ReleaseStock`, one transaction, one answer each.

use std::{iter, ptr};

use contracts::{Message, Topic, inventory::InventoryCommand};
use jiff::Timestamp;
use messaging::{Batch, HandleError, Handler, Outgoing, Record, mongo::Transaction};
use service::message::outgoing;

use crate::{decide, hold::HoldError, store, writer::Writer};

/// The topic they come on.
pub const TOPIC: &str = Topic::name(InventoryCommand::TOPIC);

/// Takes batches of commands and hands them to the stock writer.
#[derive(Debug, Clone)]
pub struct Commands {
    writer: Writer,
}

impl Commands {
    /// Commands for `writer`.
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer }
    }
}

impl Handler for Commands {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        self.writer.obey(CommandBatch::decode(batch.clone())?).await
    }
}

/// A batch whose messages could all be read.
#[derive(Debug)]
pub(crate) struct CommandBatch {
    batch: Batch,
    /// One per record of the batch.
    commands: Vec<InventoryCommand>,
}

impl CommandBatch {
    /// Reads every message, before any transaction begins.
    fn decode(batch: Batch) -> Result<Self, HandleError> {
        let commands = batch.records.iter().map(Record::decode).collect::<Result<_, _>>()?;
        Ok(Self { batch, commands })
    }

    /// The commands of `fresh`, which are some of the batch's records in the batch's order.
    fn of<'a>(&'a self, fresh: &[&'a Record]) -> Vec<&'a InventoryCommand> {
        let mut fresh = fresh.iter().peekable();
        let pairs = iter::zip(&self.batch.records, &self.commands);
        pairs
            .filter(|(record, _)| fresh.next_if(|next| ptr::eq(**next, *record)).is_some())
            .map(|pair| pair.1)
            .collect()
    }
}

/// Obeys all commands of `batch` that were never seen before, in `tx`, which the caller commits.
///
/// # Errors
/// [`HandleError`]; then nothing may be committed.
pub(crate) async fn obey(tx: &mut Transaction, batch: &CommandBatch, now: Timestamp) -> Result<(), HandleError> {
    let fresh = tx.accept(&batch.batch).await?;
    if fresh.is_empty() {
        return Ok(());
    }
    let commands = batch.of(&fresh);
    let mut holds = store::hold::load(tx, &decide::orders(&commands)).await?;
    let mut stock = store::stock::load(tx, &decide::skus(&commands, &holds)).await?;
    let decided = decide::decide(&commands, &mut holds, &mut stock, now);
    let answers = decided.map_err(|(index, error)| error.of(fresh[index]))?;
    // First what two writers can quarrel about: who loses shall lose early.
    store::stock::write(tx, &stock).await?;
    store::hold::write(tx, &holds).await?;
    let caused =
        |(answer, record): (_, &&Record)| Outgoing { traceparent: record.traceparent.clone(), ..outgoing(answer) };
    let messages: Vec<Outgoing> = iter::zip(&answers, &fresh).map(caused).collect();
    tx.put(&messages).await?;
    Ok(())
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

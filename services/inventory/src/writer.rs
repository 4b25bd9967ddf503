//! The one stock writer of the process.
//!
//! Everything that changes stock comes through here: batches of commands, and receipts. So within a process nobody
//! quarrels about a SKU. Several processes may quarrel; then one of them is first, and the others try the whole
//! transaction again after a short random while. It is never cut in halves: the first to write a SKU always gets
//! through, so there is always progress, and a batch stays one transaction, as the consumer's offsets want it.
//!
//! A batch of commands has a transaction of its own, for it may turn out to be fenced; all receipts that wait share one.

use std::{mem, sync::Arc};

use messaging::{HandleError, mongo::Transaction};
use mongodb::Database;
use service::clock::Clock;
use tokio::sync::{mpsc, oneshot};

use crate::{
    commands::{self, CommandBatch},
    receive::{self, Delivery, Receipt, ReceiveError},
    store::{self, StoreError},
    transaction::{self, Tries},
};

/// Jobs that may wait before whoever brings another has to wait as well; also the most receipts in one transaction.
const WAITING_MAX: usize = 256;
/// Brings jobs to the stock writer.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Obey(CommandBatch, oneshot::Sender<Result<(), HandleError>>),
    Receive(Delivery, oneshot::Sender<Result<Receipt, ReceiveError>>),
}

type WaitingReceipt = (Delivery, oneshot::Sender<Result<Receipt, ReceiveError>>);

impl Writer {
    /// A writer, and its work, which goes on until the last clone of the writer is dropped.
    pub(crate) fn start(db: Database, clock: Clock) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        (Self { jobs }, work(db, clock, waiting))
    }

    /// Obeys a batch of commands, all of it or nothing.
    pub(crate) async fn obey(&self, batch: CommandBatch) -> Result<(), HandleError> {
        let (done, answer) = oneshot::channel();
        let stopped = || HandleError::Ours("the stock writer has stopped".into());
        self.jobs.send(Job::Obey(batch, done)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Books a delivery, once.
    pub(crate) async fn receive(&self, delivery: Delivery) -> Result<Receipt, ReceiveError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Receive(delivery, done)).await.map_err(|_| ReceiveError::Stopped)?;
        answer.await.map_err(|_| ReceiveError::Stopped)?
    }
}

async fn work(db: Database, clock: Clock, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(WAITING_MAX);
    while waiting.recv_many(&mut jobs, WAITING_MAX).await > 0 {
        let mut receipts: Vec<WaitingReceipt> = Vec::new();
        for job in mem::take(&mut jobs) {
            match job {
                // Who asked may have gone; the work is done all the same.
                Job::Obey(batch, done) => drop(done.send(obey(&db, &clock, &batch).await)),
                Job::Receive(delivery, done) => receipts.push((delivery, done)),
            }
        }
        if !receipts.is_empty() {
            receive(&db, &clock, receipts).await;
        }
    }
}

async fn obey(db: &Database, clock: &Clock, batch: &CommandBatch) -> Result<(), HandleError> {
    let mut tries = Tries::first();
    loop {
        match try_to_obey(db, clock, batch).await {
            Err(error) if is_conflict(&error) && tries.again().await => {}
            outcome => return outcome,
        }
    }
}

async fn try_to_obey(db: &Database, clock: &Clock, batch: &CommandBatch) -> Result<(), HandleError> {
    let mut tx = Transaction::begin(db).await?;
    match commands::obey(&mut tx, batch, transaction::now(clock)).await {
        Ok(()) => Ok(tx.commit().await?),
        Err(error) => {
            transaction::abort(tx).await;
            Err(error)
        }
    }
}

/// Errors that passed through `messaging` have lost their type, but not their content.
fn is_conflict(error: &HandleError) -> bool {
    match error {
        HandleError::Ours(source) => match source.downcast_ref::<StoreError>() {
            Some(error) => error.is_conflict(),
            None => source.downcast_ref::<mongodb::error::Error>().is_some_and(store::is_conflict),
        },
        HandleError::Fenced
        | HandleError::Message(_)
        | HandleError::ThisMessage { .. }
        | HandleError::TooManyParked { .. } => false,
    }
}

async fn receive(db: &Database, clock: &Clock, receipts: Vec<WaitingReceipt>) {
    let (deliveries, waiting): (Vec<Delivery>, Vec<_>) = receipts.into_iter().unzip();
    let mut tries = Tries::first();
    let outcomes = loop {
        match try_to_receive(db, clock, &deliveries).await {
            Err(error) if error.is_conflict() && tries.again().await => {}
            outcomes => break outcomes,
        }
    };
    match outcomes {
        Ok(outcomes) => waiting.into_iter().zip(outcomes).for_each(|(done, outcome)| drop(done.send(outcome))),
        Err(error) => {
            let error = Arc::new(error);
            waiting.into_iter().for_each(|done| drop(done.send(Err(ReceiveError::Store(error.clone())))));
        }
    }
}

async fn try_to_receive(
    db: &Database,
    clock: &Clock,
    deliveries: &[Delivery],
) -> Result<Vec<Result<Receipt, ReceiveError>>, StoreError> {
    let mut tx = Transaction::begin(db).await?;
    match receive::receive(&mut tx, deliveries, transaction::now(clock)).await {
        Ok(outcomes) => {
            tx.commit().await?;
            Ok(outcomes)
        }
        Err(error) => {
            transaction::abort(tx).await;
            Err(error)
        }
    }
}

//! The one stock writer of the process.
//!
//! Everything that changes stock comes through here: batches of messages, receipts, shipments. So within a process nobody
//! quarrels about a SKU. Several processes may quarrel; then one of them is first, and the others try the whole
//! transaction again after a short random while. It is never cut in halves: the first to write a SKU always gets
//! through, so there is always progress, and a batch stays one transaction, as the consumer's offsets want it.
//!
//! A batch of messages has a transaction of its own, for it may turn out to be fenced; all receipts that wait share one,
//! and so do all shipments.

use std::{mem, sync::Arc};

use contracts::OrderId;
use messaging::{HandleError, mongo::Transaction};
use mongodb::Database;
use service::{
    clock::Clock,
    work::{Stuck, Work},
};
use tokio::sync::{mpsc, oneshot};
use web::trace::Traceparent;

use crate::{
    messages::{self, DecodedBatch},
    meters,
    receive::Delivery,
    request::{Outcome, Request, RequestError},
    ship::Dispatch,
    store::{self, StoreError},
    transaction::{self, Tries},
};

/// Jobs that may wait before whoever brings another has to wait as well; also the most requests in one transaction.
const WAITING_MAX: usize = 256;

/// Brings jobs to the stock writer.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
enum Job {
    TakeIn(DecodedBatch, oneshot::Sender<Result<(), HandleError>>),
    Receive(Waiting<Delivery>),
    Ship(Waiting<Dispatch>),
}

/// A request, what it came with, and who waits for what comes of it.
type Waiting<R> = ((R, Traceparent), oneshot::Sender<Outcome<R>>);

impl Writer {
    /// A writer, and its work, which goes on until the last clone of the writer is dropped, or one transaction takes longer
    /// than `work` allows.
    pub(crate) fn start(
        db: Database,
        clock: Clock,
        work: Work,
    ) -> (Self, impl Future<Output = Result<(), Stuck>> + Send + 'static) {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        (Self { jobs }, write(db, clock, waiting, work))
    }

    /// Takes in a batch of messages, all of it or nothing.
    pub(crate) async fn take_in(&self, batch: DecodedBatch) -> Result<(), HandleError> {
        let (done, answer) = oneshot::channel();
        let stopped = || HandleError::Ours("the stock writer has stopped".into());
        self.jobs.send(Job::TakeIn(batch, done)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Books a delivery, once.
    pub(crate) async fn receive(&self, delivery: Delivery) -> Outcome<Delivery> {
        self.ask(delivery, Job::Receive).await
    }

    /// Ships what is allocated, once.
    pub(crate) async fn ship(&self, dispatch: Dispatch) -> Outcome<Dispatch> {
        self.ask(dispatch, Job::Ship).await
    }

    async fn ask<R: Request>(&self, request: R, job: impl FnOnce(Waiting<R>) -> Job) -> Outcome<R> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(job(((request, Traceparent::here()), done))).await.map_err(|_| RequestError::Stopped)?;
        answer.await.map_err(|_| RequestError::Stopped)?
    }
}

async fn write(db: Database, clock: Clock, mut waiting: mpsc::Receiver<Job>, work: Work) -> Result<(), Stuck> {
    let mut jobs = Vec::with_capacity(WAITING_MAX);
    while waiting.recv_many(&mut jobs, WAITING_MAX).await > 0 {
        let (mut deliveries, mut dispatches) = (Vec::new(), Vec::new());
        for job in mem::take(&mut jobs) {
            match job {
                // Who asked may have gone; the work is done all the same.
                Job::TakeIn(batch, done) => drop(done.send(work.unit(take_in(&db, &clock, &batch)).await?)),
                Job::Receive(waiting) => deliveries.push(waiting),
                Job::Ship(waiting) => dispatches.push(waiting),
            }
        }
        work.unit(book(&db, &clock, deliveries)).await?;
        work.unit(book(&db, &clock, dispatches)).await?;
    }
    Ok(())
}

async fn take_in(db: &Database, clock: &Clock, batch: &DecodedBatch) -> Result<(), HandleError> {
    let mut tries = Tries::first();
    loop {
        match try_to_take_in(db, clock, batch).await {
            Err(error) if is_conflict(&error) && tries.again().await => {}
            outcome => return outcome.map(|late| meters::late(&late)),
        }
    }
}

async fn try_to_take_in(db: &Database, clock: &Clock, batch: &DecodedBatch) -> Result<Vec<OrderId>, HandleError> {
    let mut tx = Transaction::begin(db).await?;
    match messages::take_in(&mut tx, batch, transaction::now(clock)).await {
        Ok(late) => {
            tx.commit().await?;
            Ok(late)
        }
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

async fn book<R: Request>(db: &Database, clock: &Clock, waiting: Vec<Waiting<R>>) {
    if waiting.is_empty() {
        return;
    }
    let (requests, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
    let (requests, causes): (Vec<R>, Vec<_>) = requests.into_iter().unzip();
    let mut tries = Tries::first();
    let outcomes = loop {
        match try_to_book(db, clock, &requests, &causes).await {
            Err(error) if error.is_conflict() && tries.again().await => {}
            outcomes => break outcomes,
        }
    };
    match outcomes {
        Ok(outcomes) => waiting.into_iter().zip(outcomes).for_each(|(done, outcome)| drop(done.send(outcome))),
        Err(error) => {
            let error = Arc::new(error);
            waiting.into_iter().for_each(|done| drop(done.send(Err(RequestError::Store(error.clone())))));
        }
    }
}

async fn try_to_book<R: Request>(
    db: &Database,
    clock: &Clock,
    requests: &[R],
    causes: &[Traceparent],
) -> Result<Vec<Outcome<R>>, StoreError> {
    let mut tx = Transaction::begin(db).await?;
    match R::book(&mut tx, requests, causes, transaction::now(clock)).await {
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

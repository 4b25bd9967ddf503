//! The worker that settles intents: calls the provider, many at once and outside any transaction, and writes what it
//! said.
//!
//! An intent comes in two ways. The transaction that opens it takes it for this process and hands it over the [`Desk`]
//! after its commit, so that one order alone waits for nothing. And whatever is due in the database is taken: what an
//! unclear answer put off, and what a process that died had taken. Taken twice is harmless, for the key is the same.
//!
//! Two loops: one calls, one books. The booking loop writes all outcomes that are there in one transaction and never
//! waits for one that is not, so a slow call holds back its own order only.

use std::sync::Arc;
use std::time::Duration;

use messaging::HandleError;
use service::clock::Clock;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::changes::Changes;
use crate::intent::Intent;
use crate::provider::{Found, Outcome, Provider, Unclear};
use crate::store;

/// How fast the worker goes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Calls under way at once.
    pub concurrent: usize,
    /// How long a call may take before its outcome counts as unclear.
    pub call_timeout: Duration,
    /// How long a taken intent is left to who took it. Longer than a call, or every slow call is made twice.
    pub lease: Duration,
    /// How often to look for what is due although nothing was announced: intents of processes that died.
    pub poll: Duration,
}

impl Pace {
    /// The usual pace, with calls that may take `call_timeout`.
    pub fn with_calls_of(call_timeout: Duration) -> Self {
        let (concurrent, poll) = (64, Duration::from_millis(500));
        Self { concurrent, call_timeout, lease: call_timeout + Duration::from_secs(3), poll }
    }
}

/// Intents that may lie on the desk. What does not fit is found in the database when its lease is over.
const DESK_SIZE: usize = 10_000;
/// The most outcomes that one transaction books.
const BATCH: usize = 500;

/// Where opened intents are handed to the worker of this process.
#[derive(Debug, Clone)]
pub struct Desk {
    sender: mpsc::Sender<Work>,
    lease: Duration,
}

#[derive(Debug)]
enum Work {
    /// Call the provider.
    Call(Intent),
    /// Something will be due in the database after this time.
    LookAfter(Duration),
}

impl Desk {
    /// How long the transaction that opens an intent takes it for.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Hands over what a committed transaction opened. Nothing is lost if the desk is full or the worker gone: the
    /// database knows.
    pub(crate) fn hand_over(&self, opened: Vec<Intent>) {
        for intent in opened {
            let _ = self.sender.try_send(Work::Call(intent));
        }
    }

    fn look_after(&self, delay: Duration) {
        let _ = self.sender.try_send(Work::LookAfter(delay));
    }
}

/// The worker.
#[derive(Debug)]
pub struct Worker<P> {
    books: Books,
    provider: Arc<P>,
    pace: Pace,
    queue: mpsc::Receiver<Work>,
}

/// What the booking loop needs.
#[derive(Debug, Clone)]
struct Books {
    pool: PgPool,
    clock: Clock,
    desk: Desk,
}

/// A call that has ended.
#[derive(Debug)]
struct Finished {
    intent: Intent,
    said: Result<Outcome, Unclear>,
}

impl<P: Provider> Worker<P> {
    /// A worker on the payments in the database of `pool`.
    pub fn new(pool: PgPool, clock: Clock, provider: Arc<P>, pace: Pace) -> Self {
        let (sender, queue) = mpsc::channel(DESK_SIZE);
        let desk = Desk { sender, lease: pace.lease };
        Self { books: Books { pool, clock, desk }, provider, pace, queue }
    }

    /// Where to hand over what is opened.
    pub fn desk(&self) -> Desk {
        self.books.desk.clone()
    }

    /// Works until `stop`, then waits for the calls under way and books them.
    pub async fn run(self, stop: CancellationToken) {
        let books = self.books.clone();
        // As many as one transaction takes, so that a call does not wait for the booking of an earlier one.
        let (done, finished) = mpsc::channel(BATCH);
        tokio::join!(self.call_all(done, &stop), books.book_all(finished, &stop));
    }

    async fn call_all(mut self, done: mpsc::Sender<Finished>, stop: &CancellationToken) {
        let mut calls = JoinSet::new();
        let mut look_at = Instant::now();
        loop {
            let free = self.pace.concurrent.saturating_sub(calls.len());
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = calls.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "A call to the provider broke off; its intent will be due again.");
                },
                Some(work) = self.queue.recv(), if free > 0 => match work {
                    Work::Call(intent) => self.start(intent, &done, &mut calls),
                    Work::LookAfter(delay) => look_at = look_at.min(Instant::now() + delay),
                },
                () = sleep_until(look_at), if free > 0 => {
                    look_at = Instant::now() + self.pace.poll;
                    for intent in self.take_due(free).await {
                        self.start(intent, &done, &mut calls);
                    }
                }
            }
        }
        while calls.join_next().await.is_some() {}
    }

    async fn take_due(&self, limit: usize) -> Vec<Intent> {
        store::take_due(&self.books.pool, limit, self.pace.lease).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "Due intents could not be taken, trying again.");
            Vec::new()
        })
    }

    fn start(&self, intent: Intent, done: &mpsc::Sender<Finished>, calls: &mut JoinSet<()>) {
        let (provider, done, limit) = (Arc::clone(&self.provider), done.clone(), self.pace.call_timeout);
        calls.spawn(async move {
            let said = timeout(limit, call(&*provider, &intent)).await.unwrap_or(Err(Unclear));
            // The booking loop ends after the last sender, so it is there.
            let _ = done.send(Finished { intent, said }).await;
        });
    }
}

/// Gets the provider's word on `intent`. If it was tried before, the provider may have done it: it is asked first. "Not
/// found" decides nothing, for the earlier call may still be on its way: call again, same key.
async fn call(provider: &impl Provider, intent: &Intent) -> Result<Outcome, Unclear> {
    if intent.tries > 1
        && let Found::Definite(outcome) = provider.ask(&intent.request.key).await?
    {
        return Ok(outcome);
    }
    provider.execute(&intent.request).await
}

impl Books {
    async fn book_all(&self, mut finished: mpsc::Receiver<Finished>, stop: &CancellationToken) {
        let (mut batch, mut pace) = (Vec::new(), messaging::pace::Pace::new());
        while finished.recv_many(&mut batch, BATCH).await > 0 {
            pace.begin(batch.len());
            self.book_surely(&batch, stop).await;
            batch.clear();
            sleep_until(pace.next().into()).await;
        }
    }

    /// Books `batch`, as often as it takes. An outcome that the database will never accept is left out; its intent
    /// stays open.
    async fn book_surely(&self, batch: &[Finished], stop: &CancellationToken) {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.book(batch).await.map_err(HandleError::from) {
                Ok(()) => return,
                Err(HandleError::Message(error)) => match batch {
                    [one] => {
                        tracing::error!(order.id = %one.intent.order, error, "An outcome cannot be booked.");
                        return;
                    }
                    many => {
                        for one in many {
                            Box::pin(self.book_surely(std::slice::from_ref(one), stop)).await;
                        }
                        return;
                    }
                },
                Err(error @ (HandleError::Ours(_) | HandleError::Fenced)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "Outcomes could not be booked, trying again.");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                // The provider remembers: whoever takes the intent next hears the same.
                () = stop.cancelled() => return,
            }
        }
    }

    /// One transaction: what the provider said becomes states, ledger entries, answers and further intents.
    async fn book(&self, batch: &[Finished]) -> sqlx::Result<()> {
        let mut tx = self.pool.begin().await?;
        let mut payments = store::lock_payments(&mut tx, batch.iter().map(|one| one.intent.order)).await?;
        let now = self.clock.now();
        let (mut changes, mut later) = (Changes::default(), Vec::new());
        for Finished { intent, said } in batch {
            let Some(payment) = payments.get_mut(&intent.order) else { continue };
            let Ok(outcome) = said else {
                later.push((intent, intent.delay()));
                continue;
            };
            match payment.outcome(intent.operation, outcome, now) {
                Ok(effects) if effects.is_empty() => {} // It was settled before: taken twice.
                Ok(effects) => {
                    changes.changed(payment);
                    changes.add(payment, effects);
                }
                Err(error) => {
                    tracing::error!(order.id = %intent.order, provider.key = %intent.request.key, %error,
                        "What the provider says cannot be booked; the intent stays open.");
                    later.push((intent, intent.delay()));
                }
            }
            if let Some(command) = payment.stuck() {
                tracing::error!(order.id = %payment.order, command.id = %command,
                    "A command that waited is impossible now and stays unanswered.");
            }
        }
        let opened = changes.write(&mut tx, &payments, self.desk.lease(), now).await?;
        store::try_later(&mut tx, &later).await?;
        tx.commit().await?;
        self.desk.hand_over(opened);
        for (_, delay) in later {
            self.desk.look_after(delay);
        }
        Ok(())
    }
}

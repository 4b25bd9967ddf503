//! The worker that settles intents: calls the provider, many at once and outside any transaction, and writes what it
//! said.
//!
//! An intent comes in two ways. The transaction that opens it takes it for this process and hands it over the [`Desk`]
//! after its commit, so that one order alone waits for nothing. And whatever is due in the database is taken: what an
//! unclear answer put off, and what a process that died had taken. Taken twice is harmless, for the key is the same.
//!
//! Two loops: one calls, one books. The booking loop writes all outcomes that are there in one transaction and never
//! waits for one that is not, and calls have room in two `lanes`, so a slow call holds back its own order
//! only.

//!
//! | commit | if the process dies before it | and after it |
//! |---|---|---|
//! | a command or a refund is taken in, its intent stored | the message comes again, the operator asks again | the intent is due when its lease is over |
//! | an intent that is due is taken | another takes it | it is due again when its lease is over |
//! | (the provider is called) | it is called, under the same key | it is asked, and has it |
//! | its word is booked, with what follows | the intent is due again, the provider asked | what follows is stored: answers in the outbox, further intents with their leases |

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use messaging::HandleError;
use messaging::consumer::BoxError;
use metrics::counter;
use service::clock::Clock;
use service::crash_point;
use service::postgres::fault;
use service::work::{Stuck, Work, WorkLimit};
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::changes::Changes;
use crate::intent::Intent;
use crate::lanes::{Lanes, Room};
use crate::provider::{Found, Outcome, Provider, Unclear};
use crate::store::{intents, payments};

/// How fast the worker goes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// First calls under way at once, but for those that are slow.
    pub first: usize,
    /// A call that takes longer is slow: it makes room for another first one.
    pub prompt: Duration,
    /// Calls under way at once that are slow or made again. What is slow beyond that keeps its room among the first ones.
    pub again: usize,
    /// How long the provider may take over an intent before its outcome counts as unclear.
    pub call_timeout: Duration,
    /// How long a taken intent is left to who took it. Longer than a call, or every slow call is made twice.
    pub lease: Duration,
    /// How often to look for what is due although nothing was announced: intents of processes that died.
    pub poll: Duration,
}

impl Pace {
    /// The usual pace, with calls that may take `timeout` each.
    pub fn with_calls_of(timeout: Duration) -> Self {
        // An intent that was tried before is asked about, which is quick, and then called.
        let call_timeout = timeout + Duration::from_millis(500);
        // So 1,280 slow orders per second delay no other. An answer on the spot takes some milliseconds.
        let (first, prompt, again) = (128, Duration::from_millis(100), 512);
        let (lease, poll) = (call_timeout + Duration::from_secs(3), Duration::from_millis(500));
        Self { first, prompt, again, call_timeout, lease, poll }
    }
}

/// Intents that may lie on the desk. What does not fit is found in the database when its lease is over.
const DESK_SIZE: usize = 10_000;
/// The most outcomes that one transaction books.
const BATCH: usize = 500;
/// An intent that is turned away so often in a row is parked. That takes some 40 s, and longer if it was tried before; in
/// that time whoever has just changed something at the provider may have noticed.
const TIMES_IN_VAIN: u32 = 10;

/// Where opened intents are handed to the worker of this process.
#[derive(Debug, Clone)]
pub struct Desk {
    calls: mpsc::Sender<Intent>,
    /// When something will be due in the database.
    looks: mpsc::Sender<Instant>,
    lease: Duration,
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
            let _ = self.calls.try_send(intent);
        }
    }

    /// Something is due in the database now.
    pub(crate) fn look_now(&self) {
        self.look_after(Duration::ZERO);
    }

    fn look_after(&self, delay: Duration) {
        let _ = self.looks.try_send(Instant::now() + delay);
    }
}

/// The worker.
#[derive(Debug)]
pub struct Worker<P> {
    books: Books,
    provider: Arc<P>,
    pace: Pace,
    calls: mpsc::Receiver<Intent>,
    looks: mpsc::Receiver<Instant>,
    work: Work,
}

/// What the booking loop needs.
#[derive(Debug, Clone)]
struct Books {
    pool: PgPool,
    clock: Clock,
    desk: Desk,
    work: Work,
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
        let (sender, calls) = mpsc::channel(DESK_SIZE);
        let (looked, looks) = mpsc::channel(DESK_SIZE);
        let desk = Desk { calls: sender, looks: looked, lease: pace.lease };
        let [calling, booking] = works(&WorkLimit::default());
        Self { books: Books { pool, clock, desk, work: booking }, provider, pace, calls, looks, work: calling }
    }

    /// The same, but that what it does at the database may take so long before it ends with an error.
    #[must_use]
    pub fn limited(self, limit: &WorkLimit) -> Self {
        let [calling, booking] = works(limit);
        Self { books: Books { work: booking, ..self.books }, work: calling, ..self }
    }

    /// What its two loops do at the database.
    pub fn works(&self) -> [Work; 2] {
        [self.work.clone(), self.books.work.clone()]
    }

    /// Where to hand over what is opened.
    pub fn desk(&self) -> Desk {
        self.books.desk.clone()
    }

    /// Works until `stop`, then waits for the calls under way and books them.
    ///
    /// # Errors
    /// [`Stuck`] if the database has gone without a word.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Stuck> {
        let books = self.books.clone();
        // As many as one transaction takes, so that a call does not wait for the booking of an earlier one.
        let (done, finished) = mpsc::channel(BATCH);
        tokio::try_join!(self.call_all(done, &stop), books.book_all(finished, &stop)).map(|((), ())| ())
    }

    async fn call_all(mut self, done: mpsc::Sender<Finished>, stop: &CancellationToken) -> Result<(), Stuck> {
        let lanes = Lanes::of(&self.pace);
        let mut calls = JoinSet::new();
        // When to look for what is due: at these times, and at the latest after a while.
        let (mut looks, mut look_at) = (BTreeSet::new(), Instant::now());
        let mut room = None;
        loop {
            let next_look = looks.first().map_or(look_at, |at| look_at.min(*at));
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = calls.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "A call to the provider broke off; its intent will be due again.");
                },
                first = lanes.first(), if room.is_none() => room = Some(first),
                Some(intent) = self.calls.recv(), if room.is_some() => {
                    let room = room.take().expect("there is room, or nothing is taken from the desk");
                    self.start(intent, room, &lanes, &done, &mut calls);
                }
                Some(at) = self.looks.recv() => {
                    looks.insert(at);
                }
                () = sleep_until(next_look), if lanes.has_again() => {
                    let now = Instant::now();
                    looks.retain(|at| *at > now);
                    look_at = now + self.pace.poll;
                    let rooms = lanes.again(BATCH);
                    let due = self.take_due(rooms.len()).await?;
                    if due.len() == rooms.len() {
                        look_at = now;
                    }
                    for (intent, room) in due.into_iter().zip(rooms) {
                        self.start(intent, room, &lanes, &done, &mut calls);
                    }
                }
            }
        }
        while calls.join_next().await.is_some() {}
        Ok(())
    }

    async fn take_due(&self, limit: usize) -> Result<Vec<Intent>, Stuck> {
        let taken = intents::take_due(&self.books.pool, limit, self.pace.lease);
        let due = self.work.unit(taken).await?.unwrap_or_else(|error| {
            tracing::warn!(%error, "Due intents could not be taken, trying again.");
            Vec::new()
        });
        if !due.is_empty() {
            crash_point("billing.settle.taken");
        }
        Ok(due)
    }

    fn start(&self, intent: Intent, room: Room, lanes: &Lanes, done: &mpsc::Sender<Finished>, calls: &mut JoinSet<()>) {
        let (provider, done, lanes) = (Arc::clone(&self.provider), done.clone(), lanes.clone());
        let pace = self.pace;
        calls.spawn(async move {
            crash_point("billing.settle.calling");
            let (said, _room) = call_in_time(&*provider, &intent, &pace, &lanes, room).await;
            crash_point("billing.settle.called");
            if let Err(Unclear::TurnedAway { .. }) = said {
                let operation = intent.request.act.name();
                counter!("provider_calls_turned_away_total", "operation" => operation).increment(1);
            }
            // The booking loop ends after the last sender, so it is there. It may be busy; until it takes this, the
            // room is not given to another.
            let _ = done.send(Finished { intent, said }).await;
        });
    }
}

/// Gets the provider's word on `intent`, or gives up. A call that is slow changes its room; it comes back either way.
async fn call_in_time(
    provider: &impl Provider,
    intent: &Intent,
    pace: &Pace,
    lanes: &Lanes,
    room: Room,
) -> (Result<Outcome, Unclear>, Room) {
    let mut said = pin!(timeout(pace.call_timeout, call(provider, intent)));
    if let Ok(prompt) = timeout(pace.prompt, &mut said).await {
        return (prompt.unwrap_or(Err(Unclear::NoAnswer)), room);
    }
    let room = lanes.slow(room);
    (said.await.unwrap_or(Err(Unclear::NoAnswer)), room)
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
    async fn book_all(&self, mut finished: mpsc::Receiver<Finished>, stop: &CancellationToken) -> Result<(), Stuck> {
        let (mut batch, mut pace) = (Vec::new(), messaging::pace::Pace::new(BATCH));
        while finished.recv_many(&mut batch, BATCH).await > 0 {
            pace.begin(batch.len());
            self.book_surely(&batch, stop).await?;
            batch.clear();
            sleep_until(pace.next().into()).await;
        }
        Ok(())
    }

    /// Books `batch`, as often as it takes. An outcome that the database will never accept, or whose payment cannot be
    /// read, is left out; its intent is parked.
    async fn book_surely(&self, batch: &[Finished], stop: &CancellationToken) -> Result<(), Stuck> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.work.unit(self.book(batch)).await?.map_err(fault) {
                Ok(()) => return Ok(()),
                Err(HandleError::Message(error)) => match batch {
                    [one] => return self.set_aside(&one.intent, &error).await,
                    many => {
                        for one in many {
                            Box::pin(self.book_surely(std::slice::from_ref(one), stop)).await?;
                        }
                        return Ok(());
                    }
                },
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "Outcomes could not be booked, trying again.");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                // The provider remembers: whoever takes the intent next hears the same.
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Parks an intent whose outcome cannot be booked, now or ever. If that fails too, it stays open and comes back.
    async fn set_aside(&self, intent: &Intent, error: &BoxError) -> Result<(), Stuck> {
        let park = async {
            let mut tx = self.pool.begin().await?;
            payments::hold(&mut tx, intent.request.order).await?;
            intents::park(&mut tx, &[(intent, format!("the books refuse it: {error}"))]).await?;
            tx.commit().await
        };
        let parked = self.work.unit(park).await?;
        let (order, why) = (intent.request.order, &**error as &dyn std::error::Error);
        match parked {
            Ok(()) => tracing::error!(order.id = %order, error = why,
                "What became of a call cannot be booked; the payment is parked until an operator resumes it."),
            Err(error) => tracing::warn!(order.id = %order, error = why, unparked = %error,
                "What became of a call cannot be booked, nor can its payment be parked; it is asked about again."),
        }
        Ok(())
    }

    /// One transaction: what the provider said becomes states, ledger entries, answers and further intents.
    async fn book(&self, batch: &[Finished]) -> sqlx::Result<()> {
        let mut tx = self.pool.begin().await?;
        let mut locked = payments::lock(&mut tx, batch.iter().map(|one| one.intent.request.order)).await?;
        let now = self.clock.now();
        let (mut changes, mut later, mut parked) = (Changes::default(), Vec::new(), Vec::new());
        for Finished { intent, said } in batch {
            let request = &intent.request;
            let outcome = match said {
                Ok(outcome) => outcome,
                Err(unclear) => {
                    later.push((intent, *unclear));
                    continue;
                }
            };
            let Some(payment) = locked.get_mut(&request.order) else { continue };
            let effects = match request.act.operation() {
                Some(operation) => payment.outcome(operation, outcome, now),
                None => payment.refund_outcome(request.act.attempt(), outcome, now),
            };
            let book = |effects| intent.cause.sync_scope(|| changes.of_payment(payment, intent, outcome, effects));
            let booked = effects.map(book);
            if let Err(error) = booked {
                parked.push((intent, error.to_string()));
            }
        }
        let opened = changes.write(&mut tx, &locked, self.desk.lease(), now).await?;
        let times = intents::try_later(&mut tx, &later).await?;
        let in_vain =
            later.iter().zip(times).filter_map(|((intent, why), times)| Some((*intent, given_up(*why, times)?)));
        parked.extend(in_vain);
        intents::park(&mut tx, &parked).await?;
        crash_point("billing.settle.booking");
        tx.commit().await?;
        crash_point("billing.settle.booked");
        self.desk.hand_over(opened);
        for (intent, _) in later {
            self.desk.look_after(intent.delay());
        }
        // Not before the commit: what is rolled back is done again, and may end otherwise.
        for (intent, why) in parked {
            tracing::error!(order.id = %intent.request.order, provider.key = %intent.request.key, %why,
                "The payment is parked until an operator resumes it.");
        }
        Ok(())
    }
}

/// Why an intent that was turned away so many times in a row is not asked again; none if it is, or was not turned away.
fn given_up(unclear: Unclear, times: u32) -> Option<String> {
    let Unclear::TurnedAway { .. } = unclear else { return None };
    (times >= TIMES_IN_VAIN).then(|| format!("{unclear}, {times} times in a row"))
}

/// Of the loop that calls, and of the one that books.
fn works(limit: &WorkLimit) -> [Work; 2] {
    ["calls", "books"].map(|name| limit.work(name))
}

//! Sends what stands in the outbox, by reading the database's log.
//!
//! One relay per database streams; who that is says a position document, taken over when its holder is silent. Its
//! token moves only over messages that the broker has acknowledged and flushed. Two relays at once, for a moment, do
//! no harm: each sends in the order of the log from a token below which all is delivered, so what comes second is a
//! copy that inboxes drop, and the first copies are in order.
//!
//! After any error all is thrown away, producer and stream, and begun again from the stored token.
//!
//! **When the log no longer has the token's place**, or there never was a token, the relay sends all messages that the
//! outbox still has, in their order, and only then what the log has since. It never goes on from the present. What was
//! sent before is sent again, and the inboxes drop it.

mod changes;
mod measure;
mod position;
mod rescan;
mod settling;

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bson::Document;
use futures::{FutureExt, Stream, StreamExt, stream::FuturesOrdered};
use mongodb::Database;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(super) use position::create as create_position;

use self::{
    changes::{Begin, Changes, News},
    measure::keep_measuring,
    position::{Claim, Position, Standing},
    rescan::Rescan,
    settling::{Settled, Settling},
};
use crate::{
    Broker, Loss, Pulse, TopicSpec,
    backoff::Backoff,
    broker::{TopicError, chain},
    generation::Acknowledged,
    meters::RelayMeters,
    mongo::prune::keep_pruning,
    producer::{Committed, DeliveryError, Producer},
};

/// How often the position is renewed and its token moved.
const RENEWAL: Duration = Duration::from_secs(1);
/// A renewal that takes longer has failed, well before others may think us dead.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(3);
/// How often a relay in waiting looks whether the position is free.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks whether the topics still have what they had, and how long one may take: shorter than others wait
/// before they think us dead.
const LOOK_FOR_LOSSES: Duration = Duration::from_secs(5);
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// The most batches sent and not yet acknowledged. All their messages fit into the producer's queue of 100,000.
const MAX_IN_FLIGHT: usize = 16;
/// Neither the last messages nor giving up the position may hold up the end of the process.
const FAREWELL: Duration = Duration::from_secs(2);
/// A stream that lasted so long has shown that nothing is wrong for good.
const STEADY: Duration = Duration::from_secs(10);

/// What the relay cannot mend by starting again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Nobody has called [`prepare`](super::prepare).
    #[error("the database has no relay position: it was not prepared")]
    NotPrepared,
    /// The outbox was dropped or renamed under the relay. The next one begins anew.
    #[error("the outbox is gone")]
    OutboxGone,
    /// What stands in the outbox is not what this version writes.
    #[error("the outbox holds what this relay cannot read")]
    Unreadable(#[source] bson::error::Error),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Final(#[from] RelayError),
    #[error("the relay is told to stop")]
    Stopped,
    #[error("another relay has taken the position")]
    Displaced,
    #[error("the database's log no longer has the place where the relay stopped")]
    TokenLost(#[source] mongodb::error::Error),
    #[error("the database failed")]
    Database(#[from] mongodb::error::Error),
    #[error("the database is silent")]
    Silence,
    #[error("Kafka's client cannot do it")]
    Client(#[from] rdkafka::error::KafkaError),
    #[error("the topics are not as they must be")]
    Topics(#[from] TopicError),
    #[error("the broker failed")]
    Delivery(#[source] DeliveryError),
    #[error("a new generation must begin")]
    Loss(#[source] Loss),
}

impl From<DeliveryError> for Interruption {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Loss(loss) => Self::Loss(loss),
            DeliveryError::Mistaken { .. } | DeliveryError::Kafka(_) | DeliveryError::Gone => Self::Delivery(error),
        }
    }
}

/// Sends the outbox of `db` in the name of `source` until `stop`, starting again by itself after errors; at `stop`, what
/// is on its way is waited for, and its place kept, so that whoever takes over sends none of it again. The `topics` are
/// those it writes; they are made anew when they vanish. `pulse` beats while it streams, or waits for another's end.
///
/// # Errors
/// [`RelayError`]: what only a person can mend.
pub async fn run(
    db: Database,
    broker: Broker,
    source: &str,
    topics: &[TopicSpec],
    pulse: Pulse,
    stop: CancellationToken,
) -> Result<(), RelayError> {
    let (position, meters) = (Position::of(&db), RelayMeters::of(source));
    let relay = Relay { position, db, broker, source, topics, meters, pulse, stop, confirmed: AtomicU32::new(0) };
    let too_late = async {
        relay.stop.cancelled().await;
        sleep(FAREWELL).await;
    };
    let ended = tokio::select! {
        ended = relay.run() => ended,
        never = keep_measuring(&relay.db, &relay.meters) => match never {},
        () = too_late => Ok(()),
    };
    // Whatever the end, another one may begin at once.
    match timeout(FAREWELL, relay.position.give_up()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = %chain(&error), "the relay's position could not be given up; it times out")
        }
        Err(_elapsed) => tracing::warn!("the relay's position could not be given up in time; it times out"),
    }
    ended
}

struct Relay<'a> {
    position: Position,
    db: Database,
    broker: Broker,
    source: &'a str,
    topics: &'a [TopicSpec],
    meters: RelayMeters,
    pulse: Pulse,
    stop: CancellationToken,
    /// The server's time of a message that is confirmed, in seconds since 1970; 0 if there is none.
    confirmed: AtomicU32,
}

impl Relay<'_> {
    async fn run(&self) -> Result<(), RelayError> {
        let mut backoff = Backoff::new();
        loop {
            let begun = Instant::now();
            let interruption = match self.hold_and_stream().await {
                Err(Interruption::Stopped) => return Ok(()),
                Err(Interruption::Final(error)) => return Err(error),
                Err(interruption) => interruption,
            };
            if begun.elapsed() > STEADY {
                backoff = Backoff::new();
            }
            if let Interruption::Delivery(_) = interruption {
                self.meters.delivery_errors.increment(1);
            }
            let wait = backoff.next_wait();
            let wait_ms = wait.as_millis();
            tracing::warn!(error = %chain(&interruption), wait_ms, "the relay was interrupted, it begins again");
            if self.stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return Ok(());
            }
        }
    }

    async fn hold_and_stream(&self) -> Result<Infallible, Interruption> {
        let taken = self.stop.run_until_cancelled(self.take_position()).await;
        let standing = taken.unwrap_or(Err(Interruption::Stopped))?;
        let generation = standing.generation;
        let ended = tokio::select! {
            ended = self.stream(standing) => ended,
            never = keep_pruning(&self.db, &self.confirmed, &self.meters.unpruned) => match never {},
        };
        if let Err(Interruption::TokenLost(_) | Interruption::Final(RelayError::OutboxGone)) = ended {
            self.position.forget_token().await?;
        }
        if let Err(Interruption::Loss(loss)) = &ended {
            self.position.begin_generation_after(generation).await?;
            tracing::warn!(%loss, generation = generation + 1, "a topic has lost messages: a new generation begins");
        }
        ended
    }

    async fn stream(&self, standing: Standing) -> Result<Infallible, Interruption> {
        let Standing { token, generation, acknowledged } = standing;
        self.broker.ensure_topics(self.topics).await?;
        let ends = acknowledged.ends(&self.broker, self.topics).await?;
        if let Some(loss) = acknowledged.loss_at(&ends) {
            return Err(Interruption::Loss(loss));
        }
        let producer = Producer::of_generation(&self.broker, self.source, generation, acknowledged, ends)?;
        let (mut rescan, begin, mut rescanned) = self.beginning(token).await?;
        let mut changes = Changes::open(&self.db, begin).await?;
        let mut in_flight = FuturesOrdered::new();
        let mut settling = Settling::default();
        let mut unconfirmed = VecDeque::new();
        let mut sent_again = 0;
        let (mut renewal, mut look) = (every(RENEWAL), every(LOOK_FOR_LOSSES));
        let _streaming = self.meters.streams(generation);
        tracing::info!(generation, "the relay streams the outbox");
        loop {
            let room = in_flight.len() < MAX_IN_FLIGHT;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.take_leave(in_flight, settling, &producer).await?;
                    return Err(Interruption::Stopped);
                }
                _ = renewal.tick() => {
                    if let Some(time) = self.confirm(&mut settling, &producer).await? {
                        unconfirmed.retain(|sent| *sent > time);
                        self.tell_oldest(&unconfirmed);
                    }
                }
                _ = look.tick(), if in_flight.is_empty() => self.look_for_losses(&producer).await?,
                Some(delivered) = in_flight.next() => {
                    let (messages, settled): (usize, _) = delivered?;
                    self.meters.published.increment(messages as u64);
                    settling.acknowledged(settled);
                }
                messages = next_of(&mut rescan), if room && rescan.is_some() => {
                    let messages = messages?;
                    let count = messages.len();
                    sent_again += count;
                    if messages.is_empty() {
                        rescan = None;
                        self.tell_rescan(sent_again);
                    }
                    in_flight.push_back(producer.send(messages).map(move |delivered| delivered.map(|()| (count, None))).boxed());
                }
                news = changes.next(), if room && rescan.is_none() => {
                    let News { messages, token, time } = news?;
                    let count = messages.len();
                    unconfirmed.extend(time);
                    self.tell_oldest(&unconfirmed);
                    let time = time.or(rescanned);
                    rescanned = None;
                    let delivery = producer.send(messages);
                    in_flight.push_back(delivery.map(move |delivered| delivered.map(|()| (count, Some((token, time))))).boxed());
                }
            }
        }
    }

    /// What is sent again first, where the log is read from, and by what time all that is sent again had committed.
    async fn beginning(&self, token: Option<Document>) -> Result<(Option<Rescan>, Begin, Option<u32>), Interruption> {
        if let Some(token) = token {
            return Ok((None, Begin::After(token), None));
        }
        let now = self.position.begin_anew().await?.ok_or(Interruption::Displaced)?;
        Ok((Some(Rescan::upto(&self.db, now)), Begin::At(now), Some(now.time)))
    }

    /// Renews the position, whose token moves past all that is settled; the time up to which that is all, if it is known.
    async fn confirm(&self, settling: &mut Settling, producer: &Producer) -> Result<Option<u32>, Interruption> {
        let settled = settling.settled(Instant::now());
        let time = settled.as_ref().and_then(|(_, time)| *time);
        self.renew(settled.map(|(token, _)| (token, producer.acknowledged()))).await?;
        self.pulse.works();
        if let Some(time) = time {
            self.confirmed.store(time, Ordering::Relaxed);
        }
        Ok(time)
    }

    /// Waits for what is on its way. The token moves past all that is acknowledged, so that whoever takes over sends none of
    /// it again; what the broker loses of it with its memory, the next relay finds missing.
    async fn take_leave(
        &self,
        mut in_flight: impl Stream<Item = Result<(usize, Option<Settled>), DeliveryError>> + Unpin,
        mut settling: Settling,
        producer: &Producer,
    ) -> Result<(), Interruption> {
        while let Some(delivered) = in_flight.next().await {
            let (messages, settled) = delivered?;
            self.meters.published.increment(messages as u64);
            settling.acknowledged(settled);
        }
        let settled = settling.settled_at_once();
        self.renew(settled.map(|(token, _)| (token, producer.acknowledged()))).await
    }

    /// Waits until the position is ours.
    async fn take_position(&self) -> Result<Standing, Interruption> {
        let mut waits = false;
        loop {
            match self.position.claim().await? {
                Claim::Held(standing) => return Ok(standing),
                Claim::Missing => return Err(RelayError::NotPrepared.into()),
                Claim::Busy if waits => {}
                Claim::Busy => {
                    waits = true;
                    tracing::info!("another relay streams the outbox; this one waits");
                }
            }
            self.pulse.stands_by();
            sleep(LOOK).await;
        }
    }

    /// Whether the topics still have what they had. Not while much is going on: then the producer finds out.
    async fn look_for_losses(&self, producer: &Producer) -> Result<(), Interruption> {
        match timeout(LOOK_PATIENCE, producer.acknowledged().loss(&self.broker)).await {
            Ok(Ok(Some(loss))) => Err(Interruption::Loss(loss)),
            Ok(Ok(None)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                tracing::debug!("Kafka cannot be asked what it still has");
                Ok(())
            }
        }
    }

    /// The first relay of an empty outbox has nothing to tell.
    fn tell_rescan(&self, sent_again: usize) {
        if sent_again > 0 {
            self.meters.rescans.increment(1);
            tracing::warn!(
                messages = sent_again,
                "place or generation are new: all retained messages are sent again, ahead of the log"
            );
        }
    }

    /// `unconfirmed` are the times of messages, in seconds since 1970, oldest first.
    fn tell_oldest(&self, unconfirmed: &VecDeque<u32>) {
        self.meters.oldest(unconfirmed.front().map(|time| i64::from(*time) * 1_000_000));
    }

    async fn renew(&self, moved: Option<(Document, Acknowledged)>) -> Result<(), Interruption> {
        match timeout(RENEWAL_PATIENCE, self.position.renew(moved)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Interruption::Displaced),
            Ok(Err(error)) => Err(error.into()),
            Err(_elapsed) => Err(Interruption::Silence),
        }
    }
}

/// Late once, it does not hurry afterwards.
fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn next_of(rescan: &mut Option<Rescan>) -> Result<Vec<Committed>, Interruption> {
    match rescan {
        Some(rescan) => rescan.next().await,
        None => std::future::pending().await,
    }
}

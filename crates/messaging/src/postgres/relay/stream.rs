//! One reading of the slot: from the log to the broker, and the confirmation back.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    RelayConfig,
    error::StreamError,
    hearing::Hearing,
    slot::{self, Known},
};
use crate::{
    Broker, Loss, Pulse,
    meters::RelayMeters,
    postgres::{pgoutput::Decoder, progress::Progress, prune::keep_pruning, visible::until_visible},
    producer::{Committed, Delivery, DeliveryError, Producer},
};

/// Messages handed to the producer at once, at most.
pub(super) const BATCH: usize = 1000;
/// More messages than this on their way to the broker stop the reading.
const UNACKNOWLEDGED: usize = 20_000;
/// Between two looks whether a commit has become old enough to be confirmed.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(500);
/// How often what is behind us and holds nothing of ours is confirmed.
const IDLE_CONFIRM_INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks whether the topics still have what they had: one to which nothing is sent tells no producer.
const LOOK_FOR_LOSSES: Duration = Duration::from_secs(5);
/// How long such a look may take: nothing is read or sent meanwhile.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// The log counts microseconds since the year 2000.
const PG_EPOCH_MICROS: i64 = 946_684_800_000_000;
/// How long the last messages may take once the relay is told to stop.
const FAREWELL: Duration = Duration::from_secs(2);
const GOODBYE: Duration = Duration::from_secs(1);

/// Reads and sends until `stop` or the first error; at `stop`, what is on its way is waited for and confirmed. The
/// producer lives as long as the stream: after a failed delivery nothing it holds may be sent any more.
pub(super) async fn stream(
    replication: ReplicationConfig,
    config: &RelayConfig,
    pool: &PgPool,
    broker: &Broker,
    meters: &RelayMeters,
    stop: &CancellationToken,
) -> Result<(), StreamError> {
    // The slot hears late of what is confirmed, and in a crash forgets it; we know it, and have it left out.
    let confirmed = slot::confirmed(pool, &config.slot).await?;
    let mut client = ReplicationClient::connect_gated(replication.with_start_lsn(confirmed)).await?;
    let begun = stop.run_until_cancelled(begin(&mut client, config, pool, broker, meters)).await;
    let ended = match begun {
        None => None,
        Some(Err(error)) => Some(Err(error)),
        Some(Ok(mut stream)) => {
            let confirmed = Arc::clone(&stream.confirmed_time);
            let _streaming = meters.streams(stream.known.generation);
            let too_late = async {
                stop.cancelled().await;
                sleep(FAREWELL).await;
            };
            let ended = tokio::select! {
                ended = stream.run(&mut client, stop) => Some(ended),
                never = keep_pruning(pool, &confirmed, &meters.unpruned) => match never {},
                () = too_late => None,
            };
            if let Some(Err(StreamError::Loss(loss))) = &ended {
                begin_generation(pool, config, stream.known.generation, loss).await?;
            }
            ended
        }
    };
    let goodbye = timeout(GOODBYE, client.shutdown()).await;
    if goodbye.is_err() {
        // It waits for an answer that may never come, and left alone would go on to.
        client.abort();
    }
    match (ended, goodbye) {
        (None, _) => Ok(()),
        (Some(Err(StreamError::Log(PgWireError::Server(said)))), _) if said.contains("is active for PID") => {
            Err(StreamError::SlotInUse)
        }
        (Some(ended), _) => ended,
    }
}

/// Takes the slot, and looks whether slot and topics are those that were left.
async fn begin(
    client: &mut ReplicationClient,
    config: &RelayConfig,
    pool: &PgPool,
    broker: &Broker,
    meters: &RelayMeters,
) -> Result<Stream, StreamError> {
    let hearing = Hearing::begin(client).await?;
    // Now the slot is ours, and ours alone.
    let standing = slot::standing(pool, &config.slot).await?;
    broker.ensure_topics(&config.topics).await?;
    let ends = standing.known.acknowledged.ends(broker, &config.topics).await?;
    if let Some(loss) = standing.known.acknowledged.loss_at(&ends) {
        begin_generation(pool, config, standing.known.generation, &loss).await?;
        return Err(StreamError::Loss(loss));
    }
    let Known { generation, acknowledged, .. } = standing.known.clone();
    let producer = Producer::of_generation(broker, &config.source, generation, acknowledged, ends)?;
    let begin = standing.has_a_gap().then_some(standing.confirmed);
    Ok(Stream {
        slot: config.slot.clone(),
        pool: pool.clone(),
        broker: broker.clone(),
        meters: meters.clone(),
        pulse: config.pulse.clone(),
        hearing,
        producer,
        decoder: Decoder::default(),
        deliveries: VecDeque::new(),
        progress: Progress::default(),
        read: Read::default(),
        gap_before: begin,
        known: standing.known,
        commits: VecDeque::new(),
        confirmed_time: Arc::default(),
        idle_end: None,
        confirmed_at: Instant::now(),
    })
}

async fn begin_generation(pool: &PgPool, config: &RelayConfig, old: i64, loss: &Loss) -> Result<(), StreamError> {
    slot::begin_generation_after(pool, &config.slot, old).await?;
    tracing::warn!(slot = config.slot, %loss, generation = old + 1, "a topic has lost messages: a new generation begins");
    Ok(())
}

pub(super) struct Stream {
    slot: String,
    pub(super) pool: PgPool,
    broker: Broker,
    pub(super) meters: RelayMeters,
    pub(super) pulse: Pulse,
    hearing: Hearing,
    producer: Producer,
    decoder: Decoder,
    /// In the order they were sent, like what `progress` knows of them.
    deliveries: VecDeque<Delivery>,
    progress: Progress,
    read: Read,
    /// Where the slot begins, if what was sent before is not known.
    gap_before: Option<Lsn>,
    /// What table `relay` says.
    known: Known,
    /// What is sent and not confirmed: ends of commits, with their times.
    commits: VecDeque<(Lsn, i64)>,
    /// When the last commit that is confirmed was made, in microseconds since 1970; 0 if none is.
    confirmed_time: Arc<AtomicI64>,
    /// Up to here, and this time, the log holds nothing of ours that is not confirmed.
    idle_end: Option<(Lsn, i64)>,
    confirmed_at: Instant,
}

/// What has been read and not been sent.
#[derive(Default)]
struct Read {
    messages: Vec<Committed>,
    /// The transactions of `messages`.
    transactions: Vec<u32>,
    /// The end of the last commit that is complete with `messages`.
    end: Option<Lsn>,
    /// When that was committed.
    committed: i64,
    /// Whether more of a transaction will come.
    in_transaction: bool,
}

impl Stream {
    async fn run(&mut self, client: &mut ReplicationClient, stop: &CancellationToken) -> Result<(), StreamError> {
        if let Some(begin) = self.gap_before.take() {
            self.rescan(begin).await?;
        }
        tracing::info!(slot = self.slot, generation = self.known.generation, "relaying the outbox");
        let mut confirm = interval(CONFIRM_INTERVAL);
        confirm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval_at(tokio::time::Instant::now() + LOOK_FOR_LOSSES, LOOK_FOR_LOSSES);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = self.has_room();
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.take_leave().await,
                delivered = oldest(&mut self.deliveries) => {
                    delivered?;
                    self.acknowledged();
                }
                _ = confirm.tick() => {
                    if self.hearing.is_well(&self.pool, &self.slot).await? {
                        self.pulse.works();
                    }
                    self.confirm(client).await?;
                }
                _ = look.tick(), if self.deliveries.is_empty() => self.look_for_losses().await?,
                event = client.recv(), if room => {
                    self.take_all(client, event?)?;
                    // The rest of a transaction comes at once; what is handed over in pieces costs a look at the snapshot
                    // and a request to the broker for each, and is sent again by whoever takes over in between.
                    if !self.read.in_transaction || self.read.messages.len() >= BATCH {
                        self.send().await?;
                    }
                }
            }
        }
    }

    /// Reads no more, and waits for what is on its way. All that is acknowledged is confirmed, so that whoever takes over
    /// sends none of it again; what the broker loses of it with its memory, the next relay finds missing.
    async fn take_leave(&mut self) -> Result<(), StreamError> {
        while !self.deliveries.is_empty() {
            self.acknowledge_oldest().await?;
        }
        match self.progress.confirm_at_once() {
            Some(end) => self.write_down(end).await,
            None => Ok(()),
        }
    }

    /// Takes `first` and all that has arrived behind it, up to a batch.
    fn take_all(&mut self, client: &mut ReplicationClient, first: Option<ReplicationEvent>) -> Result<(), StreamError> {
        let mut next = Some(first);
        while let Some(event) = next {
            let event = event.ok_or_else(|| PgWireError::Task("the stream was closed".into()))?;
            self.hearing.heard();
            self.take(event)?;
            if self.read.messages.len() >= BATCH {
                break;
            }
            // Unconstrained: the runtime's budget would cut batches short.
            next = tokio::task::unconstrained(client.recv()).now_or_never().transpose()?;
        }
        Ok(())
    }

    fn take(&mut self, event: ReplicationEvent) -> Result<(), StreamError> {
        match event {
            ReplicationEvent::Begin { xid, .. } => {
                self.read.in_transaction = true;
                self.read.transactions.push(xid);
            }
            ReplicationEvent::XLogData { data, .. } => {
                self.read.messages.extend(self.decoder.decode(&data)?);
            }
            ReplicationEvent::Commit { end_lsn, commit_time_micros, .. } => {
                self.read.in_transaction = false;
                self.read.committed = commit_time_micros + PG_EPOCH_MICROS;
                self.read.end = Some(end_lsn);
            }
            // Traffic of other tables must not hold the log: what is behind us holds nothing of ours.
            ReplicationEvent::KeepAlive { wal_end, server_time_micros, .. } => {
                if !self.read.in_transaction && self.read.end.is_none() && self.progress.is_settled() {
                    self.idle_end = Some((wal_end, server_time_micros + PG_EPOCH_MICROS));
                }
            }
            ReplicationEvent::Message { .. } | ReplicationEvent::StoppedAt { .. } => {}
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), StreamError> {
        let messages = std::mem::take(&mut self.read.messages);
        let end = self.read.end.take();
        if messages.is_empty() && end.is_none() {
            return Ok(());
        }
        // Not before here: the begin of a transaction may be read alone, and must be kept for its messages.
        self.commits.extend(end.map(|end| (end, self.read.committed)));
        self.tell_oldest();
        until_visible(&self.pool, &std::mem::take(&mut self.read.transactions)).await?;
        self.hand_over(messages, end);
        Ok(())
    }

    /// Gives `messages` to the producer; with them all commits up to `end` are sent.
    pub(super) fn hand_over(&mut self, messages: Vec<Committed>, end: Option<Lsn>) {
        let count = messages.len();
        self.deliveries.push_back(self.producer.send(messages));
        self.progress.sent(count, end);
    }

    /// Whether more may be on its way to the broker.
    pub(super) fn has_room(&self) -> bool {
        self.progress.unacknowledged() < UNACKNOWLEDGED
    }

    pub(super) async fn acknowledge_oldest(&mut self) -> Result<(), StreamError> {
        oldest(&mut self.deliveries).await?;
        self.acknowledged();
        Ok(())
    }

    fn acknowledged(&mut self) {
        self.deliveries.pop_front();
        let before = self.progress.unacknowledged();
        self.progress.acknowledged(Instant::now());
        self.meters.published.increment((before - self.progress.unacknowledged()) as u64);
    }

    /// Confirms what may be by now: first in table `relay`, then at the slot.
    async fn confirm(&mut self, client: &ReplicationClient) -> Result<(), StreamError> {
        let now = Instant::now();
        let idle = self.idle_end.filter(|_| now.duration_since(self.confirmed_at) >= IDLE_CONFIRM_INTERVAL);
        let ripe = self.progress.confirm(now);
        let Some(end) = ripe.or(idle.map(|(end, _)| end)) else { return Ok(()) };
        self.idle_end = None;
        self.confirmed_at = now;
        self.write_down(end).await?;
        client.update_applied_lsn(end);
        let confirmed = self.commits.partition_point(|(commit, _)| *commit <= end);
        let commit = self.commits.drain(..confirmed).next_back().or(idle.filter(|_| ripe.is_none()));
        self.tell_oldest();
        if let Some((_, time)) = commit {
            self.confirmed_time.store(time, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Everything up to `end` is confirmed, as far as table `relay` knows. The slot may know less: it forgets in a crash of
    /// the database what it heard last.
    async fn write_down(&mut self, end: Lsn) -> Result<(), StreamError> {
        if self.known.confirmed.is_none_or(|known| known < end) {
            let acknowledged = self.producer.acknowledged();
            if !slot::confirm(&self.pool, &self.slot, &self.known, end, &acknowledged).await? {
                return Err(StreamError::Displaced);
            }
            self.known.confirmed = Some(end);
        }
        Ok(())
    }

    async fn look_for_losses(&self) -> Result<(), StreamError> {
        match timeout(LOOK_PATIENCE, self.producer.acknowledged().loss(&self.broker)).await {
            Ok(Ok(Some(loss))) => Err(StreamError::Loss(loss)),
            Ok(Ok(None)) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "Kafka cannot say what it still has");
                Ok(())
            }
            Err(_elapsed) => {
                tracing::debug!("Kafka does not say in time what it still has");
                Ok(())
            }
        }
    }

    fn tell_oldest(&self) {
        self.meters.oldest(self.commits.front().map(|(_, time)| *time));
    }

    pub(super) fn slot(&self) -> &str {
        &self.slot
    }
}

/// The answer to the oldest delivery; never, if there is none.
async fn oldest(deliveries: &mut VecDeque<Delivery>) -> Result<(), DeliveryError> {
    match deliveries.front_mut() {
        Some(delivery) => delivery.await,
        None => std::future::pending().await,
    }
}

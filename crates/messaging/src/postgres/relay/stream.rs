//! One reading of the slot: from the log to the broker, and the confirmation back.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent};
use rdkafka::error::KafkaError;
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::slot;
use crate::{
    Broker,
    postgres::{
        pgoutput::{DecodeError, Decoder},
        progress::Progress,
        visible::until_visible,
    },
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
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a stream ended. All of it mends itself or an operator mends it.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("another instance reads the slot")]
    SlotInUse,
    #[error("another instance has read the slot, or made a new one")]
    Displaced,
    #[error("the database cannot be asked")]
    Database(#[from] sqlx::Error),
    #[error("the log cannot be read")]
    Log(#[from] PgWireError),
    #[error("the log cannot be understood")]
    Decode(#[from] DecodeError),
    #[error("Kafka's client refuses its settings")]
    Client(#[from] KafkaError),
    #[error("the broker did not take a message")]
    Delivery(#[from] DeliveryError),
}

/// Reads and sends until `stop` or the first error. The producer lives as long as the stream: after a failed delivery
/// nothing it holds may be sent any more.
pub(super) async fn stream(
    config: ReplicationConfig,
    pool: &PgPool,
    broker: &Broker,
    source: &str,
    stop: &CancellationToken,
) -> Result<(), StreamError> {
    let slot = config.slot.clone();
    let producer = Producer::new(broker, source)?;
    let client = ReplicationClient::connect(config).await?;
    let mut stream = Stream {
        slot,
        pool: pool.clone(),
        client,
        producer,
        decoder: Decoder::default(),
        deliveries: VecDeque::new(),
        progress: Progress::default(),
        read: Read::default(),
        known: None,
        idle_end: None,
        confirmed_at: Instant::now(),
    };
    let ended = stop.run_until_cancelled(stream.run()).await;
    let goodbye = tokio::time::timeout(GOODBYE, stream.client.shutdown()).await;
    match (ended, goodbye) {
        (None, _) => Ok(()),
        (Some(Err(StreamError::Log(PgWireError::Server(said)))), _) if said.contains("is active for PID") => {
            Err(StreamError::SlotInUse)
        }
        (Some(ended), _) => ended,
    }
}

pub(super) struct Stream {
    slot: String,
    pub(super) pool: PgPool,
    client: ReplicationClient,
    producer: Producer,
    decoder: Decoder,
    /// In the order they were sent, like what `progress` knows of them.
    deliveries: VecDeque<Delivery>,
    progress: Progress,
    read: Read,
    /// What table `relay` says is confirmed.
    known: Option<Lsn>,
    /// Up to here the log holds nothing of ours that is not confirmed.
    idle_end: Option<Lsn>,
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
    /// Whether more of a transaction will come.
    in_transaction: bool,
}

impl Stream {
    async fn run(&mut self) -> Result<(), StreamError> {
        self.client.wait_started().await?;
        // Now the slot is ours, and ours alone.
        let standing = slot::standing(&self.pool, &self.slot).await?;
        self.known = standing.known;
        if standing.has_a_gap() {
            self.rescan(standing.confirmed).await?;
        }
        tracing::info!(slot = self.slot, "relaying the outbox");
        let mut confirm = interval(CONFIRM_INTERVAL);
        confirm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = self.has_room();
            tokio::select! {
                biased;
                delivered = oldest(&mut self.deliveries) => {
                    delivered?;
                    self.acknowledged();
                }
                _ = confirm.tick() => self.confirm().await?,
                event = self.client.recv(), if room => {
                    self.take_all(event?)?;
                    self.send().await?;
                }
            }
        }
    }

    /// Takes `first` and all that has arrived behind it, up to a batch.
    fn take_all(&mut self, first: Option<ReplicationEvent>) -> Result<(), StreamError> {
        let mut next = Some(first);
        while let Some(event) = next {
            let event = event.ok_or_else(|| PgWireError::Task("the stream was closed".into()))?;
            self.take(event)?;
            if self.read.messages.len() >= BATCH {
                break;
            }
            // Unconstrained: the runtime's budget would cut batches short.
            next = tokio::task::unconstrained(self.client.recv()).now_or_never().transpose()?;
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
            ReplicationEvent::Commit { end_lsn, .. } => {
                self.read.in_transaction = false;
                self.read.end = Some(end_lsn);
            }
            // Traffic of other tables must not hold the log: what is behind us holds nothing of ours.
            ReplicationEvent::KeepAlive { wal_end, .. } => {
                if !self.read.in_transaction && self.read.end.is_none() && self.progress.is_settled() {
                    self.idle_end = Some(wal_end);
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
        until_visible(&self.pool, &std::mem::take(&mut self.read.transactions)).await?;
        self.hand_over(messages, end).await
    }

    /// Gives `messages` to the producer; with them all commits up to `end` are sent.
    pub(super) async fn hand_over(&mut self, messages: Vec<Committed>, end: Option<Lsn>) -> Result<(), StreamError> {
        let count = messages.len();
        self.deliveries.push_back(self.producer.send(messages).await?);
        self.progress.sent(count, end);
        Ok(())
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
        self.progress.acknowledged(Instant::now());
    }

    /// Confirms what may be by now: first in table `relay`, then at the slot.
    async fn confirm(&mut self) -> Result<(), StreamError> {
        let now = Instant::now();
        let idle = self.idle_end.filter(|_| now.duration_since(self.confirmed_at) >= IDLE_CONFIRM_INTERVAL);
        let Some(end) = self.progress.confirm(now).or(idle) else { return Ok(()) };
        self.idle_end = None;
        self.confirmed_at = now;
        // The slot forgets in a crash of the database what it heard last; then we know more.
        if self.known.is_none_or(|known| known < end) {
            if !slot::confirm(&self.pool, &self.slot, self.known, end).await? {
                return Err(StreamError::Displaced);
            }
            self.known = Some(end);
        }
        self.client.update_applied_lsn(end);
        Ok(())
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

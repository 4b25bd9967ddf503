//! Sends what is put into the outbox, by reading the database's own log.
//!
//! A transaction appears in the log when it commits, whole, and in the order of the commits; one that rolls back never
//! does. The relay produces everything that is waiting, at once, and tells the database how far it has come: whole
//! commits only, some seconds after the broker's acknowledgement. After a crash, a lost connection or a failed delivery
//! it begins again where it last confirmed, so a message may be sent more than once; the receiver's inbox knows its id.
//!
//! The replication slot belongs to one reader at a time, so of several replicas of a service one relays and the others
//! wait for their turn.

use std::{
    collections::VecDeque,
    str::FromStr,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent};
use rdkafka::error::KafkaError;
use sqlx::{ConnectOptions as _, PgPool, postgres::PgConnectOptions};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use super::relay_config::RelayConfig;
use super::{
    pgoutput::{DecodeError, Decoder},
    progress::Progress,
    visible::until_visible,
};
use crate::{
    Broker,
    backoff::Backoff,
    broker::chain,
    producer::{Committed, Delivery, DeliveryError, Producer},
};

/// The publication of `schema.sql`.
const PUBLICATION: &str = "outbox";
/// SQLSTATE: another replica created the slot meanwhile.
const DUPLICATE_OBJECT: &str = "42710";
/// Messages handed to the producer at once, at most.
const BATCH: usize = 1000;
/// More messages than this on their way to the broker stop the reading.
const UNACKNOWLEDGED: usize = 20_000;
/// How often the database hears from us. It gives up after `wal_sender_timeout`, 5 s.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// After so much silence the database hears from us, too, which makes it look at its log. Since version 16 it sleeps
/// through a commit that falls between its last look and its going to sleep: measured, one in thirty of those that follow
/// another commit closely, and such a message waited for our next status, up to a second. The price while idle: about 2 %
/// of a core in a debug build.
const NUDGE_INTERVAL: Duration = Duration::from_millis(10);
/// Between two looks whether a commit has become old enough to be confirmed.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(500);
/// Between two looks whether the slot has become free.
const TAKEOVER_INTERVAL: Duration = Duration::from_millis(500);
/// A stream that lasted so long has shown that nothing is wrong for good.
const STEADY: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a relay cannot work at all.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The URL names no database.
    #[error("the database URL cannot be read")]
    DatabaseUrl(#[source] sqlx::Error),
    /// The slot could not be created or looked at.
    #[error("the replication slot {slot} cannot be prepared")]
    Slot {
        /// The slot.
        slot: String,
        /// What the database says.
        #[source]
        source: sqlx::Error,
    },
    /// A slot of that name reads another database.
    #[error("the replication slot {slot} belongs to another database: choose another name")]
    ForeignSlot {
        /// The slot.
        slot: String,
    },
}

/// Creates the replication slot, if it is missing. From then on the database keeps all of its log that is not confirmed.
/// Call it after the migrations and before the service accepts work.
///
/// # Errors
/// [`RelayError::Slot`] and [`RelayError::ForeignSlot`].
pub async fn prepare(pool: &PgPool, slot: &str) -> Result<(), RelayError> {
    let failed = |source| RelayError::Slot { slot: slot.to_owned(), source };
    let created = sqlx::query(
        "-- relay::prepare
         select pg_create_logical_replication_slot($1, 'pgoutput')
         where not exists (select from pg_replication_slots where slot_name = $1)",
    )
    .bind(slot)
    .execute(pool)
    .await;
    if let Err(error) = created
        && sqlstate(&error).as_deref() != Some(DUPLICATE_OBJECT)
    {
        return Err(failed(error));
    }
    let ours: bool = sqlx::query_scalar(
        "-- relay::prepare: whose slot it is
         select database = current_database() from pg_replication_slots where slot_name = $1",
    )
    .bind(slot)
    .fetch_one(pool)
    .await
    .map_err(failed)?;
    if ours { Ok(()) } else { Err(RelayError::ForeignSlot { slot: slot.to_owned() }) }
}

/// Relays until `stop`. Whatever goes wrong is logged and tried again with back-off.
///
/// # Errors
/// [`RelayError::DatabaseUrl`], at once.
pub async fn run(config: RelayConfig, pool: PgPool, broker: Broker, stop: CancellationToken) -> Result<(), RelayError> {
    let replication = replication_config(&config)?;
    let slot = config.slot.as_str();
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() {
        let began = Instant::now();
        let ended = match slot_is_free(&pool, slot).await {
            Ok(true) => stream(replication.clone(), &pool, &broker, &config.source, &stop).await,
            Ok(false) => Err(StreamError::SlotInUse),
            Err(error) => Err(error),
        };
        if began.elapsed() > STEADY {
            backoff = Backoff::new();
        }
        let wait = match ended {
            Ok(()) => return Ok(()),
            Err(StreamError::SlotInUse) => {
                tracing::debug!(slot, "another instance relays, waiting for its slot");
                TAKEOVER_INTERVAL
            }
            Err(error) => {
                let wait = backoff.next_wait();
                let wait_ms = wait.as_millis();
                tracing::warn!(slot, error = %chain(&error), wait_ms, "the relay was interrupted, it begins again");
                wait
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
    Ok(())
}

/// Why a stream ended. All of it mends itself or an operator mends it.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("another instance reads the slot")]
    SlotInUse,
    #[error("the replication slot is missing, or the database has given it up")]
    SlotLost,
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

/// Looked at first, because the failed attempt of a waiting replica would be an error in the logs of both sides.
async fn slot_is_free(pool: &PgPool, slot: &str) -> Result<bool, StreamError> {
    let state: Option<(bool, bool)> = sqlx::query_as(
        "-- relay::slot_is_free
         select active, wal_status is not distinct from 'lost' from pg_replication_slots where slot_name = $1",
    )
    .bind(slot)
    .fetch_optional(pool)
    .await?;
    match state {
        None | Some((_, true)) => Err(StreamError::SlotLost),
        Some((active, false)) => Ok(!active),
    }
}

/// Reads and sends until `stop` or the first error. The producer lives as long as the stream: after a failed delivery
/// nothing it holds may be sent any more.
async fn stream(
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
        pool: pool.clone(),
        client,
        producer,
        decoder: Decoder::default(),
        deliveries: VecDeque::new(),
        progress: Progress::default(),
        read: Read::default(),
    };
    let ended = stop.run_until_cancelled(stream.run(&slot)).await;
    let goodbye = tokio::time::timeout(GOODBYE, stream.client.shutdown()).await;
    match (ended, goodbye) {
        (None, _) => Ok(()),
        (Some(Err(StreamError::Log(PgWireError::Server(said)))), _) if said.contains("is active for PID") => {
            Err(StreamError::SlotInUse)
        }
        (Some(ended), _) => ended,
    }
}

struct Stream {
    pool: PgPool,
    client: ReplicationClient,
    producer: Producer,
    decoder: Decoder,
    /// In the order they were sent, like what `progress` knows of them.
    deliveries: VecDeque<Delivery>,
    progress: Progress,
    read: Read,
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
    async fn run(&mut self, slot: &str) -> Result<(), StreamError> {
        self.client.wait_started().await?;
        tracing::info!(slot, "relaying the outbox");
        let mut confirm = interval(CONFIRM_INTERVAL);
        confirm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = self.progress.unacknowledged() < UNACKNOWLEDGED;
            tokio::select! {
                biased;
                delivered = oldest(&mut self.deliveries) => {
                    delivered?;
                    self.deliveries.pop_front();
                    self.progress.acknowledged(Instant::now());
                }
                _ = confirm.tick(), if self.progress.awaits_confirmation() => {
                    if let Some(end) = self.progress.confirm(Instant::now()) {
                        self.client.update_applied_lsn(end);
                    }
                }
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
                    self.client.update_applied_lsn(wal_end);
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
        let count = messages.len();
        self.deliveries.push_back(self.producer.send(messages).await?);
        self.progress.sent(count, end);
        Ok(())
    }
}

/// The answer to the oldest delivery; never, if there is none.
async fn oldest(deliveries: &mut VecDeque<Delivery>) -> Result<(), DeliveryError> {
    match deliveries.front_mut() {
        Some(delivery) => delivery.await,
        None => std::future::pending().await,
    }
}

fn replication_config(config: &RelayConfig) -> Result<ReplicationConfig, RelayError> {
    let options = PgConnectOptions::from_str(&config.database_url).map_err(RelayError::DatabaseUrl)?;
    let host = match options.get_socket() {
        Some(folder) => folder.to_string_lossy().into_owned(),
        None => options.get_host().to_owned(),
    };
    // The options do not show their password, but the URL they make of themselves does, percent-encoded.
    let password = options.to_url_lossy().password().map(percent_decoded).unwrap_or_default();
    let database = options.get_database().unwrap_or(options.get_username());
    Ok(ReplicationConfig::new(host, options.get_username(), password, database, &config.slot, PUBLICATION)
        .with_port(options.get_port())
        .with_application_name(format!("relay {}", config.source))
        .with_status_interval(STATUS_INTERVAL)
        .with_wakeup_interval(NUDGE_INTERVAL))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_is_read_from_the_url() {
        let config = RelayConfig {
            database_url: "postgres://shop:p%40ss%25w%C3%B6rd@db.example:6543/orders".into(),
            slot: "outbox".into(),
            source: "order".into(),
        };
        let read = replication_config(&config).unwrap();
        assert_eq!((read.host.as_str(), read.port), ("db.example", 6543));
        assert_eq!((read.user.as_str(), read.password.as_str()), ("shop", "p@ss%wörd"));
        assert_eq!(read.database, "orders");
        assert!(replication_config(&RelayConfig { database_url: "nonsense".into(), ..config }).is_err());
    }
}

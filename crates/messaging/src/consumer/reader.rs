//! The thread of one consumer.

mod settling;

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::{runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    BoxError, Consumer, ConsumerError, Handler, Offsets,
    client::{self, Change, Client, Partition},
    loaded::Loaded,
    positions::{Due, Positions},
    record::Read,
};
use crate::{
    Batch, Position, Record,
    backoff::Backoff,
    broker::{Complaint, chain},
    meters::ConsumerMeters,
    pace::Pace,
    parked::ParkedMessage,
};
use settling::{Outcome, attempts};

/// How long a poll waits when nothing comes; so long a stop can take to be seen.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// A batch that takes longer is waited for while polling, so that the group keeps us.
const UNPOLLED: Duration = Duration::from_secs(5);
const POLL_WHILE_WAITING: Duration = Duration::from_millis(250);
/// One attempt to load offsets, and one request to the broker for the ends of a partition.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Owned by the thread it runs on.
pub(super) struct Reader<O, H> {
    settings: Consumer<O>,
    handler: H,
    runtime: Handle,
    stop: CancellationToken,
    client: Client,
    positions: Positions,
    pace: Pace,
    /// Whether the group has us as a member, with partitions or without.
    is_member: bool,
    /// Ours by the group's decision, but their offsets are not loaded yet.
    unloaded: Vec<Partition>,
    /// To be read anew, for a record of this generation has come.
    anew: BTreeMap<Partition, i64>,
    load_at: Instant,
    load_backoff: Backoff,
    /// When to look for marked messages again.
    look_at: Instant,
    complaint: Complaint,
    meters: ConsumerMeters,
}

impl<O: Offsets, H: Handler> Reader<O, H> {
    pub(super) fn start(
        settings: Consumer<O>,
        handler: H,
        runtime: Handle,
        stop: CancellationToken,
    ) -> Result<Self, ConsumerError> {
        let client = client::connect(&settings.broker, &settings.group)?;
        let topics: Vec<String> = settings.topics.iter().map(|topic| settings.broker.full_name(topic)).collect();
        client.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self {
            meters: ConsumerMeters::of(&settings.group),
            pace: Pace::new(settings.max_batch),
            settings,
            handler,
            runtime,
            stop,
            client,
            positions: Positions::default(),
            is_member: false,
            unloaded: Vec::new(),
            anew: BTreeMap::new(),
            load_at: Instant::now(),
            load_backoff: Backoff::new(),
            look_at: Instant::now(),
            complaint: Complaint::default(),
        })
    }

    /// Reads until stopped. Dropping the reader then leaves the group.
    pub(super) fn run(&mut self) -> Result<(), ConsumerError> {
        while !self.stop.is_cancelled() {
            if !self.unloaded.is_empty() && Instant::now() >= self.load_at {
                self.load()?;
            }
            if self.is_member && self.unloaded.is_empty() {
                self.settings.pulse.works();
            }
            self.replay_marked()?;
            // The client goes on fetching meanwhile.
            std::thread::sleep(self.pace.next().saturating_duration_since(Instant::now()));
            let (records, faulty) = self.gather()?;
            self.tell_lags();
            if !records.is_empty() || !faulty.is_empty() {
                self.pace.begin(records.len());
                let batch = self.positions.batch(records, faulty);
                self.settle(Batch { parked_keys_max: self.settings.parked_keys_max, ..batch })?;
            }
            if !self.anew.is_empty() && self.unloaded.is_empty() {
                self.reload()?;
            }
        }
        Ok(())
    }

    /// What is waiting, up to the limit, and what of it is no message. Empty if nothing came, or if the group decided anew.
    fn gather(&mut self) -> Result<(Vec<Record>, Vec<ParkedMessage>), ConsumerError> {
        let (mut records, mut faulty) = (Vec::new(), Vec::new());
        let mut wait = IDLE_POLL;
        while records.len() + faulty.len() < self.settings.max_batch {
            let polled = self.client.poll(wait);
            let change = self.client.context().take_change();
            let mut nothing_more = polled.is_none();
            match polled {
                Some(Ok(message)) if change.is_none() => {
                    let read = Read::of(&message);
                    let generation = read.generation;
                    let partition = (message.topic(), message.partition());
                    match self.positions.due(partition.0, partition.1, message.offset(), generation) {
                        Due::Yes(topic) => match read.record(&message, topic) {
                            Ok(record) => records.push(record),
                            Err(none) => faulty.push(*none),
                        },
                        Due::No => {}
                        Due::Anew => {
                            self.anew.insert((partition.0.to_owned(), partition.1), generation);
                            break;
                        }
                    }
                }
                // Read again after the change.
                Some(Ok(_)) | None => {}
                Some(Err(error)) => {
                    self.client_error(error)?;
                    nothing_more = true;
                }
            }
            if let Some(change) = change {
                self.apply(change);
                return Ok((Vec::new(), Vec::new()));
            }
            if nothing_more || !self.unloaded.is_empty() {
                break;
            }
            wait = Duration::ZERO;
        }
        // An error above may have made us forget where these belong.
        Ok(if self.unloaded.is_empty() { (records, faulty) } else { (Vec::new(), Vec::new()) })
    }

    fn tell_lags(&self) {
        for ((topic, partition), end) in self.client.context().take_ends() {
            if let Some((topic, lag)) = self.positions.lag(&topic, partition, end) {
                self.meters.lag(topic, partition, lag);
            }
        }
    }

    fn apply(&mut self, change: Change) {
        self.meters.forget_lags();
        self.positions.take();
        self.is_member = matches!(change, Change::Assigned(_));
        self.unloaded = match change {
            Change::Assigned(partitions) => {
                tracing::info!(group = self.settings.group, partitions = partitions.len(), "partitions are assigned");
                partitions
            }
            Change::Revoked => {
                tracing::info!(group = self.settings.group, "all partitions are revoked");
                Vec::new()
            }
        };
        self.load_at = Instant::now();
        self.load_backoff = Backoff::new();
    }

    /// Loads the offsets of what was assigned and begins to read there; later, if the database or the broker is away.
    fn load(&mut self) -> Result<(), ConsumerError> {
        match self.loaded() {
            Ok(loaded) => self.begin(loaded),
            Err(error) => {
                let wait = self.load_backoff.next_wait();
                let wait_ms = wait.as_millis();
                tracing::warn!(group = self.settings.group, error = %chain(&*error), wait_ms, "offsets cannot be loaded");
                self.load_at = Instant::now() + wait;
                Ok(())
            }
        }
    }

    /// The next offset of each partition that was assigned, and the ends of that partition.
    fn loaded(&self) -> Result<Vec<Loaded>, BoxError> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (full_name, partition) in &self.unloaded {
            topics.entry(full_name).or_default().push(*partition);
        }
        let mut loaded = Vec::new();
        for (full_name, partitions) in topics {
            let topic = full_name.strip_prefix(&self.settings.broker.prefix).unwrap_or(full_name);
            let load = self.settings.offsets.load(topic, &partitions);
            let offsets = self.runtime.block_on(async { timeout(LOAD_TIMEOUT, load).await })??;
            for partition in partitions {
                let stored = offsets.get(&partition).copied().ok_or("an offset is missing")?;
                let (low, high) = self.client.fetch_watermarks(full_name, partition, LOAD_TIMEOUT)?;
                let generation = self.anew.get(&(full_name.to_owned(), partition)).copied();
                let (full_name, topic) = (full_name.to_owned(), topic.to_owned());
                loaded.push(Loaded { full_name, topic, partition, stored, generation, low, high });
            }
        }
        Ok(loaded)
    }

    fn begin(&mut self, loaded: Vec<Loaded>) -> Result<(), ConsumerError> {
        let mut assignment = TopicPartitionList::new();
        for one in loaded {
            let reading = one.reading();
            self.meters.lag(&one.topic, one.partition, one.high - reading.next);
            // Also the last one that is done: its generation tells whether it is still the topic that was read.
            let begin = if reading.fresh { reading.next } else { (reading.next - 1).max(one.low) };
            assignment.add_partition_offset(&one.full_name, one.partition, Offset::Offset(begin))?;
            self.positions.set(&one.full_name, &one.topic, one.partition, reading);
        }
        self.client.assign(&assignment)?;
        self.unloaded.clear();
        self.anew.clear();
        Ok(())
    }

    /// Reads nothing until the offsets of all partitions are loaded again.
    fn reload(&mut self) -> Result<(), ConsumerError> {
        self.client.assign(&TopicPartitionList::new())?;
        self.unloaded = self.positions.take();
        self.load_at = Instant::now();
        Ok(())
    }

    fn client_error(&mut self, error: KafkaError) -> Result<(), ConsumerError> {
        if let KafkaError::MessageConsumptionFatal(_) = error {
            return Err(error.into());
        }
        if is_of_a_place(&error) && self.unloaded.is_empty() {
            return self.find_places();
        }
        if self.complaint.is_due() {
            tracing::warn!(group = self.settings.group, %error, "Kafka cannot be read, waiting");
        }
        Ok(())
    }

    /// Loading all offsets again finds out which is not in its topic.
    fn find_places(&mut self) -> Result<(), ConsumerError> {
        tracing::warn!(group = self.settings.group, "an offset is not in its topic");
        self.reload()?;
        self.load_at = Instant::now() + self.load_backoff.next_wait();
        Ok(())
    }

    /// Runs the handler on this thread. If that takes long, pauses reading and polls, which keeps us in the group.
    fn drive(&mut self, batch: &Batch) -> Result<Outcome, ConsumerError> {
        let mut changed = None;
        let mut paused: Option<TopicPartitionList> = None;
        let mut read_too_much = false;
        let mut place_is_gone = false;
        let outcome = {
            let (limit, group) = (self.settings.batch_timeout, &self.settings.group);
            let mut work = pin!(attempts(&self.handler, batch, limit, &self.stop, group, &self.meters));
            loop {
                let patience = if paused.is_some() { POLL_WHILE_WAITING } else { UNPOLLED };
                let waited = self.runtime.block_on(async { timeout(patience, work.as_mut()).await });
                if let Ok(outcome) = waited {
                    break outcome;
                }
                if paused.is_none() {
                    let assigned = self.client.assignment()?;
                    self.client.pause(&assigned)?;
                    paused = Some(assigned);
                }
                match self.client.poll(Duration::ZERO) {
                    // Cannot come from a paused partition. If it does, it is read again.
                    Some(Ok(_)) => read_too_much = true,
                    Some(Err(fatal @ KafkaError::MessageConsumptionFatal(_))) => return Err(fatal.into()),
                    // The partition is read no more, and that is said once.
                    Some(Err(error)) if is_of_a_place(&error) => place_is_gone = true,
                    // Met again when the batch is done, if it lasts.
                    Some(Err(error)) => tracing::debug!(%error, "Kafka cannot be read while a batch is at work"),
                    None => {}
                }
                changed = self.client.context().take_change().or(changed);
                self.tell_lags();
            }
        };
        if let Some(paused) = paused {
            // Also what is no longer ours: a partition that comes back would still be paused.
            self.client.resume(&paused)?;
        }
        if let Some(change) = changed {
            self.apply(change);
        } else if read_too_much {
            self.reload()?;
        } else if place_is_gone {
            self.find_places()?;
        }
        Ok(outcome)
    }

    /// Tells Kafka how far we are, for graphs.
    fn store(&self, moved: &[Position]) {
        let mut offsets = TopicPartitionList::new();
        for position in moved {
            let topic = self.settings.broker.full_name(&position.topic);
            offsets.add_partition_offset(&topic, position.partition, Offset::Offset(position.to)).ok();
        }
        if let Err(error) = self.client.store_offsets(&offsets) {
            tracing::debug!(%error, "Kafka's own offsets were not noted; only graphs of the lag miss them");
        }
    }
}

/// The place that a partition was to be read from is not in its topic.
fn is_of_a_place(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset)
}

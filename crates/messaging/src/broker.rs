//! Where Kafka is, and the topics there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    metadata::Metadata,
};
use tokio::time::Instant;

/// How long `ensure_topics` waits for a broker that is not there yet.
const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const COMPLAIN_AGAIN: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at what the broker shows: a new topic takes about this long to have its leaders.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The most bytes of a record that any message of ours can have: what a broker allows by default, for a record and what
/// surrounds it. Topics are made with this limit, whatever the broker's own is; but it is held against what is sent, and
/// a record that was compressed may be larger when it is read.
pub(crate) const LARGEST_RECORD: usize = 1_048_588;

/// A Kafka installation, and our corner of it.
#[derive(Debug, Clone)]
pub struct Broker {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Put before the name of every topic, so that several installations can share one broker. May be empty.
    pub prefix: String,
}

/// Where partitions end, as far as all replicas have come: the offset of the next message, by topic (without its prefix) and
/// partition.
pub(crate) type Ends = BTreeMap<String, BTreeMap<i32, i64>>;

/// A topic as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The name, without the prefix of the installation.
    pub name: String,
    /// The number of partitions. It never changes: the place of a key depends on it.
    pub partitions: i32,
    /// What the broker may forget.
    pub retention: Retention,
}

/// What the broker may forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Whatever is older than so many milliseconds.
    Millis(i64),
    /// Whatever has been replaced by a later message of the same key.
    Compacted,
}

/// The topics are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The broker could not be asked, or refused.
    #[error("the topics could not be created")]
    Kafka(#[from] KafkaError),
    /// The broker refused one topic.
    #[error("topic {topic} could not be created: {code}")]
    Refused {
        /// The name at the broker.
        topic: String,
        /// The broker's reason.
        code: RDKafkaErrorCode,
    },
    /// Another number of partitions would put keys elsewhere and break their order.
    #[error("topic {topic} has {found} partitions, {wanted} are wanted: that cannot change, use a new topic")]
    Partitions {
        /// The name at the broker.
        topic: String,
        /// How many it has.
        found: usize,
        /// How many it must have.
        wanted: usize,
    },
    /// The topics were created, but did not appear in time.
    #[error("the topics did not appear within {} s", PATIENCE.as_secs())]
    Invisible,
}

impl Broker {
    /// The name of `topic` at the broker.
    pub fn full_name(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// Creates the topics that are missing and waits until all of them can be written and read. Several processes may do
    /// this at once. Waits for a broker that is not there yet.
    ///
    /// # Errors
    /// [`TopicError`] if a topic exists with another number of partitions, or if the broker refuses or stays away.
    pub async fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), TopicError> {
        let admin: AdminClient<Quiet> = self.client_config().create_with_context(Quiet)?;
        let admin = Arc::new(admin);
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.create(&admin, specs).await {
            if !matches!(error, TopicError::Kafka(_)) || Instant::now() > deadline {
                return Err(error);
            }
            tracing::warn!(error = %chain(&error), "Kafka cannot create topics yet, asking again");
            tokio::time::sleep(ASK_AGAIN).await;
        }
        while !self.all_visible(specs, &metadata(&admin).await?)? {
            if Instant::now() > deadline {
                return Err(TopicError::Invisible);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// The offsets that each partition of `topic` (its name without the prefix) still has.
    ///
    /// # Errors
    /// If the broker cannot be asked.
    pub async fn ends(&self, topic: &str) -> Result<Vec<(i32, Range<i64>)>, KafkaError> {
        let admin: AdminClient<Quiet> = self.client_config().create_with_context(Quiet)?;
        let topic = self.full_name(topic);
        let ask = move || {
            let client = admin.inner();
            let metadata = client.fetch_metadata(Some(&topic), REQUEST_TIMEOUT)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let ends = partitions.map(|partition| {
                let (low, high) = client.fetch_watermarks(&topic, partition.id(), REQUEST_TIMEOUT)?;
                Ok((partition.id(), low..high))
            });
            ends.collect()
        };
        tokio::task::spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled))
    }

    /// Somebody who asks whether the broker can be reached.
    ///
    /// # Errors
    /// If Kafka's client refuses its settings; the broker need not be there.
    pub fn probe(&self) -> Result<Probe, KafkaError> {
        Ok(Probe(Arc::new(self.client_config().create_with_context(Quiet)?)))
    }

    /// Where each partition of `topics` ends. Topics that are missing are missing in the answer.
    pub(crate) async fn ends_of(&self, topics: BTreeSet<String>) -> Result<Ends, KafkaError> {
        let admin: AdminClient<Quiet> = self.client_config().create_with_context(Quiet)?;
        let broker = self.clone();
        let ask = move || {
            let client = admin.inner();
            // Of all topics: one that is asked for by name is looked for until it is found.
            let metadata = client.fetch_metadata(None, REQUEST_TIMEOUT)?;
            let mut ends = Ends::new();
            for topic in topics {
                let full_name = broker.full_name(&topic);
                let Some(seen) = metadata.topics().iter().find(|seen| seen.name() == full_name) else { continue };
                let mut partitions = BTreeMap::new();
                for partition in seen.partitions() {
                    let (_, high) = client.fetch_watermarks(&full_name, partition.id(), REQUEST_TIMEOUT)?;
                    partitions.insert(partition.id(), high);
                }
                ends.insert(topic, partitions);
            }
            Ok(ends)
        };
        tokio::task::spawn_blocking(ask).await.unwrap_or(Err(KafkaError::Canceled))
    }

    async fn create(&self, admin: &AdminClient<Quiet>, specs: &[TopicSpec]) -> Result<(), TopicError> {
        let names: Vec<(String, String)> = specs.iter().map(|spec| self.name_and_retention(spec)).collect();
        let largest = LARGEST_RECORD.to_string();
        let topics: Vec<NewTopic<'_>> = specs
            .iter()
            .zip(&names)
            .map(|(spec, (name, millis))| {
                // -1: as the broker is set up.
                let topic = NewTopic::new(name, spec.partitions, TopicReplication::Fixed(-1));
                let topic = topic.set("max.message.bytes", &largest);
                match spec.retention {
                    Retention::Millis(_) => topic.set("retention.ms", millis),
                    Retention::Compacted => topic.set("cleanup.policy", "compact"),
                }
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        for result in admin.create_topics(&topics, &options).await? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(TopicError::Refused { topic, code }),
            }
        }
        Ok(())
    }

    fn name_and_retention(&self, spec: &TopicSpec) -> (String, String) {
        let millis = match spec.retention {
            Retention::Millis(millis) => millis.to_string(),
            Retention::Compacted => String::new(),
        };
        (self.full_name(&spec.name), millis)
    }

    fn all_visible(&self, specs: &[TopicSpec], metadata: &Metadata) -> Result<bool, TopicError> {
        for spec in specs {
            let topic = self.full_name(&spec.name);
            let wanted = usize::try_from(spec.partitions).unwrap_or_default();
            let Some(seen) = metadata.topics().iter().find(|seen| seen.name() == topic) else { return Ok(false) };
            let found = seen.partitions().len();
            let ready = seen.error().is_none() && seen.partitions().iter().all(|partition| partition.leader() >= 0);
            if found == 0 || !ready {
                return Ok(false);
            }
            if found != wanted {
                return Err(TopicError::Partitions { topic, found, wanted });
            }
        }
        Ok(true)
    }

    /// What every client of this broker is set to.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("reconnect.backoff.max.ms", "1000") // A broker that is back is found within a second.
            .set_log_level(RDKafkaLogLevel::Warning);
        config
    }
}

/// What the broker shows. The client blocks, so it is asked on a thread that may.
async fn metadata(admin: &Arc<AdminClient<Quiet>>) -> Result<Metadata, KafkaError> {
    let admin = Arc::clone(admin);
    let asked = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, REQUEST_TIMEOUT));
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Asks whether the broker can be reached, over a connection of its own.
pub struct Probe(Arc<AdminClient<Quiet>>);

impl Probe {
    /// Whether the broker answers in time.
    pub async fn answers(&self, patience: Duration) -> bool {
        let admin = Arc::clone(&self.0);
        let asked = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, patience).is_ok());
        asked.await.unwrap_or(false)
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// For a client of which nothing is expected but answers.
#[derive(Debug, Clone, Copy)]
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka's client reports an error");
    }
}

/// Passes on what the C library says, at our levels: it calls a lost connection an error, again at each attempt to mend
/// it. We say ourselves, and less often, that Kafka is away.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    let about_connections_or_settings = matches!(facility, "FAIL" | "ERROR" | "CONFWARN");
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "Kafka's client says: {message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if !about_connections_or_settings => {
            tracing::warn!(facility, "Kafka's client says: {message}");
        }
        RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
        | RDKafkaLogLevel::Notice
        | RDKafkaLogLevel::Info
        | RDKafkaLogLevel::Debug => tracing::debug!(facility, "Kafka's client says: {message}"),
    }
}

/// Lets one of many complaints about the same trouble through, every ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    last: Mutex<Option<Instant>>,
}

impl Complaint {
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= COMPLAIN_AGAIN);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

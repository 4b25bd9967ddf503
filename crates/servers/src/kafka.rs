//! Kafka: one node, broker and controller in one process.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Data, Guarded, Home, Program, Server, ServerError, fetch::find_program, guard::StopSignal, health,
    home::require_writable, ports,
};

/// How long a start may take: it may have to look through its logs. Unit: seconds.
const START_LIMIT_S: u64 = 60;

/// Where and how the broker runs.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// What to call it.
    pub name: String,
    /// The folder of its data.
    pub data: PathBuf,
    /// The file its log is added to.
    pub log: PathBuf,
    /// The broker's port on loopback.
    pub port: u16,
    /// The port its controller half listens on.
    pub controller_port: u16,
    /// What the data is worth.
    pub worth: Data,
}

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    process: Guarded,
    port: u16,
}

impl Kafka {
    /// Starts the broker, after preparing its data folder if that was never done, and waits until it answers.
    ///
    /// # Errors
    /// Java is missing, a port is in use, the folders cannot be used, or the server ends or stays silent.
    pub async fn start(home: &Home, config: &KafkaConfig) -> Result<Self, ServerError> {
        ports::require_free_port(config.port, &config.name)?;
        ports::require_free_port(config.controller_port, &config.name)?;
        require_writable(&config.data)?;
        let logs = config.data.join("logs");
        if !logs.exists() {
            prepare(&Server::Kafka.folder(home).join(FORMATTED), &logs).map_err(ServerError::not_writable(&logs))?;
        }
        // No broker here lives long enough to be worth compiling well: of one that lived for 100,000 orders, the compiler
        // took a third of the CPU.
        let java = java(home, config)?.args(["-XX:TieredStopAtLevel=1"]);
        let archive = format!("-XX:SharedArchiveFile={}", archive(home).display());
        Self::start_in(java.args(["-Xshare:auto", &archive]), config, &logs).await
    }

    async fn start_in(java: Program, config: &KafkaConfig, logs: &Path) -> Result<Self, ServerError> {
        let settings = config.data.join("server.properties");
        fs::write(&settings, properties(config.port, config.controller_port, logs))
            .map_err(ServerError::not_writable(&settings))?;
        let (stop, patience) = match config.worth {
            Data::Kept => (StopSignal::Term, Duration::from_secs(20)),
            Data::Throwaway => (StopSignal::Kill, Duration::ZERO),
        };
        let process = java.args(["kafka.Kafka"]).args([&settings]).stopped_by(stop, patience).start()?;
        let limit = Duration::from_secs(START_LIMIT_S);
        health::wait_until_healthy(&process, limit, || answers(config.port)).await?;
        Ok(Self { process, port: config.port })
    }

    /// Where clients find it: host and port.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process: to watch it, and to stop it.
    pub fn process(&self) -> &Guarded {
        &self.process
    }

    /// The process alone, for whoever watches all processes alike.
    pub fn into_process(self) -> Guarded {
        self.process
    }
}

/// The name of the empty log folder among the fetched files. Every data folder begins as a copy of it, which saves
/// starting Java once more.
const FORMATTED: &str = "formatted";

/// 16 bytes in base64. One id for all: no two brokers ever share a cluster.
const CLUSTER_ID: &str = "aXJvbm1vbmdlci1zaG9wMQ";

/// Formats an empty log folder among the freshly fetched `files`.
pub(crate) async fn format(files: &Path, log: &Path) -> Result<(), ServerError> {
    let settings = files.join("format.properties");
    // The ports do not matter: nothing listens while the folder is formatted.
    fs::write(&settings, properties(7014, 7015, &files.join(FORMATTED)))
        .map_err(ServerError::not_writable(&settings))?;
    let tool = java_in(files, "Kafka's format", log)?.args(["kafka.tools.StorageTool", "format"]);
    let tool = tool.args(["--cluster-id", CLUSTER_ID, "--config"]).args([&settings]).start()?;
    if tool.ended().await.success() {
        return Ok(());
    }
    Err(ServerError::Unusable { server: Server::Kafka.name(), reason: tool.last_words() })
}

/// Copies the formatted folder; whole or not at all.
fn prepare(formatted: &Path, logs: &Path) -> std::io::Result<()> {
    let new = logs.with_added_extension("new");
    fs::create_dir_all(&new)?;
    for entry in fs::read_dir(formatted)? {
        let entry = entry?;
        fs::copy(entry.path(), new.join(entry.file_name()))?;
    }
    fs::rename(new, logs)
}

/// Where the classes that a start loads lie ready; saves half the time of a start. Ignored if missing or of another
/// Java.
fn archive(home: &Home) -> PathBuf {
    Server::Kafka.folder(home).join("classes.jsa")
}

/// Runs a broker once, in `folder`, to archive the classes it loads.
pub(crate) async fn archive_classes(home: &Home, folder: &Path) -> Result<(), ServerError> {
    let config = KafkaConfig {
        name: "Kafka".into(),
        data: folder.join("data"),
        log: folder.join("archive.txt"),
        port: ports::free_port()?,
        controller_port: ports::free_port()?,
        worth: Data::Kept,
    };
    let (logs, new) = (config.data.join("logs"), folder.join("classes.jsa"));
    require_writable(&config.data)?;
    prepare(&Server::Kafka.folder(home).join(FORMATTED), &logs).map_err(ServerError::not_writable(&logs))?;
    let java = java(home, &config)?.args([format!("-XX:ArchiveClassesAtExit={}", new.display())]);
    Kafka::start_in(java, &config, &logs).await?.process.stop().await;
    fs::rename(new, archive(home)).map_err(ServerError::not_writable(archive(home)))
}

fn java(home: &Home, config: &KafkaConfig) -> Result<Program, ServerError> {
    let java = java_in(&Server::Kafka.folder(home), &config.name, &config.log)?;
    Ok(java.args(["-Xmx512m", "-XX:+UseSerialGC", "-Dlog4j2.level=WARN"]))
}

fn java_in(files: &Path, name: &str, log: &Path) -> Result<Program, ServerError> {
    let java = find_program("java")
        .ok_or(ServerError::Missing { what: "Java 17", install: "apt-get install openjdk-17-jre-headless maven" })?;
    Ok(Program::new(name, java, log).args(["-cp".into(), files.join("libs/*")]))
}

/// Whether the broker at this port of loopback answers an `ApiVersions` request: version 0, no client id.
pub async fn answers(port: u16) -> bool {
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    // Length, then the id of the request.
    matches!(health::ask(port, &request).await, Ok([_, _, _, _, 0, 0, 0, 1]))
}

/// What a broker of one node is set to, wherever it listens and its data is.
pub const SETTINGS: &str = "\
# Topics are made by the services, with the settings they need.
auto.create.topics.enable=false
# There is one broker, and every replica is on it.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Few partitions of its own, so that it starts quickly.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# The relays confirm only what is older than this.
log.flush.interval.ms=1000
# Without these two the interval is looked at never, and not before half a minute.
log.flush.scheduler.interval.ms=500
log.initial.task.delay.ms=500
# A consumer need not wait for others before it begins.
group.initial.rebalance.delay.ms=0
# The machine is small.
num.network.threads=2
num.io.threads=2
num.recovery.threads.per.data.dir=2
";

/// The settings of the broker.
fn properties(port: u16, controller_port: u16, logs: &Path) -> String {
    let logs = logs.display();
    format!(
        "\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
log.dirs={logs}
{SETTINGS}"
    )
}

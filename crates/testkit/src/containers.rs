//! The same servers in containers: where a Docker engine answers and has their images, or `IRONMONGER_TEST_SERVERS` asks for them.
//!
//! Their images are those of `docker-compose.yml`, by the same variables. Each container bears the label
//! [`LABEL`] with the name of the run, by which it is removed at the end of the process, however that comes.

use std::{
    env,
    error::Error,
    fmt,
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use mongodb::{Client, bson::doc, options::ClientOptions};
use servers::{Data, free_port, kafka, mongo, postgres};
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    core::{ContainerPort, IntoContainerPort},
    runners::AsyncRunner,
};

use crate::run;

/// What all our containers bear; its value is the name of the run.
const LABEL: &str = "ironmonger.test";

/// The setting: `native`, `containers` or `automatic`, which it is when not set.
const SETTING: &str = "IRONMONGER_TEST_SERVERS";

/// Variables that name an image, and the official one.
const POSTGRES: (&str, &str) = ("POSTGRES_IMAGE", "postgres:18.1");
const MONGO: (&str, &str) = ("MONGO_IMAGE", "mongo:6.0");
const KAFKA: (&str, &str) = ("KAFKA_IMAGE", "apache/kafka:4.1.0");

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// One running server. Never dropped: it belongs to the process, and is removed after it.
pub(crate) struct Contained {
    _container: ContainerAsync<GenericImage>,
    /// Where it is reached, at loopback.
    pub(crate) port: u16,
}

impl fmt::Debug for Contained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contained").field("port", &self.port).finish_non_exhaustive()
    }
}

/// Why there is no container: what the engine says, or a server that does not answer.
type Failed = Box<dyn Error + Send + Sync>;

/// Whether the shared servers of this process run in containers; the first call says so, and why.
pub(crate) fn wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| {
        let (wanted, why) = match env::var(SETTING).as_deref() {
            Ok("containers") => (true, format!("{SETTING} says so")),
            Ok("native") => (false, format!("{SETTING} says so")),
            Ok("automatic" | "") | Err(_) if images_are_here() => {
                (true, "a Docker engine answers and has their images".into())
            }
            Ok("automatic" | "") | Err(_) => (false, "no Docker engine answers that has their images".into()),
            Ok(other) => panic!("{SETTING} is native, containers or automatic, not {other}"),
        };
        run::say(&format!("servers are {}: {why}", if wanted { "containers" } else { "child processes" }));
        wanted
    })
}

/// Whether an engine answers and need not fetch anything: tests shall not wait for a registry that may not be reached.
fn images_are_here() -> bool {
    let images = [POSTGRES, MONGO, KAFKA].map(|(name, official)| image_name(name, official));
    let mut docker = Command::new("docker");
    docker.args(["image", "inspect"]).args(images).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    docker.status().is_ok_and(|status| status.success())
}

/// PostgreSQL, and the URL of its superuser without a database.
pub(crate) async fn start_postgres() -> (Contained, String) {
    let started = async {
        let port = free_port()?;
        let image = image(POSTGRES, port, 5432.tcp());
        let settings = postgres::settings_of(Data::Throwaway, None).into_iter().map(|setting| format!("-c{setting}"));
        let arguments = "--encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8";
        let image = image.with_env_var("POSTGRES_INITDB_ARGS", arguments);
        // As the native one: anyone on this machine is let in.
        let image = image.with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust");
        let started = start(image.with_cmd(["postgres".to_owned()].into_iter().chain(settings)), port).await?;
        answering("PostgreSQL", || postgres::lets_in(port)).await?;
        Ok::<_, Failed>((started, format!("postgres://postgres@127.0.0.1:{port}")))
    };
    started.await.unwrap_or_else(|error| panic!("no PostgreSQL in a container: {error}"))
}

/// MongoDB, primary of a replica set of one, and its URL without a database.
pub(crate) async fn start_mongo() -> (Contained, String) {
    let started = async {
        let port = free_port()?;
        let arguments = ["mongod", "--bind_ip_all"].into_iter().chain(mongo::arguments_of(Data::Throwaway));
        let image = image(MONGO, port, 27017.tcp()).with_cmd(arguments);
        let started = start(image, port).await?;
        let url = format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0&directConnection=true");
        let mut options = ClientOptions::parse(&url).await?;
        // Before it is initiated it belongs to no replica set.
        options.repl_set_name = None;
        options.server_selection_timeout = Some(PATIENCE);
        let admin = Client::with_options(options)?.database("admin");
        admin.run_command(doc! { "ping": 1 }).await?;
        // As it knows itself, inside.
        answering("MongoDB", || mongo::is_primary(&admin, "127.0.0.1:27017")).await?;
        Ok::<_, Failed>((started, url))
    };
    started.await.unwrap_or_else(|error| panic!("no MongoDB in a container: {error}"))
}

/// Kafka: host and port.
pub(crate) async fn start_kafka() -> (Contained, String) {
    let started = async {
        let port = free_port()?;
        let mut image = image(KAFKA, port, 9092.tcp())
            .with_env_var("KAFKA_HEAP_OPTS", "-Xmx512m")
            .with_env_var("KAFKA_JVM_PERFORMANCE_OPTS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
            .with_env_var("KAFKA_NODE_ID", "1")
            .with_env_var("KAFKA_PROCESS_ROLES", "broker,controller")
            .with_env_var("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://localhost:9093")
            .with_env_var("KAFKA_ADVERTISED_LISTENERS", format!("PLAINTEXT://127.0.0.1:{port}"))
            .with_env_var("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
            .with_env_var("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
            .with_env_var("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
            .with_env_var("KAFKA_LOG_DIRS", "/var/lib/kafka/data");
        for (name, value) in kafka::SETTINGS.lines().filter_map(|line| line.split_once('=')) {
            image = image.with_env_var(format!("KAFKA_{}", name.to_uppercase().replace('.', "_")), value);
        }
        let started = start(image, port).await?;
        answering("Kafka", || kafka::answers(port)).await?;
        Ok::<_, Failed>((started, format!("127.0.0.1:{port}")))
    };
    started.await.unwrap_or_else(|error| panic!("no Kafka in a container: {error}"))
}

/// The image that the variable `name` names, else `official`.
fn image_name(name: &str, official: &str) -> String {
    env::var(name).ok().filter(|image| !image.is_empty()).unwrap_or_else(|| official.to_owned())
}

/// The image, reached at `port` of loopback.
fn image((name, official): (&str, &str), port: u16, inside: ContainerPort) -> ContainerRequest<GenericImage> {
    let image = image_name(name, official);
    let (image, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
    run::say(&format!("{image}:{tag} in a container, on port {port}"));
    let image = GenericImage::new(image, tag).with_mapped_port(port, inside).with_label(LABEL, run::name(""));
    // By default it would be published to everybody.
    image.with_host_config_modifier(|host| {
        for binding in host.port_bindings.iter_mut().flat_map(|bindings| bindings.values_mut()).flatten().flatten() {
            binding.host_ip = Some("127.0.0.1".to_owned());
        }
    })
}

async fn start(image: ContainerRequest<GenericImage>, port: u16) -> Result<Contained, Failed> {
    run::remove_containers(&format!("{LABEL}={}", run::name("")))?;
    Ok(Contained { _container: image.start().await?, port })
}

async fn answering(name: &str, look: impl AsyncFn() -> bool) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    while !look().await {
        if Instant::now() > deadline {
            return Err(format!("{name} does not answer within {} s", PATIENCE.as_secs()).into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

//! Kafka for tests.

use std::env;

use servers::{Data, Kafka, KafkaConfig, Server, ServerError, free_port};
use tokio::sync::OnceCell;

use crate::{
    containers,
    run::{self, Held},
};

/// The broker of this test process: host and port. Started at the first call; makes no topics by itself.
///
/// It is shared by all tests of the process, so each gives its topics a prefix of its own.
pub async fn kafka() -> &'static str {
    static BROKER: OnceCell<(String, Option<Held<Kafka>>)> = OnceCell::const_new();
    &BROKER.get_or_init(begin).await.0
}

/// A broker of one test's own, which can lose its data.
#[derive(Debug)]
pub struct TestKafka {
    config: KafkaConfig,
    server: Kafka,
}

impl TestKafka {
    /// Starts one called `name`.
    pub async fn new(name: &str) -> Self {
        let config = config(name).unwrap_or_else(|error| panic!("no port for a Kafka of this test: {error}"));
        Self { server: launch(&config).await, config }
    }

    /// Host and port.
    pub fn brokers(&self) -> String {
        self.server.brokers()
    }

    /// Kills it.
    pub async fn kill(&self) {
        self.server.process().stop().await;
    }

    /// Once it is killed: removes its data and starts it again where it was.
    pub async fn start_without_data(&mut self) {
        std::fs::remove_dir_all(&self.config.data).expect("the folder of a dead broker can be removed");
        self.server = launch(&self.config).await;
    }
}

async fn launch(config: &KafkaConfig) -> Kafka {
    let started = async { Kafka::start(&run::fetched(Server::Kafka).await?, config).await };
    started.await.unwrap_or_else(|error| panic!("no Kafka for this test: {error}"))
}

fn config(name: &str) -> Result<KafkaConfig, ServerError> {
    let folder = run::folder();
    Ok(KafkaConfig {
        name: "Kafka for tests".into(),
        data: folder.join(name),
        log: folder.join(format!("{name}.log")),
        port: free_port()?,
        controller_port: free_port()?,
        worth: Data::Throwaway,
    })
}

async fn begin() -> (String, Option<Held<Kafka>>) {
    if let Ok(brokers) = env::var("TEST_KAFKA_BROKERS") {
        run::say("Kafka from TEST_KAFKA_BROKERS");
        return (brokers, None);
    }
    if containers::wanted() {
        let (broker, brokers) = containers::start_kafka().await;
        return (brokers, Some(Held::Contained(Box::new(broker))));
    }
    let broker = start().await.unwrap_or_else(|error| panic!("no Kafka for tests: {error}"));
    (broker.brokers(), Some(Held::Native(broker)))
}

async fn start() -> Result<Kafka, ServerError> {
    let home = run::fetched(Server::Kafka).await?;
    let config = config("kafka")?;
    let broker = Kafka::start(&home, &config).await?;
    run::say(&format!("{} started on port {}", Server::Kafka.name(), config.port));
    Ok(broker)
}

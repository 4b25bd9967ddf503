//! Kafka for tests.

use std::env;

use servers::{Data, Kafka, KafkaConfig, Server, ServerError, free_port};
use tokio::sync::OnceCell;

use crate::run;

/// The broker of this test process: host and port. Started at the first call; makes no topics by itself.
///
/// It is shared by all tests of the process, so each gives its topics a prefix of its own.
pub async fn kafka() -> &'static str {
    static BROKER: OnceCell<(String, Option<Kafka>)> = OnceCell::const_new();
    &BROKER.get_or_init(begin).await.0
}

async fn begin() -> (String, Option<Kafka>) {
    if let Ok(brokers) = env::var("TEST_KAFKA_BROKERS") {
        eprintln!("testkit: Kafka from TEST_KAFKA_BROKERS");
        return (brokers, None);
    }
    let broker = start().await.unwrap_or_else(|error| panic!("no Kafka for tests: {error}"));
    (broker.brokers(), Some(broker))
}

async fn start() -> Result<Kafka, ServerError> {
    let folder = run::folder();
    let home = run::fetched(Server::Kafka).await?;
    let config = KafkaConfig {
        name: "Kafka for tests".into(),
        data: folder.join("kafka"),
        log: folder.join("kafka.log"),
        port: free_port()?,
        controller_port: free_port()?,
        worth: Data::Throwaway,
    };
    let broker = Kafka::start(&home, &config).await?;
    eprintln!("testkit: {} started on port {}", Server::Kafka.name(), config.port);
    Ok(broker)
}

//! Every setting of the order service.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use messaging::broker::Broker;
use service::{secret::Secret, traces::Traces, work::WorkLimit};
use web::limits::Limits;

/// Takes orders and runs their sagas.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Config {
    /// Where the HTTP API listens.
    #[arg(long, env, default_value = "127.0.0.1:7001")]
    pub http_addr: SocketAddr,

    /// This service's own Postgres database: postgres://user:password@host:port/database.
    #[arg(long, env, hide_env_values = true)]
    pub order_database_url: Secret<String>,

    /// Connections to the database, all opened at start.
    #[arg(long, env, default_value_t = 8)]
    pub database_connections: u32,

    /// The Kafka brokers, host:port, separated by commas.
    #[arg(long, env)]
    pub kafka_brokers: String,

    /// What the names of the topics and of the consumer groups begin with. Lets several shops share a broker.
    #[arg(long, env, default_value = "")]
    pub topic_prefix: String,

    /// File with the public key (Ed25519, PEM) that access tokens are verified with.
    #[arg(long, env)]
    pub token_public_key_file: PathBuf,

    /// How many keys may have messages parked that cannot be taken in; one more ends the process. See `cargo shop dead`.
    #[arg(long, env, default_value_t = messaging::parked::KEYS_MAX)]
    pub parked_keys_max: usize,

    /// How many orders may wait for the transaction that places them; one more is answered 503.
    #[arg(long, env, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub waiting_orders_max: u32,

    /// How many sagas may be open, of all instances; beyond it no order is placed: 503. An order must be through within 30
    /// s or it is given up, so no more than the shop gets done in a part of that.
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub open_sagas_max: u32,

    /// How long work at the database may take.
    #[command(flatten)]
    pub work: WorkLimit,

    /// What the HTTP server takes in.
    #[command(flatten)]
    pub limits: Limits,

    /// Where spans go.
    #[command(flatten)]
    pub traces: Traces,
}

impl Config {
    /// The broker, as messaging wants it.
    pub(crate) fn broker(&self) -> Broker {
        Broker { brokers: self.kafka_brokers.clone(), prefix: self.topic_prefix.clone() }
    }
}

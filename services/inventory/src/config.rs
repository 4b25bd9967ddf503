//! Every setting of the service. The doc comments are what `--help` shows.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use contracts::Warehouse;
use service::{secret::Secret, traces::Traces, work::WorkLimit};
use web::limits::Limits;

/// Owns products, prices and stock; holds stock for orders.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Config {
    /// Where the HTTP API listens.
    #[arg(long, env, default_value = "127.0.0.1:7002")]
    pub http_addr: SocketAddr,

    /// The MongoDB replica set, with the name of the database in the path, such as
    /// mongodb://127.0.0.1:7013/inventory?replicaSet=rs0&directConnection=true
    #[arg(long, env, hide_env_values = true)]
    pub inventory_mongodb_url: Secret<String>,

    /// The Kafka brokers: host:port, separated by commas.
    #[arg(long, env)]
    pub kafka_brokers: String,

    /// Put before the name of every topic and consumer group, so that several installations can share a broker.
    #[arg(long, env, default_value = "")]
    pub topic_prefix: String,

    /// File with the public key (Ed25519, PEM) that access tokens are verified with.
    #[arg(long, env)]
    pub token_public_key_file: PathBuf,

    /// The warehouses that pieces can come into: their codes, separated by commas.
    #[arg(long, env, value_delimiter = ',', default_value = "HAMBURG,LYON,MILAN")]
    pub warehouses: Vec<Warehouse>,

    /// The most messages that one transaction takes in.
    #[arg(long, env, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub batch_max: u32,

    /// How many keys may have messages parked that cannot be taken in; one more ends the process. See `cargo shop dead`.
    #[arg(long, env, default_value_t = messaging::parked::KEYS_MAX)]
    pub parked_keys_max: usize,

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

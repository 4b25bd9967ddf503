//! Every setting of the service. The doc comments are what `--help` shows.

use std::net::SocketAddr;

use clap::Parser;
use contracts::Warehouse;
use service::{secret::Secret, settings::Common};

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

    /// The warehouses that pieces can come into: their codes, separated by commas.
    #[arg(long, env, value_delimiter = ',', default_value = "HAMBURG,LYON,MILAN")]
    pub warehouses: Vec<Warehouse>,

    /// What every service is told.
    #[command(flatten)]
    pub common: Common,
}

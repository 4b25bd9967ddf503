//! Every setting of the service. The doc comments are what `--help` shows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use reqwest::Url;
use service::{secret::Secret, traces::Traces, work::WorkLimit};
use web::limits::Limits;

use crate::invoice::Party;
use crate::webhook::{NotASecret, Webhooks};

/// Owns payments, the ledger, invoices, and who customers are.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Config {
    /// Where the HTTP API listens.
    #[arg(long, env, default_value = "127.0.0.1:7003")]
    pub http_addr: SocketAddr,

    /// This service's own Postgres database: postgres://user:password@host:port/database.
    #[arg(long, env, hide_env_values = true)]
    pub billing_database_url: Secret<String>,

    /// Connections to the database, all opened at start.
    #[arg(long, env, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub database_connections: u32,

    /// The Kafka brokers: host:port, separated by commas.
    #[arg(long, env)]
    pub kafka_brokers: String,

    /// Put before the name of every topic and consumer group, so that several installations can share a broker.
    #[arg(long, env, default_value = "")]
    pub topic_prefix: String,

    /// File with the public key (Ed25519, PEM) that access tokens are verified with.
    #[arg(long, env)]
    pub token_public_key_file: PathBuf,

    /// The most messages that one transaction takes in.
    #[arg(long, env, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub batch_max: u32,

    /// How many keys may have messages parked that cannot be taken in; one more ends the process. See `cargo shop dead`.
    #[arg(long, env, default_value_t = messaging::parked::KEYS_MAX)]
    pub parked_keys_max: usize,

    /// Where the payment provider is: http://host:port, and a path if its API is below one.
    #[arg(long, env)]
    pub provider_url: Url,

    /// How long a call to the payment provider may take, in milliseconds. What takes longer is asked about later.
    #[arg(long, env, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub provider_timeout_ms: u64,

    /// What the payment provider signs its webhooks with: `whsec_` and base64. Without it none is taken in, and what
    /// became of a call is only asked.
    #[arg(long, env, hide_env_values = true)]
    pub provider_webhook_secret: Option<Secret<String>>,

    /// Who sells, as invoices name it.
    #[arg(long, env, default_value = "Ironmonger")]
    pub seller_name: String,

    /// The seller's postal address without the country: its lines, separated by semicolons.
    #[arg(long, env, value_delimiter = ';', default_value = "1 Anvil Lane;10115 Berlin")]
    pub seller_address: Vec<String>,

    /// The seller's country, by ISO 3166-1 alpha-2.
    #[arg(long, env, default_value = "DE")]
    pub seller_country: String,

    /// The seller's VAT id. The default is none that was ever given out.
    #[arg(long, env, default_value = "DE000000000")]
    pub seller_vat_id: String,

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
    pub(crate) fn webhooks(&self) -> Result<Option<Webhooks>, NotASecret> {
        self.provider_webhook_secret.as_ref().map(|secret| Webhooks::new(secret.expose())).transpose()
    }

    pub(crate) fn seller(&self) -> Party {
        let Self { seller_name: name, seller_address: address, seller_country: country, seller_vat_id, .. } = self;
        let vat_id = Some(seller_vat_id.clone());
        Party { name: name.clone(), address: address.clone(), country: country.clone(), vat_id }
    }

    pub(crate) fn provider_timeout(&self) -> Duration {
        Duration::from_millis(self.provider_timeout_ms)
    }
}

//! The settings that every service has.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, value_parser};
use messaging::{Broker, parked::KEYS_MAX};
use web::{access::Verifier, limits::Limits};

use crate::{traces::Traces, work::WorkLimit};

/// The settings that every service has. Flattened into its own, whose `--help` shows them.
#[derive(Debug, Clone, Args)]
#[command(about = None, long_about = None)]
pub struct Common {
    /// The Kafka brokers: host:port, separated by commas.
    #[arg(long, env)]
    pub kafka_brokers: String,

    /// Put before the name of every topic and consumer group, so that several installations can share a broker.
    #[arg(long, env, default_value = "")]
    pub topic_prefix: String,

    /// File with the public key (Ed25519, PEM) that access tokens are verified with.
    #[arg(long, env)]
    pub token_public_key_file: PathBuf,

    /// The most messages that one transaction takes in, and the most orders that one places.
    #[arg(long, env, default_value_t = 500, value_parser = value_parser!(u32).range(1..=2_000))]
    pub batch_max: u32,

    /// How many keys may have messages parked that cannot be taken in; one more ends the process. See `cargo shop dead`.
    #[arg(long, env, default_value_t = KEYS_MAX)]
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

impl Common {
    /// The broker, as messaging wants it.
    pub fn broker(&self) -> Broker {
        Broker { brokers: self.kafka_brokers.clone(), prefix: self.topic_prefix.clone() }
    }

    /// The consumer group called `name` in this installation.
    pub fn group(&self, name: &str) -> String {
        format!("{}{name}", self.topic_prefix)
    }

    /// Tells whose a token is.
    ///
    /// # Errors
    /// If the file cannot be read, or holds no public key.
    pub fn verifier(&self) -> anyhow::Result<Verifier> {
        let file = &self.token_public_key_file;
        let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Verifier::from_pem(&pem).with_context(|| format!("cannot use {}", file.display()))
    }
}

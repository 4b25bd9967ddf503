#![doc = include_str!("../README.md")]
//!
//! | module | holds |
//! |---|---|
//! | `token` | what a token says |
//! | `book` | what was decided under each key; pure |
//! | `journal` | the log on disk |
//! | `http` | the API, and when an answer is given |
//! | `webhook` | what is said unasked |

mod book;
mod http;
mod journal;
mod token;
mod webhook;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use clap::Parser;
use reqwest::Url;
use service::clock::Clock;
use service::health::Health;
use service::secret::Secret;
use service::tasks::Tasks;
use tokio::net::TcpListener;
use web::gate::Gate;

pub use book::{Act, Line, Operation};

/// A payment provider that does what the token says, and writes down what it did.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Config {
    /// Where the HTTP API listens.
    #[arg(long, env, default_value = "127.0.0.1:7016")]
    pub http_addr: SocketAddr,

    /// The log of everything asked and done. Made if it is missing, read from its beginning if it is there.
    #[arg(long, env)]
    pub log_file: PathBuf,

    /// How long a call that is never answered is held before its connection ends, in milliseconds.
    #[arg(long, env, default_value_t = 30_000)]
    pub silence_ms: u64,

    /// Where to say unasked what was decided. Without it no webhooks are sent.
    #[arg(long, env, requires = "webhook_secret")]
    pub webhook_url: Option<Url>,

    /// What webhooks are signed with: `whsec_` and base64 of 24 to 64 bytes.
    #[arg(long, env, hide_env_values = true, requires = "webhook_url")]
    pub webhook_secret: Option<Secret<String>>,
}

/// Runs the simulator until it is told to stop.
///
/// # Errors
/// The log cannot be read or written, or the address is taken.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let webhooks = config.webhook_url.zip(config.webhook_secret);
    let webhooks = webhooks.map(|(url, secret)| webhook::Webhooks::new(url, secret.expose())).transpose()?;
    let router = router_with(&config.log_file, Duration::from_millis(config.silence_ms), webhooks)?;
    let listener = TcpListener::bind(config.http_addr).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.http_addr))?;
    let mut tasks = Tasks::new();
    let stop = tasks.stop_token();
    let health = Health::until(&stop);
    let router = router.merge(web::health::routes(health.look()));
    tasks.spawn("http", web::serve::serve(listener, router, Gate::default(), stop));
    tasks.run_until_stopped().await
}

/// The API of a provider whose log is the file `log`, for a test that serves it by itself. Calls that are never
/// answered are held for `silence`. No webhooks are sent.
///
/// # Errors
/// The log cannot be read or written.
pub fn router(log: &Path, silence: Duration) -> anyhow::Result<Router> {
    router_with(log, silence, None)
}

fn router_with(log: &Path, silence: Duration, webhooks: Option<webhook::Webhooks>) -> anyhow::Result<Router> {
    let (journal, lines) = journal::Journal::open(log).with_context(|| format!("cannot use {}", log.display()))?;
    let book = book::Book::from_lines(lines);
    Ok(http::router(http::Provider::new(book, journal, Clock::system(), silence, webhooks)))
}

//! Billing: owns payments, the ledger, invoices, and who customers are. Postgres.
//!
//! | module | holds |
//! |---|---|
//! | `reader` | batches from Kafka: one transaction for each |
//! | `commands`, `events` | what commands about payments, and the events of orders, lead to |
//! | `payment`, `state`, `record`, `terms`, `fault` | what becomes of one order's payment and its commands; pure |
//! | `refund`, `returns` | what becomes of some of it, or all, being returned; pure |
//! | `invoice`, `page` | invoices and credit notes, and the page that people print; pure |
//! | `customer` | who a customer is; pure |
//! | `intent` | a call to the provider that is decided and not yet settled; pure |
//! | `ledger` | accounts and entries; pure |
//! | `settle`, `lanes` | the worker that calls the provider and books what it says; room for its calls |
//! | `provider`, `over_http` | the payment provider as we see it; over HTTP |
//! | `changes`, `store` | what one transaction writes; all SQL |
//! | `webhook` | whether a webhook is the provider's, and what it is about |
//! | `http`, `problem` | the API, and what can go wrong there |
//! | `meters` | what operators see of payments |

pub mod config;
pub mod customer;
pub mod fault;
pub mod http;
pub mod intent;
pub mod invoice;
pub mod ledger;
pub mod over_http;
pub mod page;
pub mod payment;
pub mod provider;
pub mod reader;
pub mod record;
pub mod refund;
pub mod returns;
pub mod settle;
pub mod state;
pub mod terms;
pub mod webhook;

mod changes;
mod commands;
mod events;
mod lanes;
mod meters;
mod problem;
mod store;

use std::sync::Arc;

use anyhow::Context;
use messaging::Pulse;
use messaging::consumer::Consumer;
use messaging::postgres::{self, Offsets, relay, slot};
use service::clock::Clock;
use service::health::Health;
use service::tasks::Tasks;
use service::topics;
use service::traces::Traced;
use sqlx::PgPool;
use web::gate::Gate;

use crate::config::Config;
use crate::http::Api;
use crate::over_http::OverHttp;
use crate::reader::Reader;
use crate::settle::{Pace, Worker};

/// The name of the service: its consumer group, and the source its messages name.
const SERVICE: &str = "billing";

/// Runs the service until it is told to stop.
///
/// # Errors
/// It could not start, or a part of it failed.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let common = config.common.clone();
    let verifier = common.verifier()?;
    let webhooks = config.webhooks()?;
    let pool = service::postgres::pool(config.billing_database_url.expose(), config.database_connections).await?;
    prepare(&pool).await.context("cannot prepare the database")?;
    let broker = common.broker();
    broker.ensure_topics(&topics::specs()).await.context("cannot prepare the topics")?;
    let slot = slot(&pool);
    relay::prepare(&pool, &slot).await.context("cannot prepare the relay")?;
    let listener = web::serve::listen(config.http_addr);
    let listener = listener.with_context(|| format!("cannot listen on {}", config.http_addr))?;

    let mut tasks = Tasks::new();
    let stop = tasks.stop_token();
    let pace = Pace::with_calls_of(config.provider_timeout());
    let provider = OverHttp::new(&config.provider_url, config.provider_timeout())?;
    let worker = Worker::new(pool.clone(), Clock::system(), Arc::new(provider), pace).limited(&common.work);
    let [calling, booking] = worker.works();
    let desk = worker.desk();
    let reader = Reader::new(pool.clone(), Clock::system(), desk.clone(), config.seller());
    let stop_worker = stop.clone();
    tasks.spawn("settle", worker.run(stop_worker));
    let group = common.group(SERVICE);
    let batch_max = usize::try_from(common.batch_max)?;
    let consumer = Consumer::new(broker.clone(), &group, &reader::TOPICS, Offsets::new(pool.clone()), batch_max);
    let consumer = consumer.parked_keys_max(common.parked_keys_max).batch_timeout(common.work.duration());
    let health = Health::until(&stop).consumes("consumer", consumer.pulse());
    tasks.spawn("consumer", consumer.run(Traced::new(&group, reader), stop.clone()));
    let database_url = config.billing_database_url.expose().clone();
    let pulse = Pulse::new();
    let health = health.relays(pulse.clone()).does(&calling).does(&booking);
    let (source, topics) = (SERVICE.to_owned(), topics::specs());
    let relay_config = relay::RelayConfig { database_url, slot, source, topics, pulse };
    tasks.spawn("relay", relay::run(relay_config, pool.clone(), broker.clone(), stop.clone()));
    let asked = pool.clone();
    let health = health.reaches_database(move || postgres::answers(asked.clone()), &mut tasks);
    let health = health.reaches_broker(&broker, &mut tasks);
    tasks.spawn("parked payments", meters::run(pool.clone(), common.work.work("parked payments"), stop.clone()));
    let (metrics_for, asking) = (verifier.clone(), verifier.clone());
    let webhook_max_bytes = config.provider_webhook_max_bytes;
    let router = http::router(Api { pool, verifier, desk, clock: Clock::system(), webhooks, webhook_max_bytes })
        .merge(web::health::routes(health.look()))
        .merge(web::metrics::routes(metrics_for, service::metrics::render));
    let gate = Gate::for_principals(common.limits, asking);
    tasks.spawn("metrics", service::metrics::upkeep(stop.clone()));
    tasks.spawn("http", web::serve::serve(listener, router, gate, stop));
    tasks.run_until_stopped().await
}

/// Brings the schema of the database up to date.
///
/// # Errors
/// Whatever the database says.
pub async fn prepare(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    sqlx::migrate!().run(pool).await
}

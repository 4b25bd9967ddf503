//! The order service: takes orders, keeps them as event streams, and runs the sagas that confirm or cancel them.
//!
//! | module | holds |
//! |---|---|
//! | `http`, `problem` | the API and its refusals |
//! | `order` | what may happen to an order; pure |
//! | `checkout` | the saga that an order begins with: its steps and commands; pure |
//! | `cancellation` | what happens when an order is cancelled, and the saga for it; pure |
//! | `admission` | whether another order is taken |
//! | `place` | places all orders that were waiting, in one transaction |
//! | `answers` | what inventory and billing say moves the sagas and the orders |
//! | `deadlines` | time moves sagas too |
//! | `cancel` | and so does who wants an order cancelled |
//! | `parked` | sagas that wait for an operator |
//! | `sagas` | what moves a saga causes, saved in one transaction |
//! | `catalogue` | the replica of products and prices |
//! | `history`, `timeline` | an order as it was; all that was written down about it; pure |
//! | `republish` | an order's events, sent again |
//! | `rebuild` | the folds of all orders, made anew |
//! | `reference` | what a customer calls an order |
//! | `forget` | idempotency keys of yesterday |
//! | `settled` | clients that wait for an order to settle |
//! | `meters` | what operators see of the orders |
//! | `store` | all SQL |

mod admission;
mod answers;
mod cancel;
mod cancellation;
mod catalogue;
mod checkout;
pub mod config;
mod deadlines;
mod forget;
mod history;
mod http;
#[cfg(test)]
mod interleavings;
mod meters;
mod order;
mod parked;
mod place;
mod problem;
mod rebuild;
mod reference;
mod republish;
mod sagas;
mod settled;
mod store;
mod timeline;

use std::sync::{Arc, atomic::AtomicBool};

use anyhow::Context;
use jiff::SignedDuration;
use messaging::{
    Pulse,
    consumer::Consumer,
    postgres::{self, Offsets, relay, slot},
};
use service::{health::Health, settings::Common, tasks::Tasks, traces::Traced};
use sqlx::PgPool;
use web::{access::Verifier, gate::Gate};

use crate::{
    admission::Admission,
    answers::Answers,
    catalogue::Catalogue,
    config::Config,
    place::{Committer, Queue},
    settled::Settled,
};

/// What every part of the service shares.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Also the only clock that deadlines and events know: all instances share it.
    pub(crate) db: PgPool,
    pub(crate) verifier: Verifier,
    pub(crate) committer: Committer,
    pub(crate) settled: Arc<Settled>,
    /// How long a checkout may take to reach its pivot.
    pub(crate) checkout_deadline: SignedDuration,
}

/// Runs the service until it is told to stop, or one of its tasks fails.
///
/// # Errors
/// If the service cannot start, or a task ended early.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let db = connect(&config).await?;
    let Config { common, .. } = &config;
    let (broker, batch_max) = (common.broker(), common.batch_max as usize);
    broker.ensure_topics(&service::topics::specs()).await.context("the topics could not be created")?;
    let slot = slot(&db);
    relay::prepare(&db, &slot).await.context("the replication slot could not be created")?;
    let admission = Arc::new(Admission::new(config.open_sagas_max, config.open_sagas_per_customer_max));
    let (committer, queue) = Committer::new(config.waiting_orders_max as usize, admission);
    let checkout_deadline = SignedDuration::from_secs(config.checkout_deadline_s.into());
    let (verifier, settled) = (common.verifier()?, Arc::default());
    let app = App { db: db.clone(), verifier, committer, settled, checkout_deadline };

    let mut tasks = Tasks::new();
    let stop = tasks.stop_token();
    let relay_config = relay::RelayConfig {
        database_url: config.order_database_url.expose().clone(),
        slot,
        source: "order".into(),
        topics: service::topics::specs(),
        pulse: Pulse::new(),
    };
    let health = Health::until(&stop).relays(relay_config.pulse.clone());
    tasks.spawn("relay", relay::run(relay_config, db.clone(), broker.clone(), stop.clone()));
    let consumer = |group: &str, topics: &[&str]| {
        let consumer = Consumer::new(broker.clone(), group, topics, Offsets::new(db.clone()), batch_max);
        consumer.parked_keys_max(common.parked_keys_max).batch_timeout(common.work.duration())
    };
    let (orders, products) = (common.group("order"), common.group("order-catalogue"));
    let reads_answers = consumer(&orders, &answers::TOPICS);
    let reads_catalogue = consumer(&products, &[catalogue::TOPIC]);
    let health = health.consumes("answers", reads_answers.pulse()).consumes("catalogue", reads_catalogue.pulse());
    tasks.spawn("answers", reads_answers.run(Traced::new(&orders, Answers(app.clone())), stop.clone()));
    tasks.spawn("catalogue", reads_catalogue.run(Traced::new(&products, Catalogue(app.clone())), stop.clone()));
    let health = spawn_loops(&mut tasks, &app, queue, common, health);
    let listener =
        web::serve::listen(config.http_addr).with_context(|| format!("{} cannot be listened on", config.http_addr))?;
    let complete = Arc::new(AtomicBool::new(false));
    let offsets = Offsets::new(db.clone());
    tasks.spawn("catalogue watch", catalogue::watch(broker.clone(), offsets, Arc::clone(&complete), stop.clone()));
    let health = health.completes("copy of the catalogue", complete);
    let health = health.reaches_database(move || postgres::answers(db.clone()), &mut tasks);
    let health = health.reaches_broker(&broker, &mut tasks);
    let verifier = app.verifier.clone();
    let routes = http::routes(app)
        .merge(web::health::routes(health.look()))
        .merge(web::metrics::routes(verifier.clone(), service::metrics::render));
    let gate = Gate::for_principals(config.common.limits, verifier);
    tasks.spawn("metrics", service::metrics::upkeep(stop.clone()));
    tasks.spawn("http", web::serve::serve(listener, routes, gate, stop));
    tasks.run_until_stopped().await
}

/// Starts all that goes on without being asked. `health` then tells whether the orders and their sagas get on.
fn spawn_loops(tasks: &mut Tasks, app: &App, queue: Queue, common: &Common, health: Health) -> Health {
    let stop = tasks.stop_token();
    let (limit, batch_max) = (&common.work, common.batch_max as usize);
    let [commits, admits, wakes] = ["committer", "admission", "deadlines"].map(|name| limit.work(name));
    let health = health.does(&commits).does(&admits).does(&wakes);
    tasks.spawn("committer", place::run(app.clone(), queue, batch_max, commits, stop.clone()));
    tasks.spawn("admission", admission::run(app.clone(), admits, stop.clone()));
    tasks.spawn("deadlines", deadlines::run(app.clone(), wakes, stop.clone()));
    tasks.spawn("forget", forget::run(app.clone(), limit.work("forget"), stop.clone()));
    tasks.spawn("settled", settled::run(app.clone(), limit.work("settled"), stop));
    health
}

/// Connects, and brings the schema up to date.
async fn connect(config: &Config) -> anyhow::Result<PgPool> {
    let db = service::postgres::pool(config.order_database_url.expose(), config.database_connections).await?;
    sqlx::migrate!().run(&db).await.context("the schema could not be brought up to date")?;
    Ok(db)
}

#[cfg(test)]
#[path = "../tests/it/main.rs"]
mod it;

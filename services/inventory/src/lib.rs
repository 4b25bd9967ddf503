//! Inventory: owns products, prices and stock, and holds stock for orders. MongoDB.
//!
//! | module | holds |
//! |---|---|
//! | `messages` | batches of commands, and of orders' events, from Kafka |
//! | `writer` | the one stock writer of the process: every transaction that changes stock |
//! | `decide`, `hold`, `stock` | what becomes of a batch, of one order's hold, of the sums; pure |
//! | `request`, `receive`, `ship` | what an operator asks the stock writer for: pieces come in, pieces leave |
//! | `offer`, `catalogue` | products are created and changed; what a product is, pure |
//! | `republish` | what was said, sent again |
//! | `store` | all that knows BSON |
//! | `http`, `problem` | the API, and what can go wrong there |
//! | `meters` | what operators see of the stock |

mod catalogue;
pub mod config;
mod decide;
mod hold;
pub mod http;
pub mod messages;
mod meters;
mod offer;
mod problem;
mod receive;
mod republish;
mod request;
mod ship;
mod stock;
mod store;
mod transaction;
mod writer;

use std::sync::Arc;

use anyhow::Context;
use axum::extract::FromRef;
use contracts::Warehouse;
use messaging::{
    Pulse,
    consumer::Consumer,
    mongo::{self, relay},
};
use mongodb::Database;
use service::{
    clock::Clock,
    health::Health,
    tasks::Tasks,
    topics,
    traces::Traced,
    work::{Stuck, Work},
};
use web::{access::Verifier, gate::Gate};

use crate::{config::Config, messages::Messages, writer::Writer};

/// What every part of the service needs. Clones share all of it.
#[derive(Debug, Clone)]
pub struct App {
    db: Database,
    writer: Writer,
    clock: Clock,
    verifier: Verifier,
    /// Those that pieces can come into.
    warehouses: Arc<[Warehouse]>,
}

impl App {
    /// The service on `db`, and what its stock writer does within the limits of `work`; it ends once the last clone of the app
    /// is gone. Pieces can come into `warehouses`.
    pub fn new(
        db: Database,
        clock: Clock,
        verifier: Verifier,
        warehouses: Vec<Warehouse>,
        work: Work,
    ) -> (Self, impl Future<Output = Result<(), Stuck>> + Send + 'static) {
        let (writer, writing) = Writer::start(db.clone(), clock.clone(), work);
        (Self { db, writer, clock, verifier, warehouses: warehouses.into() }, writing)
    }

    /// What handles the messages from Kafka.
    pub fn messages(&self) -> Messages {
        Messages::new(self.writer.clone())
    }
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// Creates the collections that are missing in `db`.
///
/// # Errors
/// Whatever the database says.
pub async fn prepare(db: &Database) -> mongodb::error::Result<()> {
    mongo::prepare(db).await?;
    store::prepare(db).await
}

/// Runs the service until it is told to stop.
///
/// # Errors
/// It could not start, or a part of it failed.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let common = config.common.clone();
    let verifier = common.verifier()?;
    let db = store::connect(config.inventory_mongodb_url.expose()).await?;
    prepare(&db).await.context("cannot prepare the database")?;
    let broker = common.broker();
    broker.ensure_topics(&topics::specs()).await.context("cannot prepare the topics")?;
    let listener = web::serve::listen(config.http_addr);
    let listener = listener.with_context(|| format!("cannot listen on {}", config.http_addr))?;

    let mut tasks = Tasks::new();
    let stop = tasks.stop_token();
    let writes = common.work.work("stock writer");
    let (app, writing) = App::new(db.clone(), Clock::system(), verifier, config.warehouses, writes.clone());
    tasks.spawn("stock writer", writing);
    let offsets = mongo::Offsets::new(db.clone());
    let group = common.group(SERVICE);
    let consumer = Consumer::new(broker.clone(), &group, &messages::TOPICS, offsets, common.batch_max as usize);
    let consumer = consumer.parked_keys_max(common.parked_keys_max).batch_timeout(common.work.duration());
    let relay_pulse = Pulse::new();
    let health = Health::until(&stop).consumes("consumer", consumer.pulse()).relays(relay_pulse.clone()).does(&writes);
    let asked = db.clone();
    let health = health.reaches_database(move || mongo::answers(asked.clone()), &mut tasks);
    let health = health.reaches_broker(&broker, &mut tasks);
    tasks.spawn("consumer", consumer.run(Traced::new(&group, app.messages()), stop.clone()));
    let stop_relay = stop.clone();
    tasks.spawn(
        "relay",
        async move { relay::run(db, broker, SERVICE, &topics::specs(), relay_pulse, stop_relay).await },
    );
    let verifier = app.verifier.clone();
    let router = http::router(app)
        .merge(web::health::routes(health.look()))
        .merge(web::metrics::routes(verifier.clone(), service::metrics::render));
    let gate = Gate::for_principals(common.limits, verifier);
    tasks.spawn("metrics", service::metrics::upkeep(stop.clone()));
    tasks.spawn("http", web::serve::serve(listener, router, gate, stop));
    tasks.run_until_stopped().await
}

/// The name of the service: its consumer group, and the source its messages name.
const SERVICE: &str = "inventory";

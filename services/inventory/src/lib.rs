//! Inventory: owns products, prices and stock, and holds stock for orders. MongoDB.
//!
//! | module | holds |
//! |---|---|
//! | `commands` | batches of `HoldStock` and `ReleaseStock` from Kafka |
//! | `writer` | the one stock writer of the process: every transaction that changes stock |
//! | `decide`, `hold`, `stock` | what becomes of a batch, of one order's hold, of the sums; pure |
//! | `receive` | pieces come in |
//! | `offer`, `catalogue` | products are created and changed; what a product is, pure |
//! | `republish` | what was said, sent again |
//! | `store` | all that knows BSON |
//! | `http`, `problem` | the API, and what can go wrong there |

mod catalogue;
pub mod commands;
pub mod config;
mod decide;
mod hold;
pub mod http;
mod offer;
mod problem;
mod receive;
mod republish;
mod stock;
mod store;
mod transaction;
mod writer;

use anyhow::Context;
use axum::extract::FromRef;
use messaging::{
    Broker, Pulse,
    consumer::Consumer,
    mongo::{self, relay},
};
use mongodb::Database;
use service::{clock::Clock, health::Health, tasks::Tasks, topics};
use tokio::net::TcpListener;
use web::access::Verifier;

use crate::{commands::Commands, config::Config, writer::Writer};

/// What every part of the service needs. Clones share all of it.
#[derive(Debug, Clone)]
pub struct App {
    db: Database,
    writer: Writer,
    clock: Clock,
    verifier: Verifier,
}

impl App {
    /// The service on `db`, and the work of its stock writer, which ends once the last clone of the app is gone.
    pub fn new(db: Database, clock: Clock, verifier: Verifier) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (writer, work) = Writer::start(db.clone(), clock.clone());
        (Self { db, writer, clock, verifier }, work)
    }

    /// What handles the commands from Kafka.
    pub fn commands(&self) -> Commands {
        Commands::new(self.writer.clone())
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
    let verifier = verifier(&config)?;
    let db = store::connect(config.inventory_mongodb_url.expose()).await?;
    prepare(&db).await.context("cannot prepare the database")?;
    let broker = Broker { brokers: config.kafka_brokers, prefix: config.topic_prefix };
    broker.ensure_topics(&topics::specs()).await.context("cannot prepare the topics")?;
    let listener = TcpListener::bind(config.http_addr).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.http_addr))?;

    let mut tasks = Tasks::new();
    let stop = tasks.stop_token();
    let (app, writing) = App::new(db.clone(), Clock::system(), verifier);
    tasks.spawn("stock writer", async {
        writing.await;
        anyhow::Ok(())
    });
    let offsets = mongo::Offsets::new(db.clone());
    let group = format!("{}{SERVICE}", broker.prefix);
    let consumer = Consumer::new(broker.clone(), &group, &[commands::TOPIC], offsets, config.batch_max as usize);
    let consumer = consumer.parked_keys_max(config.parked_keys_max);
    let relay_pulse = Pulse::new();
    let health = Health::until(&stop).consumes("consumer", consumer.pulse()).relays(relay_pulse.clone());
    let asked = db.clone();
    let health = health.reaches_database(move || mongo::answers(asked.clone()), &mut tasks);
    let health = health.reaches_broker(&broker, &mut tasks);
    tasks.spawn("consumer", consumer.run(app.commands(), stop.clone()));
    let stop_relay = stop.clone();
    tasks.spawn(
        "relay",
        async move { relay::run(db, broker, SERVICE, &topics::specs(), relay_pulse, stop_relay).await },
    );
    let verifier = app.verifier.clone();
    let router = http::router(app)
        .merge(web::health::routes(health.look()))
        .merge(web::metrics::routes(verifier, service::metrics::render));
    tasks.spawn("metrics", service::metrics::upkeep(stop.clone()));
    tasks.spawn("http", web::serve::serve(listener, router, stop));
    tasks.run_until_stopped().await
}

/// The name of the service: its consumer group, and the source its messages name.
const SERVICE: &str = "inventory";

fn verifier(config: &Config) -> anyhow::Result<Verifier> {
    let file = &config.token_public_key_file;
    let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Verifier::from_pem(&pem).with_context(|| format!("cannot use {}", file.display()))
}

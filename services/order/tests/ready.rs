//! When the program says that it is ready: with real Kafka and Postgres, as a process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use contracts::{Currency, Message, Money, inventory::CatalogueEvent};
use messaging::{
    Broker,
    producer::{Committed, Producer},
};
use servers::{Guarded, Program, free_port};
use sqlx::PgPool;
use testkit::Proxy;
use tokio::time::Instant;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

/// What one order service works with.
struct Place {
    db: PgPool,
    url: String,
    broker: Broker,
    http: reqwest::Client,
}

/// A running order service.
struct Service {
    process: Guarded,
    health: String,
    http: reqwest::Client,
}

#[tokio::test]
async fn it_is_ready_once_its_copy_of_the_catalogue_has_all_there_was_and_until_it_stops() {
    let place = Place::new().await;
    let service = place.start();
    service.until("ready", 200).await; // An empty topic is read at once; its tables are there now.
    service.process.tell_to_stop();
    service.until("ready", 503).await;
    assert!(service.process.ended().await.success());

    place.produce(30).await;
    let mut other = place.db.begin().await.unwrap();
    sqlx::raw_sql("lock table product").execute(&mut *other).await.unwrap();
    let service = place.start();
    place.until_somebody_waits_for_the_products().await;
    assert_eq!(service.ask("live").await, Some(200));
    assert_eq!(service.ask("ready").await, Some(503), "its copy lacks products");
    other.rollback().await.unwrap();
    service.until("ready", 200).await;
    assert_eq!(place.count("select count(*) from product").await, 30);
    assert!(service.process.stop().await.success());
}

/// A database that refuses is waited for. One that has vanished looks like one that is slow, and a connection to it waits
/// for ever: only another process gets on.
#[tokio::test]
async fn it_says_so_and_ends_when_its_database_has_gone_without_a_word_and_the_next_one_works() {
    let place = Place::new().await;
    let (proxy, through) = Proxy::before(&place.url).await;
    let place = Place { url: through, ..place };
    let service = place.start();
    service.until("ready", 200).await;
    proxy.stall();
    service.until("ready", 503).await;
    assert_eq!(service.ask("live").await, Some(200));
    let deadline = Instant::now() + PATIENCE;
    while service.process.exit().is_none() {
        assert!(Instant::now() < deadline, "it waits for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = service.process.last_words();
    assert!(said.contains("it has gone without a word"), "{said}");
    assert!(!service.process.ended().await.success());

    proxy.forward();
    let service = place.start();
    service.until("ready", 200).await;
    assert!(service.process.stop().await.success());
}

impl Place {
    async fn new() -> Self {
        let testkit::TestDatabase { url, pool: db } = testkit::postgres().await.database().await;
        let prefix = format!("{}.", url.rsplit_once('/').unwrap().1);
        let broker = Broker { brokers: testkit::kafka().await.to_owned(), prefix };
        let public_key = web::access::generate_keys().1;
        std::fs::write(testkit::folder().join("public.pem"), public_key).unwrap();
        Self { db, url, broker, http: reqwest::Client::new() }
    }

    fn start(&self) -> Service {
        let port = free_port().unwrap();
        let log = testkit::folder().join("order.log");
        let process = Program::new("order", env!("CARGO_BIN_EXE_order"), log)
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("ORDER_DATABASE_URL", &self.url)
            .env("KAFKA_BROKERS", &self.broker.brokers)
            .env("TOPIC_PREFIX", &self.broker.prefix)
            .env("WORK_TIMEOUT_S", "10")
            .env("TOKEN_PUBLIC_KEY_FILE", testkit::folder().join("public.pem"));
        let health = format!("http://127.0.0.1:{port}/health");
        Service { process: process.start().unwrap(), health, http: self.http.clone() }
    }

    /// Says of so many products what they are.
    async fn produce(&self, products: usize) {
        let messages = (0..products).map(|number| {
            let product = CatalogueEvent::ProductChanged {
                sku: format!("P-{number}").parse().unwrap(),
                version: 1,
                name: "A product".into(),
                description: String::new(),
                category: "Tests".into(),
                price: Money::new(1290, Currency::EUR),
                vat_rate: 1900,
                at: "2026-11-21T09:30:00Z".parse().unwrap(),
            };
            let (key, kind, payload) = (product.key(), product.kind().into(), serde_json::to_string(&product).unwrap());
            let topic = CatalogueEvent::TOPIC.name().to_owned();
            Committed { id: Uuid::now_v7(), topic, key, kind, payload, traceparent: None }
        });
        let producer = Producer::new(&self.broker, "inventory").unwrap();
        producer.send(messages.collect()).await.unwrap();
    }

    async fn until_somebody_waits_for_the_products(&self) {
        let waits = "select count(*) from pg_locks where not granted and relation = 'product'::regclass";
        let deadline = Instant::now() + PATIENCE;
        while self.count(waits).await == 0 {
            assert!(Instant::now() < deadline, "the service does not take in the catalogue");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn count(&self, question: &'static str) -> i64 {
        sqlx::query_scalar(question).fetch_one(&self.db).await.unwrap()
    }
}

impl Service {
    /// The status of the answer; `None` if there is no answer.
    async fn ask(&self, what: &str) -> Option<u16> {
        let answer = self.http.get(format!("{}/{what}", self.health)).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    async fn until(&self, what: &str, status: u16) {
        let deadline = Instant::now() + PATIENCE;
        while self.ask(what).await != Some(status) {
            let (ended, said) = (self.process.exit(), self.process.last_words());
            assert!(Instant::now() < deadline && ended.is_none(), "no {status} came; it said: {said}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

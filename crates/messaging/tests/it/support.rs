//! A database, topics, a running relay and consumers, all of one test's own.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use messaging::{
    Batch, Broker, Condition, Consumer, HandleError, Handler, Offsets, Outgoing, Pulse, Retention, TopicSpec,
    consumer::ConsumerError,
    postgres::{self, inbox, outbox, relay},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
};
use sqlx::{PgConnection, PgPool};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

pub(crate) const TOPIC: &str = "events";
pub(crate) const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// What one test works with.
pub(crate) struct Bench {
    pub(crate) db: PgPool,
    pub(crate) broker: Broker,
    url: String,
    /// Of the database, and of its slot.
    name: String,
}

/// A task that ends when it is told to.
pub(crate) struct Running<E> {
    stop: CancellationToken,
    task: JoinHandle<Result<(), E>>,
    pulse: Pulse,
}

impl<E: std::fmt::Debug> Running<E> {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        self.task.await.unwrap_err();
    }

    /// How it is; it may be silent for two seconds.
    pub(crate) fn condition(&self) -> Condition {
        self.pulse.condition(Duration::from_secs(2))
    }

    /// Waits for an end that nobody asked for.
    pub(crate) async fn error(self) -> E {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap_err()
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::on(testkit::postgres().await).await
    }

    /// On a cluster of the test's own.
    pub(crate) async fn on(postgres: &testkit::TestPostgres) -> Self {
        Self::of(postgres, testkit::kafka().await).await
    }

    pub(crate) async fn of(postgres: &testkit::TestPostgres, brokers: &str) -> Self {
        recorded();
        logged();
        let testkit::TestDatabase { url, pool: db } = postgres.database().await;
        let name = url.rsplit_once('/').unwrap().1.to_owned();
        sqlx::raw_sql(include_str!("../../schema.sql")).execute(&db).await.unwrap();
        sqlx::raw_sql(
            "create table counter (key text primary key, n int not null);
             create table effect (place bigint generated always as identity, key text, n int);
             create table other (n int);",
        )
        .execute(&db)
        .await
        .unwrap();
        relay::prepare(&db, &name).await.unwrap();
        let broker = Broker { brokers: brokers.to_owned(), prefix: format!("{name}.") };
        broker.ensure_topics(&[spec()]).await.unwrap();
        Self { db, broker, url, name }
    }

    pub(crate) fn relay(&self) -> Running<relay::RelayError> {
        self.relay_as(self.url.clone())
    }

    /// One that reads the log as whoever `database_url` names.
    pub(crate) fn relay_as(&self, database_url: String) -> Running<relay::RelayError> {
        self.relay_over(database_url, self.db.clone())
    }

    /// One that asks the database over connections of its own, too.
    pub(crate) fn relay_over(&self, database_url: String, pool: PgPool) -> Running<relay::RelayError> {
        let config = relay::RelayConfig {
            database_url,
            slot: self.name.clone(),
            source: self.name.clone(),
            topics: vec![spec()],
            pulse: Pulse::new(),
        };
        let (pulse, stop) = (config.pulse.clone(), CancellationToken::new());
        let task = tokio::spawn(relay::run(config, pool, self.broker.clone(), stop.clone()));
        Running { stop, task, pulse }
    }

    pub(crate) fn consumer(&self, handler: impl Handler) -> Running<ConsumerError> {
        self.consumer_of_batches(500, handler)
    }

    pub(crate) fn consumer_of_batches(&self, max_batch: usize, handler: impl Handler) -> Running<ConsumerError> {
        self.consumer_that_parks(messaging::parked::KEYS_MAX, max_batch, handler)
    }

    pub(crate) fn consumer_that_parks(
        &self,
        keys_max: usize,
        max_batch: usize,
        handler: impl Handler,
    ) -> Running<ConsumerError> {
        let offsets = postgres::Offsets::new(self.db.clone());
        Self::run(self.member(offsets, max_batch).parked_keys_max(keys_max), handler)
    }

    /// One that has its offsets elsewhere.
    pub(crate) fn consumer_with(
        &self,
        offsets: impl Offsets,
        max_batch: usize,
        handler: impl Handler,
    ) -> Running<ConsumerError> {
        Self::run(self.member(offsets, max_batch), handler)
    }

    fn member<O: Offsets>(&self, offsets: O, max_batch: usize) -> Consumer<O> {
        Consumer::new(self.broker.clone(), &self.name, &[TOPIC], offsets, max_batch)
    }

    fn run(consumer: Consumer<impl Offsets>, handler: impl Handler) -> Running<ConsumerError> {
        let (pulse, stop) = (consumer.pulse(), CancellationToken::new());
        let task = tokio::spawn(consumer.run(handler, stop.clone()));
        Running { stop, task, pulse }
    }

    /// The position up to which the database may forget its log.
    pub(crate) async fn confirmed(&self) -> i64 {
        self.ask("select (confirmed_flush_lsn - '0/0')::bigint from pg_replication_slots where slot_name = $1").await
    }

    /// The same, as table `relay` knows it.
    pub(crate) async fn known(&self) -> i64 {
        self.ask("select coalesce((confirmed - '0/0')::bigint, 0) from relay where slot = $1").await
    }

    /// To where the log is written, or will be: a commit need not be on the disk when it returns.
    pub(crate) async fn log_end(&self) -> i64 {
        self.ask("select (pg_current_wal_insert_lsn() - '0/0')::bigint where $1 <> ''").await
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn slot(&self) -> String {
        self.name.clone()
    }

    /// The process of the database that feeds the relay.
    pub(crate) async fn reader_of_the_log(&self) -> Option<i32> {
        let question = "select active_pid from pg_replication_slots where slot_name = $1";
        sqlx::query_scalar(question).bind(&self.name).fetch_one(&self.db).await.unwrap()
    }

    /// Takes the slot away, from under a relay if there is one. One that is just being made is waited for: whoever makes it,
    /// killed each time, never would.
    pub(crate) async fn drop_slot(&self) {
        let unread = "select pg_terminate_backend(active_pid) from pg_replication_slots
                      where slot_name = $1 and active_pid is not null and confirmed_flush_lsn is not null";
        eventually("the slot is dropped", async || {
            sqlx::query(unread).bind(&self.name).execute(&self.db).await.unwrap();
            let drop = "select pg_drop_replication_slot($1)";
            sqlx::query(drop).bind(&self.name).execute(&self.db).await.is_ok()
        })
        .await;
    }

    /// Makes a slot as somebody would who does not know what it is for.
    pub(crate) async fn make_slot(&self) {
        let make = "select pg_create_logical_replication_slot($1, 'pgoutput')";
        sqlx::query(make).bind(&self.name).execute(&self.db).await.unwrap();
    }

    /// The metric `name` of this bench, summed over the rest of its labels. Nothing until it is measured.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = recorded().render();
        let ours = format!("=\"{}\"", self.name);
        let ours = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(&ours));
        let mut values = ours.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// The first column of the first row; `$1` is the name of the slot.
    pub(crate) async fn ask(&self, question: &'static str) -> i64 {
        sqlx::query_scalar(question).bind(&self.name).fetch_one(&self.db).await.unwrap()
    }

    /// Keys with their effects, in the order they took place.
    pub(crate) async fn effects(&self) -> HashMap<String, Vec<i32>> {
        let rows: Vec<(String, i32)> =
            sqlx::query_as("select key, n from effect order by place").fetch_all(&self.db).await.unwrap();
        let mut effects: HashMap<String, Vec<i32>> = HashMap::new();
        for (key, n) in rows {
            effects.entry(key).or_default().push(n);
        }
        effects
    }

    pub(crate) async fn count_effects(&self) -> i64 {
        self.ask("select count(*) from effect where $1 <> ''").await
    }

    /// Everything in the topic: key and message id.
    pub(crate) fn topic(&self) -> Vec<(String, Uuid)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.broker.brokers)
            .set("group.id", "reads all")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(&self.broker.full_name(TOPIC), partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let mut ends = 0;
        let mut seen = Vec::new();
        while ends < PARTITIONS {
            match consumer.poll(PATIENCE).unwrap() {
                Ok(message) => {
                    let id = message.headers().unwrap().iter().find(|header| header.key == "ce_id").unwrap();
                    let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
                    seen.push((key, Uuid::try_parse_ascii(id.value.unwrap()).unwrap()));
                }
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ends += 1,
                Err(error) => panic!("{error}"),
            }
        }
        seen
    }

    /// How many records the topic has ever had.
    pub(crate) async fn ends(&self) -> i64 {
        self.broker.ends(TOPIC).await.unwrap().into_iter().map(|(_, kept)| kept.end).sum()
    }

    /// Waits like [`eventually`], and tells what everything was like if it is not in time.
    pub(crate) async fn eventually(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            if Instant::now() >= deadline {
                panic!("not in time: {what}\n{}", self.standing().await);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What is in the outbox and in the topic, how far it is read, what is parked, and what was measured.
    async fn standing(&self) -> String {
        let table = async |query: &'static str| {
            let rows: Vec<String> = sqlx::query_scalar(query).fetch_all(&self.db).await.unwrap();
            format!("{query}:\n  {}\n", rows.join("\n  "))
        };
        let mut told = String::new();
        for query in [
            "select max(sequence)::text from outbox",
            "select row_to_json(place)::text from consumer_offset place order by topic, partition",
            "select row_to_json(relay)::text from relay",
            "select row_to_json(slot)::text from pg_replication_slots slot where database = current_database()",
            "select concat(key, ' up to ', max(n), ', ', count(*)) from effect group by key order by key",
            "select concat(topic, '/', partition, '@', place, ' ', key, ' ', reason, ' ', replay)
             from parked_message order by sequence limit 20",
            "select concat(state, ' ', wait_event, ' since ', now() - state_change, ': ', left(query, 80))
             from pg_stat_activity where datname = current_database()",
        ] {
            told.push_str(&table(query).await);
        }
        let ends = self.broker.ends(TOPIC).await;
        let measured = recorded().render();
        let ours: Vec<&str> = measured.lines().filter(|line| line.contains(&format!("=\"{}\"", self.name))).collect();
        format!("{told}the topic's ends: {ends:?}\n{}", ours.join("\n"))
    }

    /// Drops the slot, of which a server has few. The relays must have been stopped.
    pub(crate) async fn finish(self) {
        self.drop_slot().await;
    }
}

/// What is measured in this process, from the first call on.
fn recorded() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// What relays and consumers say is shown beside a test that fails. `RUST_LOG` says how much.
fn logged() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("messaging=debug"));
    // Another test may have been here first.
    tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().with_ansi(false).try_init().ok();
}

/// Waits until `holds` says yes.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn spec() -> TopicSpec {
    TopicSpec { name: TOPIC.into(), partitions: PARTITIONS, retention: Retention::Millis(3_600_000) }
}

pub(crate) fn message(key: &str, n: i32) -> Outgoing {
    Outgoing::new(TOPIC, key.to_owned(), "it.happened.v1", &n)
}

/// Puts message `n` of each key in one transaction of its own.
pub(crate) async fn commit(db: &PgPool, keys: &[&str], n: i32) {
    let mut tx = db.begin().await.unwrap();
    let messages: Vec<Outgoing> = keys.iter().map(|key| message(key, n)).collect();
    outbox::put(&mut tx, &messages).await.unwrap();
    tx.commit().await.unwrap();
}

/// Takes a batch in and writes its effects, without committing.
pub(crate) async fn take(conn: &mut PgConnection, batch: &Batch) -> Result<(), HandleError> {
    let fresh = inbox::accept(conn, batch).await?;
    let keys: Vec<&str> = fresh.iter().map(|record| record.key.as_str()).collect();
    let numbers = fresh.iter().map(|record| record.decode()).collect::<Result<Vec<i32>, _>>()?;
    sqlx::query("insert into effect (key, n) select * from unnest($1::text[], $2::int[])")
        .bind(keys)
        .bind(numbers)
        .execute(conn)
        .await?;
    Ok(())
}

/// A handler as a service has it.
#[derive(Clone)]
pub(crate) struct Take(pub(crate) PgPool);

impl Handler for Take {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let mut tx = self.0.begin().await?;
        take(&mut tx, batch).await?;
        Ok(tx.commit().await?)
    }
}

/// A handler made of a function.
pub(crate) struct With<F>(pub(crate) F);

impl<F, R> Handler for With<F>
where
    F: Fn(Arc<Batch>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), HandleError>> + Send,
{
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        (self.0)(Arc::new(batch.clone())).await
    }
}

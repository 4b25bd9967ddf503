//! A consumer that was away for long has much to read, and takes no more memory for it.

use std::{
    env,
    process::Stdio,
    time::{Duration, Instant},
};

use messaging::{Batch, Broker, Consumer, postgres::Offsets};
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use sqlx::PgPool;
use tokio::{process::Command, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Bench, TOPIC, With, take};

const MESSAGES: i64 = 100_000;
/// Spaces around the number, so that all messages together are 100 MB.
const WIDTH: usize = 1_000;
/// What the messages may take up, of those 100 MB. Kafka's client fetches ahead 16 MB of values
/// (`queued.max.messages.kbytes`), and 1 MB of each of three partitions more. Headers, and what it keeps of each message,
/// are as much again as half of them; a batch is 500 messages, in a few copies. Memory that was given back stays with us.
const BOUND_MB: u64 = 64;
/// What the handler does besides.
const SLOW: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);
/// The test, as its program calls it.
const US: &str = "backlog::a_backlog_of_100_000_messages_takes_no_more_memory_than_is_fetched_ahead";

impl Bench {
    /// Fills the topic, as relays do.
    fn fill(&self) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.brokers).set("linger.ms", "5").set("acks", "all");
        let producer: BaseProducer = config.create().unwrap();
        let topic = self.broker.full_name(TOPIC);
        for n in 0..MESSAGES {
            let (id, key, value) = (Uuid::now_v7().to_string(), (n % 100).to_string(), format!("{:WIDTH$}", n / 100));
            let headers = [("ce_id", id.as_str()), ("ce_type", "it.happened.v1"), ("ce_generation", "1")];
            let add = |all: OwnedHeaders, (key, value)| all.insert(Header { key, value: Some(value) });
            let headers = headers.into_iter().fold(OwnedHeaders::new(), add);
            let mut record = BaseRecord::to(&topic).key(&key).payload(&value).headers(headers);
            while let Err((error, refused)) = producer.send(record) {
                assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                producer.poll(Duration::from_millis(10));
                record = refused;
            }
        }
        producer.flush(PATIENCE).unwrap();
    }
}

/// The memory of this process: what it takes now (`VmRSS`), and the most it ever took (`VmHWM`). Unit: MB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kilobytes = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    kilobytes.trim_matches(|sign: char| !sign.is_ascii_digit()).parse::<u64>().unwrap() / 1024
}

/// The reader is this test once more, in a process of its own, whose memory it is about.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_100_000_messages_takes_no_more_memory_than_is_fetched_ahead() {
    if let Ok(database) = env::var("BACKLOG_DATABASE") {
        return read_slowly(&database).await;
    }
    let bench = Bench::new().await;
    bench.fill();
    let begun = Instant::now();
    let reader = Command::new(env::current_exe().unwrap())
        .args(["--exact", US, "--nocapture"])
        .env("BACKLOG_DATABASE", bench.url())
        .env("BACKLOG_BROKERS", &bench.broker.brokers)
        .env("BACKLOG_PREFIX", &bench.broker.prefix)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = timeout(PATIENCE, reader.wait_with_output()).await.expect("it catches up").unwrap();
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{said}");
    let (_, grown) = said.split_once("grown by MB: ").unwrap();
    let grown: u64 = grown.lines().next().unwrap().parse().unwrap();
    eprintln!("{MESSAGES} messages of {WIDTH} bytes in {took:?}, with {grown} MB");
    assert!(grown < BOUND_MB, "{grown} MB");
    for (key, numbers) in bench.effects().await {
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>(), "{key}");
    }
    assert_eq!(bench.count_effects().await, MESSAGES);
    bench.finish().await;
}

async fn read_slowly(database: &str) {
    let var = |name| env::var(name).unwrap();
    let db = PgPool::connect(database).await.unwrap();
    let broker = Broker { brokers: var("BACKLOG_BROKERS"), prefix: var("BACKLOG_PREFIX") };
    let consumer = Consumer::new(broker, "backlog", &[TOPIC], Offsets::new(db.clone()), 500);
    let (stop, takes) = (CancellationToken::new(), db.clone());
    let before = memory("VmRSS:");
    let reading = tokio::spawn(consumer.run(
        With(move |batch: std::sync::Arc<Batch>| {
            let db = takes.clone();
            async move {
                tokio::time::sleep(SLOW).await;
                let mut tx = db.begin().await?;
                take(&mut tx, &batch).await?;
                Ok(tx.commit().await?)
            }
        }),
        stop.clone(),
    ));
    let done = async || -> i64 { sqlx::query_scalar("select count(*) from effect").fetch_one(&db).await.unwrap() };
    timeout(PATIENCE, async {
        while done().await < MESSAGES {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    let grown = memory("VmHWM:") - before;
    stop.cancel();
    reading.await.unwrap().unwrap();
    println!("grown by MB: {grown}");
}

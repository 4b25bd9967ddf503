//! A closed loop of customers: each places an order, waits until it has settled, and places the next.
//!
//! What it costs is read from the kernel's own accounting, for every process of the shop but this one.

mod cpu;
mod report;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use contracts::{CustomerId, Sku};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use rand::Rng;
use reqwest::{Response, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use cpu::{Cost, Usage};
pub use report::Report;

/// How long a customer waits for an order to settle, in seconds.
const WAIT_S: u32 = 30;
/// Who is told that the service has no room comes again so long after, if nobody says when.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A service that has had no room for so long will have none.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most lines of one order.
const LINES: usize = 3;
/// The most pieces of one line.
const PIECES: u32 = 2;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Orders that are measured.
    pub orders: u64,
    /// Orders placed before, and not measured.
    pub warm_up: u64,
    /// Customers at once.
    pub connections: u64,
    /// How many of a hundred cards are declined.
    pub declined_percent: u8,
}

/// Whom to do it to. Its `Debug` shows no token.
#[derive(Clone)]
pub struct Target {
    /// The order services, each `http://host:port`; customers are dealt out over them.
    pub order_urls: Vec<String>,
    /// The inventory service.
    pub inventory_url: String,
    /// The billing service, which must know who customers are before they order.
    pub billing_url: String,
    /// Customers, each with an access token; they are dealt out, too.
    pub customers: Vec<(CustomerId, String)>,
    /// Every process of the shop: its name, and its id or that of its parent.
    pub processes: Vec<(String, u32)>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { order_urls, inventory_url, billing_url, customers: _, processes } = self;
        let mut shown = f.debug_struct("Target");
        shown.field("order_urls", order_urls).field("inventory_url", inventory_url).field("billing_url", billing_url);
        shown.field("processes", processes).finish_non_exhaustive()
    }
}

/// How orders ended, and how long each took.
#[derive(Debug, Clone)]
struct Tally {
    confirmed: u64,
    cancelled: u64,
    /// How often a customer was told to come again later, and did.
    came_again: u64,
    /// From the first request to the settled order. Unit: microseconds.
    latency_us: Histogram<u64>,
}

/// Runs the load: first the warm-up, then what is measured.
///
/// # Errors
/// If the shop cannot be reached, has no room for a minute, refuses an order, or does not settle one in time.
pub async fn run(target: &Target, load: &Load) -> anyhow::Result<Report> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(usize::MAX).tcp_nodelay(true).build()?;
    let skus = skus(&client, target).await?;
    introduce(&client, target).await.context("billing could not be told who the customers are")?;
    if load.warm_up > 0 {
        place(&client, target, load, &skus, load.warm_up, "warming up").await?;
    }
    let (before, began) = (Usage::now(&target.processes)?, Instant::now());
    let tally = place(&client, target, load, &skus, load.orders, "measuring").await?;
    let took = began.elapsed();
    let cost = Usage::now(&target.processes)?.since(&before);
    Ok(Report::new(load, &tally, took, cost))
}

/// Gives each customer a name and an address: nobody else may order.
async fn introduce(client: &reqwest::Client, target: &Target) -> anyhow::Result<()> {
    let who = json!({ "name": "Ada Lovelace", "address": ["Ockham Park", "Surrey"], "country": "GB" });
    for (id, token) in &target.customers {
        let put = client.put(format!("{}/v1/customers/{id}", target.billing_url)).bearer_auth(token).json(&who);
        put.send().await?.error_for_status()?;
    }
    Ok(())
}

async fn place(
    client: &reqwest::Client,
    target: &Target,
    load: &Load,
    skus: &[Sku],
    orders: u64,
    phase: &'static str,
) -> anyhow::Result<Tally> {
    let style =
        ProgressStyle::with_template("{prefix:>12} [{bar:40}] {pos}/{len} {per_sec}").expect("the template is one");
    let bar = ProgressBar::new(orders).with_style(style.progress_chars("=> ")).with_prefix(phase);
    let taken = std::sync::Arc::new(AtomicU64::new(0));
    let mut customers = JoinSet::new();
    for number in 0..load.connections {
        let customer = Customer::new(client, target, load, skus, number);
        let (taken, bar) = (taken.clone(), bar.clone());
        customers.spawn(async move {
            let mut tally = Tally::new();
            while taken.fetch_add(1, Ordering::Relaxed) < orders {
                customer.order(&mut tally).await?;
                bar.inc(1);
            }
            anyhow::Ok(tally)
        });
    }
    let mut all = Tally::new();
    while let Some(tally) = customers.join_next().await {
        all.add(&tally??)?;
    }
    bar.finish_and_clear();
    Ok(all)
}

/// One customer, with a connection of its own.
struct Customer {
    client: reqwest::Client,
    url: String,
    authorization: String,
    skus: Vec<Sku>,
    declined_percent: u8,
}

#[derive(Serialize)]
struct Order<'s> {
    lines: Vec<Line<'s>>,
    payment_token: &'static str,
}

#[derive(Serialize)]
struct Line<'s> {
    sku: &'s Sku,
    quantity: u32,
}

#[derive(Deserialize)]
struct Settled {
    id: Uuid,
    status: String,
}

impl Customer {
    fn new(client: &reqwest::Client, target: &Target, load: &Load, skus: &[Sku], number: u64) -> Self {
        let place = usize::try_from(number).unwrap_or(0);
        let url = &target.order_urls[place % target.order_urls.len()];
        let (_, token) = &target.customers[place % target.customers.len()];
        Self {
            client: client.clone(),
            url: format!("{url}/v1/orders"),
            authorization: format!("Bearer {token}"),
            skus: skus.to_vec(),
            declined_percent: load.declined_percent,
        }
    }

    async fn order(&self, tally: &mut Tally) -> anyhow::Result<()> {
        let order = self.choose();
        let (key, began) = (Uuid::now_v7().to_string(), Instant::now());
        let answer = loop {
            let request = self.client.post(&self.url).header("authorization", &self.authorization);
            let request = request.header("idempotency-key", &key).header("prefer", format!("wait={WAIT_S}"));
            let answer = request.json(&order).send().await?;
            let comes_again =
                [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status());
            if !comes_again || began.elapsed() > PATIENCE {
                break answer;
            }
            tally.came_again += 1;
            tokio::time::sleep(later(&answer)).await;
        };
        let status = answer.status();
        if !status.is_success() {
            bail!("an order was refused with {status}: {}", answer.text().await?);
        }
        let settled: Settled = answer.json().await?;
        match settled.status.as_str() {
            "confirmed" => tally.confirmed += 1,
            "cancelled" => tally.cancelled += 1,
            other => bail!("order {} is still {other} after {WAIT_S} s", settled.id),
        }
        tally.latency_us.record(u64::try_from(began.elapsed().as_micros())?)?;
        Ok(())
    }

    fn choose(&self) -> Order<'_> {
        let mut random = rand::rng();
        let mut lines: Vec<Line<'_>> = Vec::new();
        for _ in 0..random.random_range(1..=LINES) {
            let sku = &self.skus[random.random_range(0..self.skus.len())];
            if lines.iter().all(|line| line.sku != sku) {
                lines.push(Line { sku, quantity: random.random_range(1..=PIECES) });
            }
        }
        let declined = random.random_range(0..100) < self.declined_percent;
        Order { lines, payment_token: if declined { "tok_authorize_declined" } else { "tok_ok" } }
    }
}

/// When to come again, as the answer says.
fn later(answer: &Response) -> Duration {
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    seconds.map_or(ASK_AGAIN_AFTER, Duration::from_secs)
}

impl Tally {
    fn new() -> Self {
        let latency_us = Histogram::new(3).expect("3 significant figures are allowed");
        Self { confirmed: 0, cancelled: 0, came_again: 0, latency_us }
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.confirmed += other.confirmed;
        self.cancelled += other.cancelled;
        self.came_again += other.came_again;
        Ok(self.latency_us.add(&other.latency_us)?)
    }

    fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency_us.value_at_percentile(percent))
    }
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Product>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Product {
    sku: Sku,
}

/// Every SKU that has plenty of stock.
async fn skus(client: &reqwest::Client, target: &Target) -> anyhow::Result<Vec<Sku>> {
    let mut skus = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let url = format!("{}/v1/products?limit=100{after}", target.inventory_url);
        let page: Page = client.get(&url).send().await.and_then(reqwest::Response::error_for_status)?.json().await?;
        skus.extend(page.data.into_iter().map(|product| product.sku));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if skus.is_empty() {
        bail!("the shop has no products: run `cargo shop up` first");
    }
    in_plenty(client, target, skus).await.context("the stock could not be looked up")
}

#[derive(Deserialize)]
struct Stock {
    available: i64,
}

/// Fewer pieces than this, and a SKU is left alone: the load shall measure sales, not refusals.
const PLENTY: i64 = 1000;

async fn in_plenty(client: &reqwest::Client, target: &Target, skus: Vec<Sku>) -> anyhow::Result<Vec<Sku>> {
    let mut plenty = Vec::new();
    for sku in skus {
        let url = format!("{}/v1/stock/{sku}", target.inventory_url);
        let (_, token) = &target.customers[0];
        let request = client.get(url).bearer_auth(token);
        let stock: Stock = request.send().await.and_then(reqwest::Response::error_for_status)?.json().await?;
        if stock.available >= PLENTY {
            plenty.push(sku);
        }
    }
    if plenty.is_empty() {
        bail!("no product has {PLENTY} pieces left: start afresh with `cargo shop up --fresh`");
    }
    Ok(plenty)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn tokens_are_not_shown() {
        let customers = vec![(CustomerId::mint(), "canary".to_owned())];
        let [inventory_url, billing_url] = ["http://host", "http://other"].map(str::to_owned);
        let target = Target { order_urls: Vec::new(), inventory_url, billing_url, customers, processes: Vec::new() };
        let shown = format!("{target:?}");
        assert!(shown.contains("http://host") && !shown.contains("canary"), "{shown}");
    }

    #[tokio::test]
    async fn who_finds_no_room_comes_again_with_the_same_key() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let order_urls = vec![format!("http://{}", listener.local_addr().unwrap())];
        let (customers, processes) = (vec![(CustomerId::mint(), String::new())], Vec::new());
        let (inventory_url, billing_url) = (String::new(), String::new());
        let target = Target { order_urls, inventory_url, billing_url, customers, processes };
        let load = Load { orders: 1, warm_up: 0, connections: 1, declined_percent: 0 };
        let skus = ["SKU-1".parse().unwrap()];
        let client = reqwest::Client::new();
        let placed = place(&client, &target, &load, &skus, 1, "measuring");
        let (keys, tally) = tokio::join!(busy_once(listener), placed);
        let tally = tally.unwrap();
        assert_eq!((tally.confirmed, tally.came_again), (1, 1));
        assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    }

    /// A service that has no room at first, and takes the order then. Gives the idempotency keys of the two requests.
    async fn busy_once(listener: TcpListener) -> Vec<String> {
        let no_room = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
        let order = format!(r#"{{"id":"{}","status":"confirmed"}}"#, Uuid::nil());
        let taken = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{order}", order.len());
        let (stream, _) = listener.accept().await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let mut keys = Vec::new();
        for answer in [no_room, &taken] {
            // The headers end with an empty line. The body has none, and stands in front of the next request.
            while let Some(line) = lines.next_line().await.unwrap()
                && !line.is_empty()
            {
                keys.extend(line.strip_prefix("idempotency-key: ").map(str::to_owned));
            }
            lines.get_mut().write_all(answer.as_bytes()).await.unwrap();
        }
        keys
    }
}

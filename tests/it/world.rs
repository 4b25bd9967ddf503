//! A shop, and customers who buy from it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use contracts::{Currency, CustomerId, Money};
use serde::Deserialize;
use serde_json::{Value, json};
use shop::{Options, Service, Shop, audit::Verdict, programs, rebuild::Rebuilt};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use uuid::Uuid;
use web::access::Principal;

/// Whatever is waited for and has not come by then does not come, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The card that works.
pub(crate) const OK: &str = "tok_ok";

/// A shop and its operator.
pub(crate) struct World {
    pub(crate) shop: Shop,
    operator: String,
    customers: AtomicUsize,
    /// Held until the shop is gone.
    _room: Option<SemaphorePermit<'static>>,
}

/// An order as its customer sees it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    pub(crate) version: u32,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) cancel_reason: Value,
}

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Customer {
    pub(crate) client: reqwest::Client,
    /// Of the order service's processes, the one that is asked first in front.
    urls: Vec<String>,
    pub(crate) token: String,
    /// Where billing is told who this is, at the first order.
    pub(crate) put: String,
    pub(crate) who: Value,
    introduced: Arc<OnceCell<()>>,
}

/// The shop that tests share which leave its processes alone.
pub(crate) async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_init(|| World::start("shared", 1, Vec::new(), None)).await
}

/// For three shops of their own.
static ROOM: Semaphore = Semaphore::const_new(3);

impl World {
    /// A shop of its own, called `name`, with so many processes of each service. Three such shops are up at a time: while one
    /// waits, for a server to come back or a card that takes its time, the others work.
    pub(crate) async fn new(name: &str, replicas: u16) -> Self {
        Self::start(name, replicas, Vec::new(), Some(ROOM.acquire().await.unwrap())).await
    }

    /// The same, whose services are set to this besides.
    pub(crate) async fn set_to(name: &str, settings: Vec<(&'static str, String)>) -> Self {
        Self::start(name, 1, settings, Some(ROOM.acquire().await.unwrap())).await
    }

    async fn start(
        name: &str,
        replicas: u16,
        settings: Vec<(&'static str, String)>,
        room: Option<SemaphorePermit<'static>>,
    ) -> Self {
        static BUILT: LazyLock<PathBuf> = LazyLock::new(|| programs::for_test().unwrap());
        let bin_dir = BUILT.clone();
        // No order is given up before its test is, however slow the machine.
        let settings = [("CHECKOUT_DEADLINE_S", PATIENCE.as_secs().to_string())].into_iter().chain(settings).collect();
        let options = Options { replicas, settings, ..Options::for_test(testkit::folder().join(name), bin_dir) };
        let shop = Shop::start(options).await.unwrap_or_else(|error| panic!("no shop for tests: {error}"));
        let operator = shop.token(&Principal::Operator).unwrap();
        Self { shop, operator, customers: AtomicUsize::new(0), _room: room }
    }

    /// Somebody who buys; customers are dealt out over the order service's processes.
    pub(crate) fn customer(&self) -> Customer {
        self.customer_called(json!({ "name": "Ada Lovelace", "address": ["Ockham Park", "Surrey"], "country": "GB" }))
    }

    /// The same, who says to be `who`.
    pub(crate) fn customer_called(&self, who: Value) -> Customer {
        let id = CustomerId::mint();
        let token = self.shop.token(&Principal::Customer(id)).unwrap();
        let put = format!("{}/v1/customers/{id}", self.shop.url(Service::Billing));
        let mut urls = self.shop.state().services[&Service::Order].clone();
        let first = self.customers.fetch_add(1, Ordering::Relaxed) % urls.len();
        urls.rotate_left(first);
        Customer { client: client(), urls, token, put, who, introduced: Arc::default() }
    }

    /// What the process `name` has written to its log.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.shop.folder().join("logs").join(format!("{name}.log"))).unwrap()
    }

    /// A product of this test alone, with so many pieces. Waits until it can be ordered.
    pub(crate) async fn product(&self, sku: &str, pieces: u32) {
        self.product_at(sku, pieces, Money::new(1290, Currency::EUR), 1900).await;
    }

    /// The same at this price, with VAT at this rate in it.
    pub(crate) async fn product_at(&self, sku: &str, pieces: u32, price: Money, vat_rate: u32) {
        let url = self.shop.url(Service::Inventory);
        let product = json!({
            "name": sku, "description": "For a test.", "category": "Tests", "price": price, "vat_rate": vat_rate,
        });
        let put = client().put(format!("{url}/v1/products/{sku}")).bearer_auth(&self.operator).json(&product);
        put.send().await.unwrap().error_for_status().unwrap();
        if pieces > 0 {
            let receipt = client().post(format!("{url}/v1/stock/{sku}/receipts")).bearer_auth(&self.operator);
            let body = json!({ "warehouse": "HAMBURG", "pieces": pieces });
            let receipt = receipt.header("idempotency-key", format!("first-{sku}")).json(&body);
            receipt.send().await.unwrap().error_for_status().unwrap();
        }
        let customer = self.customer();
        let known = async {
            // A quantity beyond all stock: refused by inventory once the order service knows the product.
            while customer.post(&Uuid::now_v7().to_string(), sku, 10_000, OK).await.status().as_u16() == 422 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("the product reaches the order service");
    }

    /// More pieces of a product come into a warehouse.
    pub(crate) async fn receive(&self, sku: &str, warehouse: &str, pieces: u32) {
        let body = json!({ "warehouse": warehouse, "pieces": pieces });
        let path = format!("/v1/stock/{sku}/receipts");
        let (status, answer) = self.operate_inventory(&path, &format!("{sku}-{warehouse}"), &body).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// Posts to inventory, as an operator. It may be down, or be coming up.
    pub(crate) async fn operate_inventory(&self, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.shop.url(Service::Inventory));
        let answered = async {
            loop {
                let post = client().post(&url).bearer_auth(&self.operator).header("idempotency-key", key);
                if let Ok(answer) = post.json(body).send().await {
                    return (answer.status().as_u16(), answer.json().await.unwrap_or_default());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("inventory answers")
    }

    /// One metric of the first process of `service`.
    pub(crate) async fn metric(&self, service: &str, name: &str) -> f64 {
        self.metric_if_any(service, name).await.unwrap_or_else(|| panic!("{service} does not measure {name}"))
    }

    /// The same, unless it has measured nothing yet. It may be coming up, or have much to do.
    pub(crate) async fn metric_if_any(&self, service: &str, name: &str) -> Option<f64> {
        let told = async {
            loop {
                match self.shop.metric(service, name).await {
                    Ok(value) => return value,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("{service} tells {name}"))
    }

    /// Has all orders folded anew.
    pub(crate) async fn rebuild(&self) -> Rebuilt {
        shop::rebuild::rebuild(&self.shop.state(), self.operator.clone()).await.unwrap()
    }

    /// Pieces on hand, and pieces held.
    pub(crate) async fn stock(&self, sku: &str) -> (i64, i64) {
        let stock = self.ask(Service::Inventory, &format!("/v1/stock/{sku}")).await;
        (stock["on_hand"].as_i64().unwrap(), stock["held"].as_i64().unwrap())
    }

    pub(crate) async fn payment(&self, order: Uuid) -> String {
        self.ask(Service::Billing, &format!("/v1/payments/{order}")).await["state"].as_str().unwrap().to_owned()
    }

    /// What the payment provider has written down.
    pub(crate) async fn witness(&self) -> Vec<Value> {
        let url = format!("{}/v1/log", self.shop.state().stores.provider);
        let log = reqwest::get(url).await.unwrap().error_for_status().unwrap().text().await.unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Has some of an order's payment returned. Whatever goes wrong on the way, the request is repeated.
    pub(crate) async fn refund(&self, order: Uuid, key: &str, amount: Money) {
        let body = json!({ "amount": amount });
        self.operate(&format!("/v1/payments/{order}/refunds"), key, &body).await;
    }

    /// Has what is parked of an order's payment asked again.
    pub(crate) async fn resume(&self, order: Uuid) {
        self.operate(&format!("/v1/payments/{order}/resume"), "resume", &Value::Null).await;
    }

    /// Posts to billing until it is answered. That it does not apply is an answer too, but for an order that is confirmed
    /// and whose invoice is about to be issued.
    async fn operate(&self, path: &str, key: &str, body: &Value) {
        let answered = async {
            loop {
                let post = client().post(format!("{}{path}", self.shop.url(Service::Billing)));
                let post = post.bearer_auth(&self.operator).header("idempotency-key", key).json(body);
                if let Ok(answer) = post.send().await
                    && !answer.status().is_server_error()
                    && answer.json::<Value>().await.unwrap_or_default()["code"] != "not_invoiced"
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("billing answers");
    }

    /// Waits until nothing of an order's refunds is open, and gives their states.
    pub(crate) async fn refunded(&self, order: Uuid) -> Vec<String> {
        let url = format!("{}/v1/payments/{order}/refunds", self.shop.url(Service::Billing));
        let settled = async {
            loop {
                if let Ok(answer) = client().get(&url).bearer_auth(&self.operator).send().await
                    && let Ok(body) = answer.json::<Value>().await
                    && let Some(refunds) = body["data"].as_array()
                    && refunds.iter().all(|refund| refund["state"] != "open")
                {
                    return refunds.iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), settled).await.expect("the refunds settle")
    }

    /// The state of a payment that there may not be yet.
    pub(crate) async fn known_payment(&self, order: Uuid) -> Option<String> {
        let url = format!("{}/v1/payments/{order}", self.shop.url(Service::Billing));
        let answer = client().get(url).bearer_auth(&self.operator).send().await.ok()?.error_for_status().ok()?;
        Some(answer.json::<Value>().await.ok()?["state"].as_str()?.to_owned())
    }

    pub(crate) async fn ask(&self, service: Service, path: &str) -> Value {
        let url = format!("{}{path}", self.shop.url(service));
        let answer = client().get(url).bearer_auth(&self.operator).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    /// Audits the shop: the books must add up, and every predicate must have been shown.
    pub(crate) async fn audit(&self) -> BTreeMap<&'static str, usize> {
        let report = self.shop.audit().await.unwrap();
        assert_eq!(report.verdict(), Verdict::True, "{report}");
        report.findings.iter().map(|finding| (finding.predicate, finding.examined)).collect()
    }
}

impl Customer {
    /// Buys, and waits until the order has settled.
    pub(crate) async fn buy(&self, sku: &str, quantity: u32, token: &str) -> Order {
        self.buy_with(&Uuid::now_v7().to_string(), sku, quantity, token).await
    }

    /// Buys under a key. Whatever goes wrong on the way, the request is repeated until it is answered.
    pub(crate) async fn buy_with(&self, key: &str, sku: &str, quantity: u32, token: &str) -> Order {
        let settled = async {
            self.introduce().await;
            loop {
                let answer = self.request(key, sku, quantity, token).header("prefer", "wait=5").send().await;
                if let Ok(answer) = answer
                    && answer.status().is_success()
                    && let Ok(order) = answer.json::<Order>().await
                    && order.status != "pending"
                {
                    return order;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), settled).await.expect("the order settles")
    }

    /// Cancels the order: the status of the answer, and what it says.
    pub(crate) async fn cancel(&self, order: Uuid) -> (u16, Value) {
        let cancel =
            self.client.post(format!("{}/v1/orders/{order}/cancellation", self.urls[0])).bearer_auth(&self.token);
        let answer = cancel.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Cancels the order, caused by `traceparent`.
    pub(crate) async fn cancel_within(&self, order: Uuid, traceparent: &str) -> reqwest::StatusCode {
        let cancel = self.client.post(format!("{}/v1/orders/{order}/cancellation", self.urls[0]));
        let cancel = cancel.bearer_auth(&self.token).header("traceparent", traceparent);
        cancel.send().await.unwrap().status()
    }

    /// The order as it is now.
    pub(crate) async fn show(&self, order: Uuid) -> Order {
        serde_json::from_value(self.view(order, "").await).unwrap()
    }

    /// What stands at the order's address, or behind it.
    pub(crate) async fn view(&self, order: Uuid, rest: &str) -> Value {
        loop {
            let url = format!("{}/v1/orders/{order}{rest}", self.urls[0]);
            let asked = self.client.get(url).bearer_auth(&self.token).send().await;
            match asked.and_then(reqwest::Response::error_for_status) {
                Ok(answer) => return answer.json().await.unwrap(),
                // Its service may be down, or be coming up.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Tells billing a name and an address, once. Whatever goes wrong on the way, it is told again.
    pub(crate) async fn introduce(&self) {
        let told = async || {
            let put = self.client.put(&self.put).bearer_auth(&self.token).json(&self.who).send().await;
            put.is_ok_and(|answer| answer.status().is_success())
        };
        let introduced = self.introduced.get_or_init(async || {
            while !told().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        introduced.await;
    }

    pub(crate) async fn post(&self, key: &str, sku: &str, quantity: u32, token: &str) -> reqwest::Response {
        self.introduce().await;
        self.request(key, sku, quantity, token).send().await.unwrap()
    }

    pub(crate) async fn post_lines(&self, key: &str, lines: &Value, token: &str) -> reqwest::Response {
        self.introduce().await;
        self.request_of(key, lines, token).send().await.unwrap()
    }

    fn request(&self, key: &str, sku: &str, quantity: u32, token: &str) -> reqwest::RequestBuilder {
        self.request_of(key, &json!([{ "sku": sku, "quantity": quantity }]), token)
    }

    fn request_of(&self, key: &str, lines: &Value, token: &str) -> reqwest::RequestBuilder {
        self.request_at(0, key, lines, token)
    }

    /// The same request at one process of the order service after the other, by the number of the attempt.
    pub(crate) fn request_at(&self, attempt: usize, key: &str, lines: &Value, token: &str) -> reqwest::RequestBuilder {
        let order = json!({ "lines": lines, "payment_token": token });
        let url = format!("{}/v1/orders", self.urls[attempt % self.urls.len()]);
        self.client.post(url).bearer_auth(&self.token).header("idempotency-key", key).json(&order)
    }
}

/// `orders` orders at once: of every ten, six are confirmed, two declined, one is declined when it is captured, and one
/// is out of stock (there are fewer than 10,000 pieces).
pub(crate) async fn many(world: &Arc<World>, sku: &'static str, orders: usize) -> Vec<Order> {
    let mut buying = tokio::task::JoinSet::new();
    for number in 0..orders {
        let customer = world.customer();
        let (quantity, token) = match number % 10 {
            0..6 => (1, OK),
            6..8 => (1, "tok_authorize_declined"),
            8 => (1, "tok_capture_declined"),
            _ => (10_000, OK),
        };
        buying.spawn(async move { customer.buy(sku, quantity, token).await });
    }
    buying.join_all().await
}

/// A client for this test: its connections live in the runtime of the test that made them, and die with it.
fn client() -> reqwest::Client {
    reqwest::Client::builder().build().unwrap()
}

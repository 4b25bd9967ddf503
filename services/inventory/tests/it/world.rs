//! The service on a database of its own, and what tests say to it.

use std::{collections::HashMap, sync::OnceLock, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use bson::doc;
use contracts::{
    CommandId, Currency, CustomerId, Message, Money, OrderId,
    inventory::{InventoryCommand, InventoryEvent, StockLine},
    order::{CancelReason, OrderEvent},
};
use futures::TryStreamExt;
use inventory::{
    App,
    messages::{Messages, TOPICS},
};
use messaging::{Batch, HandleError, Handler, Position, Record, consumer::Offsets};
use mongodb::{Client, Database};
use serde_json::{Value, json};
use service::{clock::Clock, work::WorkLimit};
use testkit::TestMongoDatabase;
use tokio::task::JoinSet;
use tower::ServiceExt;
use uuid::Uuid;
use web::{
    access::{Principal, Signer, Verifier, generate_keys},
    gate::Gate,
};

pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) db: Database,
    app: App,
    pub(crate) router: Router,
    feed: Feed,
    writers: JoinSet<()>,
}

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Nobody,
    Customer,
    Operator,
}

impl World {
    pub(crate) async fn new() -> Self {
        let TestMongoDatabase { url, database } = testkit::mongo().await.database().await;
        inventory::prepare(&database).await.unwrap();
        let mut writers = JoinSet::new();
        let app = start(database.clone(), &mut writers);
        let router = web::serve::guarded(inventory::http::router(app.clone()), Gate::default());
        let feed = Feed::new(&database, app.messages(), 0).await;
        Self { url, db: database, app, router, feed, writers }
    }

    /// A world with so many pieces of each SKU.
    pub(crate) async fn with_stock(stock: &[(&str, u32)]) -> Self {
        let world = Self::new().await;
        for (sku, pieces) in stock {
            world.product(sku).await;
            if *pieces > 0 {
                let (status, _) = world.receipt(sku, &format!("stock of {sku}").replace(' ', "-"), *pieces).await;
                assert_eq!(status, StatusCode::CREATED);
            }
        }
        world
    }

    /// Another instance of the service on the same database, reading another partition.
    pub(crate) async fn another(&mut self, client: Client, partition: i32) -> Feed {
        let app = start(client.database(self.db.name()), &mut self.writers);
        Feed::new(&self.db, app.messages(), partition).await
    }

    /// The first instance again, reading another partition.
    pub(crate) async fn partition(&self, partition: i32) -> Feed {
        Feed::new(&self.db, self.app.messages(), partition).await
    }

    /// Feeds one batch, each as a message of its own.
    pub(crate) async fn feed<M: Message>(&mut self, messages: &[M]) -> Result<(), HandleError> {
        self.feed.feed(messages).await
    }

    /// Feeds one batch of messages with the ids they have.
    pub(crate) async fn feed_messages<M: Message>(&mut self, messages: &[(Uuid, M)]) -> Result<(), HandleError> {
        self.feed.feed_messages(messages).await
    }

    /// Feeds one batch of records as they are.
    pub(crate) async fn feed_batch(&self, batch: &Batch) -> Result<(), HandleError> {
        self.feed.messages.handle(batch).await
    }

    /// The batch that would be next.
    pub(crate) fn next_batch<M: Message>(&self, messages: &[M]) -> Batch {
        self.feed.batch(&named(messages))
    }

    /// Everything said on `inventory.events` so far, with the message ids.
    pub(crate) async fn said(&self) -> Vec<(Uuid, InventoryEvent)> {
        let outbox = self.db.collection::<bson::Document>("outbox");
        let filter = doc! { "topic": "inventory.events" };
        let rows: Vec<_> = outbox.find(filter).sort(doc! { "sequence": 1 }).await.unwrap().try_collect().await.unwrap();
        let message = |row: bson::Document| {
            let event: InventoryEvent = serde_json::from_str(row.get_str("payload").unwrap()).unwrap();
            assert_eq!(row.get_str("key").unwrap(), event.key());
            let id: bson::Uuid = bson::deserialize_from_bson(row.get("_id").unwrap().clone()).unwrap();
            (id.to_uuid_1(), event)
        };
        rows.into_iter().map(message).collect()
    }

    /// The answers so far, in a word each: `held`, `released`, `short of SKU`, `too late`.
    pub(crate) async fn answers(&self) -> Vec<String> {
        self.said().await.iter().map(|(_, event)| word(event)).collect()
    }

    /// On hand and held, all warehouses together.
    pub(crate) async fn level(&self, sku: &str) -> (i64, i64) {
        let stock = self.stock(sku).await;
        let warehouses = stock.get_document("warehouses").unwrap().keys();
        let levels = warehouses.map(|warehouse| level_of(&stock, warehouse));
        levels.fold((0, 0), |sum, level| (sum.0 + level.0, sum.1 + level.1))
    }

    /// On hand and held in one warehouse.
    pub(crate) async fn level_in(&self, warehouse: &str, sku: &str) -> (i64, i64) {
        level_of(&self.stock(sku).await, warehouse)
    }

    async fn stock(&self, sku: &str) -> bson::Document {
        self.db.collection::<bson::Document>("stock").find_one(doc! { "_id": sku }).await.unwrap().unwrap()
    }

    pub(crate) async fn open_holds(&self) -> u64 {
        let holds = self.db.collection::<bson::Document>("hold");
        holds.count_documents(doc! { "state": "Open" }).await.unwrap()
    }

    /// Holds that were cleaned up late.
    pub(crate) async fn late(&self) -> u64 {
        let holds = self.db.collection::<bson::Document>("hold");
        holds.count_documents(doc! { "late_cleanup": true }).await.unwrap()
    }

    pub(crate) async fn count(&self, collection: &str) -> u64 {
        self.db.collection::<bson::Document>(collection).count_documents(doc! {}).await.unwrap()
    }

    /// Creates a product with valid details.
    pub(crate) async fn product(&self, sku: &str) -> Value {
        let (status, body) = self.put_product(sku, &mug()).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body
    }

    pub(crate) async fn put_product(&self, sku: &str, details: &Value) -> (StatusCode, Value) {
        self.send(Who::Operator, Method::PUT, &format!("/v1/products/{sku}"), &details.to_string(), None).await
    }

    /// Changes the product that was seen with this tag.
    pub(crate) async fn change_product(&self, sku: &str, tag: &str, details: &Value) -> (StatusCode, Value) {
        let headers = [("if-match", tag)];
        let (status, _, body) = self.conditional(Method::PUT, sku, &headers, &details.to_string()).await;
        (status, body)
    }

    /// A request of an operator about a product, on condition.
    pub(crate) async fn conditional(
        &self,
        method: Method,
        sku: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, HeaderMap, Value) {
        let token = token(Who::Operator).unwrap();
        let request = Request::builder().method(method).uri(format!("/v1/products/{sku}"));
        let request =
            request.header("content-type", "application/json").header("authorization", format!("Bearer {token}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.request(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// What is there, with its tag.
    pub(crate) async fn tagged(&self, path: &str) -> (String, Value) {
        let (_, headers, body) = self.send_fully(Who::Operator, Method::GET, path, "", None).await;
        (headers["etag"].to_str().unwrap().to_owned(), body)
    }

    /// Pieces come into LYON.
    pub(crate) async fn receipt(&self, sku: &str, key: &str, pieces: u32) -> (StatusCode, Value) {
        self.receipt_in("LYON", sku, key, pieces).await
    }

    pub(crate) async fn receipt_in(&self, warehouse: &str, sku: &str, key: &str, pieces: u32) -> (StatusCode, Value) {
        let (path, body) = (format!("/v1/stock/{sku}/receipts"), json!({ "warehouse": warehouse, "pieces": pieces }));
        self.send(Who::Operator, Method::POST, &path, &body.to_string(), Some(key)).await
    }

    /// Asks for a shipment of all that lies there for the order, or of these lines.
    pub(crate) async fn ship(
        &self,
        order: OrderId,
        warehouse: &str,
        lines: Option<Value>,
        key: &str,
    ) -> (StatusCode, Value) {
        let body = json!({ "order": order, "warehouse": warehouse, "lines": lines });
        self.send(Who::Operator, Method::POST, "/v1/shipments", &body.to_string(), Some(key)).await
    }

    pub(crate) async fn get(&self, who: Who, path: &str) -> (StatusCode, Value) {
        self.send(who, Method::GET, path, "", None).await
    }

    pub(crate) async fn send(
        &self,
        who: Who,
        method: Method,
        path: &str,
        body: &str,
        key: Option<&str>,
    ) -> (StatusCode, Value) {
        let (status, _, body) = self.send_fully(who, method, path, body, key).await;
        (status, body)
    }

    pub(crate) async fn send_fully(
        &self,
        who: Who,
        method: Method,
        path: &str,
        body: &str,
        key: Option<&str>,
    ) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token(who) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.request(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

/// Plays the consumer of one partition of each topic.
pub(crate) struct Feed {
    messages: Messages,
    partition: i32,
    next: HashMap<&'static str, i64>,
}

impl Feed {
    async fn new(db: &Database, messages: Messages, partition: i32) -> Self {
        let offsets = messaging::mongo::Offsets::new(db.clone());
        let mut next = HashMap::new();
        for topic in TOPICS {
            next.insert(topic, offsets.load(topic, &[partition]).await.unwrap()[&partition].offset);
        }
        Self { messages, partition, next }
    }

    pub(crate) async fn feed<M: Message>(&mut self, messages: &[M]) -> Result<(), HandleError> {
        self.feed_messages(&named(messages)).await
    }

    async fn feed_messages<M: Message>(&mut self, messages: &[(Uuid, M)]) -> Result<(), HandleError> {
        let batch = self.batch(messages);
        self.messages.handle(&batch).await?;
        self.next.insert(M::TOPIC.name(), batch.positions[0].to);
        Ok(())
    }

    fn batch<M: Message>(&self, messages: &[(Uuid, M)]) -> Batch {
        let (topic, from) = (M::TOPIC.name(), self.next[M::TOPIC.name()]);
        let record = |(offset, (id, message)): (i64, &(Uuid, M))| Record {
            topic: topic.to_owned(),
            partition: self.partition,
            offset,
            id: *id,
            kind: message.kind().to_owned(),
            key: message.key(),
            payload: serde_json::to_vec(message).unwrap(),
            ..Record::default()
        };
        let records: Vec<Record> = (from..).zip(messages).map(record).collect();
        let to = from + i64::try_from(records.len()).unwrap();
        let (topic, partition) = (topic.to_owned(), self.partition);
        let position = Position { topic, partition, from, to, ..Position::default() };
        Batch { records, positions: vec![position], ..Batch::default() }
    }
}

/// Each under an id of its own.
fn named<M: Message>(messages: &[M]) -> Vec<(Uuid, M)> {
    messages.iter().map(|message| (Uuid::now_v7(), message.clone())).collect()
}

fn level_of(stock: &bson::Document, warehouse: &str) -> (i64, i64) {
    let level = stock.get_document("warehouses").unwrap().get_document(warehouse).unwrap();
    (level.get_i64("on_hand").unwrap(), level.get_i64("held").unwrap())
}

pub(crate) fn hold(order: OrderId, lines: &[(&str, u32)]) -> InventoryCommand {
    let line =
        |(sku, pieces): &(&str, u32)| StockLine { sku: sku.parse().unwrap(), quantity: (*pieces).try_into().unwrap() };
    InventoryCommand::HoldStock { command: command("do", order), order, lines: lines.iter().map(line).collect() }
}

pub(crate) fn release(order: OrderId) -> InventoryCommand {
    InventoryCommand::ReleaseStock { command: command("undo", order), order }
}

pub(crate) fn reclaim(order: OrderId) -> InventoryCommand {
    InventoryCommand::ReclaimStock { command: command("reclaim", order), order }
}

pub(crate) fn placed(order: OrderId) -> OrderEvent {
    let (customer, total) = (CustomerId::mint(), Money::new(0, Currency::EUR));
    OrderEvent::Placed { order, version: 1, customer, lines: vec![], total, at: jiff::Timestamp::UNIX_EPOCH }
}

pub(crate) fn confirmed(order: OrderId) -> OrderEvent {
    OrderEvent::Confirmed { order, version: 2, at: jiff::Timestamp::UNIX_EPOCH }
}

pub(crate) fn cancelled(order: OrderId) -> OrderEvent {
    OrderEvent::Cancelled { order, version: 3, reason: CancelReason::Requested, at: jiff::Timestamp::UNIX_EPOCH }
}

fn command(step: &str, order: OrderId) -> CommandId {
    format!("{order}/hold/{step}/1").try_into().unwrap()
}

pub(crate) fn word(event: &InventoryEvent) -> String {
    use contracts::inventory::StockRefusal;
    match event {
        InventoryEvent::StockHeld { .. } => "held".to_owned(),
        InventoryEvent::StockReleased { .. } => "released".to_owned(),
        InventoryEvent::StockReclaimed { .. } => "reclaimed".to_owned(),
        InventoryEvent::ReclaimRefused { .. } => "not reclaimed".to_owned(),
        InventoryEvent::StockShipped { complete, .. } => if *complete { "shipped" } else { "part shipped" }.to_owned(),
        InventoryEvent::StockRefused { reason: StockRefusal::OutOfStock { sku }, .. } => format!("short of {sku}"),
        InventoryEvent::StockRefused { reason: StockRefusal::Released, .. } => "too late".to_owned(),
    }
}

pub(crate) fn mug() -> Value {
    let price = json!({ "amount": 1290, "currency": "EUR" });
    json!({ "name": "Mug", "description": "Blue.", "category": "Kitchen", "price": price, "vat_rate": 1900 })
}

/// A valid token.
pub(crate) fn token(who: Who) -> Option<String> {
    let (private_pem, _) = keys();
    let signer = |pem: &str| Signer::from_pem(pem).unwrap();
    let hour = Duration::from_secs(3_600);
    match who {
        Who::Nobody => None,
        Who::Customer => Some(signer(private_pem).sign(&Principal::Customer(CustomerId::mint()), hour)),
        Who::Operator => Some(signer(private_pem).sign(&Principal::Operator, hour)),
    }
}

pub(crate) fn keys() -> &'static (String, String) {
    static KEYS: OnceLock<(String, String)> = OnceLock::new();
    KEYS.get_or_init(generate_keys)
}

fn start(db: Database, writers: &mut JoinSet<()>) -> App {
    let verifier = Verifier::from_pem(&keys().1).unwrap();
    let warehouses = ["HAMBURG", "LYON", "MILAN"].map(|code| code.parse().unwrap());
    let (app, work) =
        App::new(db, Clock::system(), verifier, warehouses.into(), WorkLimit::default().work("stock writer"));
    writers.spawn(async { work.await.unwrap() });
    app
}

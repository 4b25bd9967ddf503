//! The service on a database of its own, and what tests say to it.

use std::{sync::OnceLock, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use bson::doc;
use contracts::{
    CommandId, CustomerId, Message, OrderId,
    inventory::{InventoryCommand, InventoryEvent, StockLine},
};
use futures::TryStreamExt;
use inventory::{App, commands::Commands};
use messaging::{Batch, HandleError, Handler, Position, Record, consumer::Offsets};
use mongodb::{Client, Database};
use serde_json::{Value, json};
use service::clock::Clock;
use testkit::TestMongoDatabase;
use tokio::task::JoinSet;
use tower::ServiceExt;
use uuid::Uuid;
use web::access::{Principal, Signer, Verifier, generate_keys};

pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) db: Database,
    app: App,
    router: Router,
    feed: Feed,
    writers: JoinSet<()>,
}

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Nobody,
    Forger,
    Customer,
    Operator,
}

impl World {
    pub(crate) async fn new() -> Self {
        let TestMongoDatabase { url, database } = testkit::mongo().await.database().await;
        inventory::prepare(&database).await.unwrap();
        let mut writers = JoinSet::new();
        let app = start(database.clone(), &mut writers);
        let router = web::serve::guarded(inventory::http::router(app.clone()));
        let feed = Feed::new(&database, app.commands(), 0).await;
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
        Feed::new(&self.db, app.commands(), partition).await
    }

    /// The first instance again, reading another partition.
    pub(crate) async fn partition(&self, partition: i32) -> Feed {
        Feed::new(&self.db, self.app.commands(), partition).await
    }

    /// Feeds one batch, each command as a message of its own.
    pub(crate) async fn feed(&mut self, commands: &[InventoryCommand]) -> Result<(), HandleError> {
        self.feed.feed(commands).await
    }

    /// Feeds one batch of commands with the message ids they have.
    pub(crate) async fn feed_messages(&mut self, messages: &[(Uuid, InventoryCommand)]) -> Result<(), HandleError> {
        self.feed.feed_messages(messages).await
    }

    /// Feeds one batch of records as they are.
    pub(crate) async fn feed_batch(&self, batch: &Batch) -> Result<(), HandleError> {
        self.feed.commands.handle(batch).await
    }

    /// The batch that would be next.
    pub(crate) fn next_batch(&self, commands: &[InventoryCommand]) -> Batch {
        let messages: Vec<_> = commands.iter().map(|command| (Uuid::now_v7(), command.clone())).collect();
        self.feed.batch(&messages)
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

    /// On hand and held.
    pub(crate) async fn level(&self, sku: &str) -> (i64, i64) {
        let stock = self.db.collection::<bson::Document>("stock").find_one(doc! { "_id": sku }).await.unwrap().unwrap();
        (stock.get_i64("on_hand").unwrap(), stock.get_i64("held").unwrap())
    }

    pub(crate) async fn open_holds(&self) -> u64 {
        let holds = self.db.collection::<bson::Document>("hold");
        holds.count_documents(doc! { "state": "Open" }).await.unwrap()
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

    pub(crate) async fn receipt(&self, sku: &str, key: &str, pieces: u32) -> (StatusCode, Value) {
        let (path, body) = (format!("/v1/stock/{sku}/receipts"), json!({ "pieces": pieces }).to_string());
        self.send(Who::Operator, Method::POST, &path, &body, Some(key)).await
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
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token(who) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let (status, _, body) = self.request(request.body(Body::from(body.to_owned())).unwrap()).await;
        (status, body)
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

/// Plays the consumer of one partition.
pub(crate) struct Feed {
    commands: Commands,
    partition: i32,
    next: i64,
}

impl Feed {
    async fn new(db: &Database, commands: Commands, partition: i32) -> Self {
        let offsets = messaging::mongo::Offsets::new(db.clone());
        let next = offsets.load(inventory::commands::TOPIC, &[partition]).await.unwrap()[&partition].offset;
        Self { commands, partition, next }
    }

    pub(crate) async fn feed(&mut self, commands: &[InventoryCommand]) -> Result<(), HandleError> {
        let messages: Vec<_> = commands.iter().map(|command| (Uuid::now_v7(), command.clone())).collect();
        self.feed_messages(&messages).await
    }

    async fn feed_messages(&mut self, messages: &[(Uuid, InventoryCommand)]) -> Result<(), HandleError> {
        let batch = self.batch(messages);
        self.commands.handle(&batch).await?;
        self.next = batch.positions[0].to;
        Ok(())
    }

    fn batch(&self, messages: &[(Uuid, InventoryCommand)]) -> Batch {
        let topic = inventory::commands::TOPIC;
        let record = |(offset, (id, command)): (i64, &(Uuid, InventoryCommand))| Record {
            topic: topic.to_owned(),
            partition: self.partition,
            offset,
            id: *id,
            kind: command.kind().to_owned(),
            key: command.key(),
            payload: serde_json::to_vec(command).unwrap(),
            ..Record::default()
        };
        let records: Vec<Record> = (self.next..).zip(messages).map(record).collect();
        let to = self.next + i64::try_from(records.len()).unwrap();
        let (topic, partition) = (topic.to_owned(), self.partition);
        let position = Position { topic, partition, from: self.next, to, ..Position::default() };
        Batch { records, positions: vec![position], ..Batch::default() }
    }
}

pub(crate) fn hold(order: OrderId, lines: &[(&str, u32)]) -> InventoryCommand {
    let line =
        |(sku, pieces): &(&str, u32)| StockLine { sku: sku.parse().unwrap(), quantity: (*pieces).try_into().unwrap() };
    InventoryCommand::HoldStock { command: command("do", order), order, lines: lines.iter().map(line).collect() }
}

pub(crate) fn release(order: OrderId) -> InventoryCommand {
    InventoryCommand::ReleaseStock { command: command("undo", order), order }
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

/// A valid token; for the forger one that is signed with another key.
pub(crate) fn token(who: Who) -> Option<String> {
    let (private_pem, _) = keys();
    let signer = |pem: &str| Signer::from_pem(pem).unwrap();
    let hour = Duration::from_secs(3_600);
    match who {
        Who::Nobody => None,
        Who::Forger => Some(signer(&generate_keys().0).sign(&Principal::Operator, hour)),
        Who::Customer => Some(signer(private_pem).sign(&Principal::Customer(CustomerId::mint()), hour)),
        Who::Operator => Some(signer(private_pem).sign(&Principal::Operator, hour)),
    }
}

fn keys() -> &'static (String, String) {
    static KEYS: OnceLock<(String, String)> = OnceLock::new();
    KEYS.get_or_init(generate_keys)
}

fn start(db: Database, writers: &mut JoinSet<()>) -> App {
    let verifier = Verifier::from_pem(&keys().1).unwrap();
    let (app, work) = App::new(db, Clock::system(), verifier);
    writers.spawn(work);
    app
}

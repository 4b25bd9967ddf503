//! The test bench: an order service without its loops, and the participants' side of each conversation.

use std::sync::{Arc, Mutex};

use contracts::{
    CommandId, CustomerId, Message, Money, OrderId, ShipmentId,
    billing::{BillingCommand, BillingEvent, PaymentRefusal},
    inventory::{CatalogueEvent, InventoryCommand, InventoryEvent, StockRefusal},
    order::OrderEvent,
};
use jiff::{SignedDuration, Timestamp};
use messaging::{Batch, HandleError, Handler, Offsets as _, Position, Record, postgres::Offsets};
use service::work::{Work, WorkLimit};
use sqlx::{
    AssertSqlSafe, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;
use web::{
    access::{Signer, Verifier},
    trace::Traceparent,
};

use crate::{
    App,
    admission::Admission,
    answers::Answers,
    catalogue::Catalogue,
    order::{Cart, CartLine, Order},
    place::{self, Committer, PlaceError, Placed, Queue, Wish},
    settled::Settled,
    store,
};

/// An order service in a database of its own.
pub(super) struct Bench {
    pub(super) app: App,
    pub(super) signer: Signer,
    pub(super) private_pem: String,
    pub(super) queue: Mutex<Option<Queue>>,
    pub(super) customer: CustomerId,
    /// The outbox up to here was looked at.
    read: Mutex<i64>,
}

/// One that turns nobody away.
fn committer() -> (Committer, Queue) {
    Committer::new(4_096, Arc::new(Admission::new(10_000, 10_000)))
}

/// That of a loop, as it usually is.
pub(super) fn work() -> Work {
    WorkLimit::default().work("loop")
}

impl Bench {
    /// A service that knows `MUG` for 12.90 EUR and `PAN` for 49.99 EUR.
    pub(super) async fn new() -> Self {
        let url = testkit::postgres().await.database().await.url;
        // What is in `public` stands before what comes with Postgres: see `set_clock`.
        let options = url.parse::<PgConnectOptions>().unwrap().options([("search_path", "public,pg_catalog")]);
        let db = PgPoolOptions::new().max_connections(20).connect_with(options).await.unwrap();
        sqlx::migrate!().run(&db).await.unwrap();
        let (private, public) = web::access::generate_keys();
        let (committer, queue) = committer();
        let verifier = Verifier::from_pem(&public).unwrap();
        let settled = <Arc<Settled>>::default();
        let app = App { db, verifier, committer, settled, checkout_deadline: SignedDuration::from_secs(30) };
        let bench = Self {
            app,
            signer: Signer::from_pem(&private).unwrap(),
            private_pem: private,
            queue: Mutex::new(Some(queue)),
            customer: CustomerId::mint(),
            read: Mutex::new(0),
        };
        bench.products(&[product("MUG", 1, 1290), product("PAN", 1, 4999)]).await.unwrap();
        bench
    }

    /// Another process of the service, or the same after a restart.
    pub(super) fn another(&self) -> Self {
        let (committer, queue) = committer();
        let app = App { committer, settled: <Arc<Settled>>::default(), ..self.app.clone() };
        let (signer, queue, read) = (self.signer.clone(), Mutex::new(Some(queue)), Mutex::new(0));
        Self { app, signer, private_pem: self.private_pem.clone(), queue, customer: self.customer, read }
    }

    pub(super) fn db(&self) -> &PgPool {
        &self.app.db
    }

    /// Puts the clock of the database ahead of ours by so many seconds, or behind.
    pub(super) async fn set_clock(&self, ahead_s: i32) {
        let now = format!(
            "create or replace function public.now() returns timestamptz stable
             return pg_catalog.now() + interval '{ahead_s} s'"
        );
        sqlx::raw_sql(AssertSqlSafe(now)).execute(self.db()).await.unwrap();
    }

    pub(super) fn wish(&self, key: &str, sku: &str, quantity: u32) -> Wish {
        let line = CartLine { sku: sku.parse().unwrap(), quantity: quantity.try_into().unwrap(), unit_price: None };
        let cart = Cart::new(vec![line]).unwrap();
        let fingerprint = sha(&format!("{sku}{quantity}"));
        let token = "tok_secret".to_owned().try_into().unwrap();
        Wish {
            customer: self.customer,
            key: key.to_owned(),
            fingerprint,
            cart,
            token,
            reference: None,
            cause: Traceparent::mint(),
            refused: None,
        }
    }

    /// Places an order for one mug, and takes its two commands out of the outbox.
    pub(super) async fn order(&self) -> Checkout {
        let wish = self.wish(&Uuid::now_v7().to_string(), "MUG", 1);
        let id = placed(place::place_all(&self.app, &[wish]).await.unwrap().remove(0));
        let sent = self.sent().await;
        assert_eq!(sent.kinds(), ["order.placed.v2", "inventory.hold-stock.v1", "billing.authorize-payment.v1"]);
        let InventoryCommand::HoldStock { command: hold, .. } = sent.one() else { panic!("hold stock first") };
        let BillingCommand::AuthorizePayment { command: authorize, .. } = sent.one() else { panic!("then the card") };
        Checkout { order: id, hold, authorize }
    }

    /// Has its stock held and its card authorized, and gives the id of the command that then takes the money.
    pub(super) async fn capturing(&self, checkout: &Checkout) -> CommandId {
        self.answers(vec![checkout.held(), checkout.authorized()]).await.unwrap();
        let BillingCommand::CapturePayment { command, .. } = self.sent().await.one() else { panic!("capture") };
        command
    }

    /// Places an order that is confirmed.
    pub(super) async fn confirmed(&self) -> Checkout {
        let checkout = self.order().await;
        let capture = self.capturing(&checkout).await;
        self.answers(vec![checkout.captured(capture)]).await.unwrap();
        assert_eq!(self.sent().await.kinds(), ["order.confirmed.v1"]);
        checkout
    }

    /// What went into the outbox since the last look.
    pub(super) async fn sent(&self) -> Sent {
        let since = *self.read.lock().unwrap();
        let rows = sqlx::query_as::<_, (i64, String, String)>(
            "select sequence, kind, payload from outbox where sequence > $1 order by sequence",
        )
        .bind(since)
        .fetch_all(self.db())
        .await
        .unwrap();
        *self.read.lock().unwrap() = rows.last().map_or(since, |row| row.0);
        Sent(rows.into_iter().map(|(_, kind, payload)| (kind, payload)).collect())
    }

    pub(super) async fn show(&self, order: OrderId) -> Order {
        store::orders::all(&mut self.db().acquire().await.unwrap(), &[order]).await.unwrap().remove(0)
    }

    /// The order's events; checks that their fold is the stored order.
    pub(super) async fn events(&self, order: OrderId) -> Vec<OrderEvent> {
        let rows = sqlx::query("select data from order_events where order_id = $1 order by version")
            .bind(order.as_uuid())
            .fetch_all(self.db())
            .await
            .unwrap();
        let events: Vec<OrderEvent> = rows.iter().map(|row| serde_json::from_value(row.get("data")).unwrap()).collect();
        assert_eq!(Order::fold(&events).unwrap(), Some(self.show(order).await), "the order is the fold of its events");
        events
    }

    /// Has the service take in one batch of answers.
    pub(super) async fn answers(&self, records: Vec<Record>) -> Result<(), HandleError> {
        Answers(self.app.clone()).handle(&self.batch(records).await).await
    }

    /// Has the service take in one batch of changed products.
    pub(super) async fn products(&self, products: &[CatalogueEvent]) -> Result<(), HandleError> {
        self.product_records(products.iter().map(record).collect()).await
    }

    /// The same, of records.
    pub(super) async fn product_records(&self, records: Vec<Record>) -> Result<(), HandleError> {
        Catalogue(self.app.clone()).handle(&self.batch(records).await).await
    }

    /// The records as the next ones of their topics.
    pub(super) async fn batch(&self, mut records: Vec<Record>) -> Batch {
        let mut positions: Vec<Position> = Vec::new();
        for record in &mut records {
            let topic = &record.topic;
            let at = match positions.iter().position(|position| position.topic == *topic) {
                Some(at) => at,
                None => {
                    let from = Offsets::new(self.db().clone()).load(topic, &[0]).await.unwrap()[&0].offset;
                    positions.push(Position { topic: topic.clone(), from, to: from, ..Position::default() });
                    positions.len() - 1
                }
            };
            record.offset = positions[at].to;
            positions[at].to += 1;
        }
        Batch { records, positions, ..Batch::default() }
    }

    pub(super) async fn count(&self, table: &'static str) -> i64 {
        let counted = AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(counted).fetch_one(self.db()).await.unwrap()
    }
}

/// A checkout that has begun, and the ids of its commands.
pub(super) struct Checkout {
    pub(super) order: OrderId,
    pub(super) hold: CommandId,
    pub(super) authorize: CommandId,
}

impl Checkout {
    pub(super) fn held(&self) -> Record {
        record(&InventoryEvent::StockHeld { command: self.hold.clone(), order: self.order, at: at() })
    }

    pub(super) fn out_of_stock(&self) -> Record {
        let reason = StockRefusal::OutOfStock { sku: "MUG".parse().unwrap() };
        record(&InventoryEvent::StockRefused { command: self.hold.clone(), order: self.order, reason, at: at() })
    }

    pub(super) fn released(&self, command: CommandId) -> Record {
        record(&InventoryEvent::StockReleased { command, order: self.order, at: at() })
    }

    pub(super) fn authorized(&self) -> Record {
        let (command, order) = (self.authorize.clone(), self.order);
        record(&BillingEvent::PaymentAuthorized { command, order, amount: eur(1290), at: at() })
    }

    pub(super) fn declined(&self) -> Record {
        let reason = PaymentRefusal::Declined { decline_code: "card_declined".into() };
        record(&BillingEvent::PaymentRefused { command: self.authorize.clone(), order: self.order, reason, at: at() })
    }

    pub(super) fn voided(&self, command: CommandId) -> Record {
        record(&BillingEvent::PaymentVoided { command, order: self.order, at: at() })
    }

    pub(super) fn captured(&self, command: CommandId) -> Record {
        record(&BillingEvent::PaymentCaptured { command, order: self.order, amount: eur(1290), at: at() })
    }

    pub(super) fn reclaimed(&self, command: CommandId) -> Record {
        record(&InventoryEvent::StockReclaimed { command, order: self.order, at: at() })
    }

    pub(super) fn reclaim_refused(&self, command: CommandId) -> Record {
        record(&InventoryEvent::ReclaimRefused { command, order: self.order, at: at() })
    }

    pub(super) fn refunded(&self, command: CommandId) -> Record {
        record(&BillingEvent::PaymentRefunded { command, order: self.order, amount: eur(1290), at: at() })
    }

    pub(super) fn shipped(&self, shipment: ShipmentId, complete: bool) -> Record {
        let (order, warehouse) = (self.order, "BERLIN".parse().unwrap());
        record(&InventoryEvent::StockShipped { shipment, order, warehouse, lines: Vec::new(), complete, at: at() })
    }

    pub(super) fn capture_refused(&self, command: CommandId) -> Record {
        let reason = PaymentRefusal::Declined { decline_code: "expired".into() };
        record(&BillingEvent::CaptureRefused { command, order: self.order, reason, at: at() })
    }
}

/// Messages from the outbox.
#[derive(Debug)]
pub(super) struct Sent(Vec<(String, String)>);

impl Sent {
    pub(super) fn kinds(&self) -> Vec<&str> {
        self.0.iter().map(|(kind, _)| kind.as_str()).collect()
    }

    /// The first message that is an `M`.
    pub(super) fn one<M: Message>(&self) -> M {
        self.0.iter().find_map(|(_, payload)| serde_json::from_str(payload).ok()).expect("such a message was sent")
    }
}

/// `message` as it comes in, under a new message id.
pub(super) fn record<M: Message>(message: &M) -> Record {
    let payload = serde_json::to_vec(message).unwrap();
    let (topic, kind, key) = (M::TOPIC.name().into(), message.kind().into(), message.key());
    Record { topic, id: Uuid::now_v7(), kind, key, payload, ..Record::default() }
}

pub(super) fn product(sku: &str, version: u32, price: i64) -> CatalogueEvent {
    CatalogueEvent::ProductChanged {
        sku: sku.parse().unwrap(),
        version,
        name: sku.to_owned(),
        description: String::new(),
        category: "Kitchen".to_owned(),
        price: eur(price),
        vat_rate: 1900,
        at: at(),
    }
}

pub(super) fn placed(answer: Result<Placed, PlaceError>) -> OrderId {
    let (Placed::Now(id) | Placed::Before(id)) = answer.unwrap();
    id
}

pub(super) fn eur(amount: i64) -> Money {
    Money::new(amount, contracts::Currency::EUR)
}

fn at() -> Timestamp {
    "2026-11-21T09:30:00Z".parse().unwrap()
}

fn sha(text: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).into()
}

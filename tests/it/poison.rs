//! Messages at fault in a whole shop: their orders wait, all others go on, and once it is mended they are completed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use contracts::Topic;
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use serde_json::json;
use shop::{
    Service,
    audit::Verdict,
    dead::{Dead, Parked, Which},
    republish::{What, republish},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;
use web::access::Principal;

use super::world::{Customer, OK, Order, PATIENCE, World, many};

/// Somebody who is none of ours and writes to our topics.
struct Stranger(FutureProducer);

impl Stranger {
    fn at(world: &World) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &world.shop.state().stores.brokers).set("partitioner", "murmur2_random");
        Self(config.set("message.max.bytes", "20000000").set("compression.type", "gzip").create().unwrap())
    }

    async fn write(&self, topic: Topic, key: &str, value: &[u8], kind: Option<&str>) {
        let id = Uuid::now_v7().to_string();
        let known = [("ce_id", id.as_str()), ("ce_type", kind.unwrap_or_default())];
        let headers = known.into_iter().filter(|_| kind.is_some());
        let add = |all: OwnedHeaders, (key, value)| all.insert(Header { key, value: Some(value) });
        let headers = headers.fold(OwnedHeaders::new(), add);
        let record = FutureRecord::to(topic.name()).key(key).payload(value).headers(headers);
        self.0.send(record, PATIENCE).await.unwrap();
    }
}

impl World {
    async fn dead(&self) -> Dead {
        Dead::of(&self.shop.state().stores).await.unwrap()
    }

    /// What is parked under the id of `order`, once so many messages are.
    async fn parked(&self, order: Uuid, messages: i64) -> Parked {
        let (dead, key) = (self.dead().await, order.to_string());
        let parked = async {
            loop {
                let found = dead.list().await.unwrap().into_iter().find(|one| one.1.key == key);
                match found {
                    Some(found) if found.1.messages >= messages => return found,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, parked).await.expect("the key is parked")
    }

    async fn is_parked(&self) -> bool {
        !self.dead().await.list().await.unwrap().is_empty()
    }

    /// Waits until `service` has a batch that its store cannot take.
    async fn meets_its_store_down(&self, service: &str) {
        let met = async {
            while !self.log(service).contains("a batch could not be done, trying again") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let met = tokio::time::timeout(PATIENCE, met).await;
        assert!(met.is_ok(), "a batch of {service} meets its store while it is down");
    }

    async fn in_orders(&self, statement: impl Into<String>) {
        let mut db = PgConnection::connect(&self.shop.state().stores.orders).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.into())).execute(&mut db).await.unwrap();
        db.close().await.unwrap();
    }

    async fn republish(&self, what: What) -> u64 {
        let operator = self.shop.token(&Principal::Operator).unwrap();
        republish(&self.shop.state(), &what, operator).await.unwrap()
    }
}

fn key(order: Uuid) -> Which {
    Which { key: order.to_string(), ..Which::default() }
}

/// Places an order whose capture takes three seconds, and gives it back in the middle of it: from here no deadline turns
/// it, and billing's next word on it is that it is captured.
async fn slow(world: &World, customer: &Customer, sku: &str) -> Uuid {
    let placed = customer.post(&Uuid::now_v7().to_string(), sku, 1, "tok_capture_slow_3s").await;
    let order = placed.json::<Order>().await.unwrap().id;
    let capturing = async {
        while world.known_payment(order).await.as_deref() != Some("capturing") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, capturing).await.expect("the card is being charged");
    order
}

/// While the card of each order is being charged, something that is wrong comes in on its topic; so its answer is parked
/// behind it.
#[tokio::test]
async fn whatever_is_wrong_with_a_message_its_order_waits_and_all_others_go_on() {
    let world = Arc::new(World::new("poisoned", 1).await);
    world.product("POISON", 9_999).await;
    let (stranger, customer) = (Stranger::at(&world), world.customer());
    let impossible = |order: Uuid| {
        let command = format!("{}:authorize-payment:do:1", Uuid::now_v7());
        json!({ "type": "billing.payment-voided.v1", "command": command, "order": order, "at": "2026-01-01T00:00:00Z" })
    };
    let kind = Some("billing.payment-voided.v1");
    let unknown = json!({ "type": "billing.payment-voided.v9" }).to_string();
    let mut orders = Vec::new();
    for wrong in 0..4 {
        let order = slow(&world, &customer, "POISON").await;
        let at = order.to_string();
        match wrong {
            0 => stranger.write(Topic::BillingEvents, &at, b"\xff\0{garbage", None).await,
            1 => stranger.write(Topic::BillingEvents, &at, unknown.as_bytes(), Some("billing.payment-voided.v9")).await,
            2 => stranger.write(Topic::BillingEvents, &at, &vec![b'1'; 10 * 1024 * 1024], kind).await,
            _ => stranger.write(Topic::BillingEvents, &at, impossible(order).to_string().as_bytes(), kind).await,
        }
        orders.push(order);
    }
    let others = many(&world, "POISON", 50).await;
    assert_eq!(others.iter().filter(|order| order.status == "confirmed").count(), 30, "all others go on");

    let mut reasons = Vec::new();
    for order in &orders {
        let (service, parked) = world.parked(*order, 2).await;
        assert_eq!((service, parked.topic.as_str()), (Service::Order, "billing.events"));
        assert_eq!(customer.show(*order).await.status, "pending", "nothing is taken in behind it");
        reasons.push(parked.reason);
    }
    for (reason, part) in reasons.iter().zip(["ce_id", "cannot be read", "bytes", "no saga"]) {
        assert!(reason.contains(part), "{reasons:?}");
    }
    // The stranger's message is given up, and what the shop itself has said is taken in.
    for order in &orders {
        let (_, dropped) = world.dead().await.drop(&key(*order), false).await.unwrap();
        assert_eq!(dropped.messages.len(), 1);
        world.dead().await.replay(&key(*order)).await.unwrap();
        let ended = customer.settled(*order).await;
        assert_eq!((ended.status.as_str(), ended.version), ("confirmed", 2), "{ended:?}");
    }
    let examined = world.audit().await;
    assert!(examined.values().all(|rows| *rows > 0), "{examined:?}");
}

/// The order service cannot write what an answer leads to, until somebody mends its database: then it completes.
#[tokio::test]
async fn an_order_is_completed_by_the_replay_after_the_mend() {
    let world = Arc::new(World::new("mended", 2).await);
    world.product("MEND", 9_999).await;
    let customer = world.customer();
    let order = slow(&world, &customer, "MEND").await;
    let refuse = format!("alter table orders add constraint unlucky check (id <> '{order}' or status = 'pending')");
    world.in_orders(refuse).await;
    let others = many(&world, "MEND", 50).await;
    assert_eq!(others.iter().filter(|order| order.status == "confirmed").count(), 30, "all others go on");
    let parked = world.parked(order, 1).await;
    assert!(parked.1.reason.contains("unlucky"), "{parked:?}");

    let still = world.dead().await.replay(&key(order)).await.unwrap_err().to_string();
    assert!(still.contains("still cannot take it in") && still.contains("unlucky"), "{still}");
    world.in_orders("alter table orders drop constraint unlucky").await;
    // Another instance goes on with it.
    world.shop.kill("order").await.unwrap();
    world.dead().await.replay(&Which { service: Some(Service::Order), ..key(order) }).await.unwrap();
    let ended = customer.settled(order).await;
    assert_eq!((ended.status.as_str(), ended.version), ("confirmed", 2), "{ended:?}");
    world.audit().await;
}

/// What is given up for good is said again by its owner.
#[tokio::test]
async fn what_is_dropped_is_republished_by_its_owner() {
    let world = World::new("republished", 1).await;
    world.product("AGAIN", 10).await;
    let customer = world.customer();
    let order = slow(&world, &customer, "AGAIN").await;
    Stranger::at(&world).write(Topic::BillingEvents, &order.to_string(), b"garbage", None).await;
    let parked = world.parked(order, 2).await;
    let (_, dropped) = world.dead().await.drop(&key(order), true).await.unwrap();
    assert!(dropped.messages.len() >= 2 && dropped.left == 0, "{parked:?}");
    // The answer is lost to the saga; what the saga asks again is answered again, and the owner says it unasked, too.
    let sent = world.republish(What::Order(order.into())).await;
    assert!(sent >= 3, "the order's first event and the two answers: {sent}");
    let ended = customer.settled(order).await;
    assert_eq!(ended.status, "confirmed", "{ended:?}");

    // All that was ever said comes once more, and changes nothing.
    let before = (world.audit().await, world.stock("AGAIN").await);
    let (read, events) = world.read_and_said().await;
    let sent = i64::try_from(world.republish(What::Everything).await).unwrap();
    assert!(
        sent > events + 5,
        "{sent} messages, {events} of them events of orders, which the order service does not read"
    );
    let again = async {
        while world.read_and_said().await.0 < read + sent - events {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the order service reads what came again");
    assert_eq!(customer.show(order).await.version, ended.version);
    assert_eq!((world.audit().await, world.stock("AGAIN").await), before);
    assert!(!world.is_parked().await, "{:?}", world.dead().await.list().await);
}

/// An order may look whole and still miss a message: the audit says so until somebody has seen to it.
#[tokio::test]
async fn the_audit_names_what_is_parked() {
    let world = World::new("parked", 1).await;
    world.product("PARKED", 10).await;
    let order = world.customer().buy("PARKED", 1, OK).await;
    Stranger::at(&world).write(Topic::BillingCommands, &order.id.to_string(), b"garbage", None).await;
    let (service, parked) = world.parked(order.id, 1).await;
    assert_eq!((service, parked.topic.as_str()), (Service::Billing, "billing.commands"));
    let report = world.shop.audit().await.unwrap();
    assert_eq!(report.verdict(), Verdict::Violated, "{report}");
    let violated: Vec<_> = report.findings.iter().filter(|finding| !finding.violations.is_empty()).collect();
    assert!(violated.len() == 1 && violated[0].predicate.starts_with("M6 no message"), "{report}");
    assert!(violated[0].violations[0].contains(&order.id.to_string()), "{report}");
    world.dead().await.drop(&key(order.id), false).await.unwrap();
    world.audit().await;
}

/// Each store dies under load, and comes back once a batch has met it down: that is no message's fault.
#[tokio::test]
async fn a_store_that_is_down_parks_nothing() {
    let world = Arc::new(World::new("down", 1).await);
    world.product("DOWN", 9_999).await;
    let (customers, enough) = (world.clone(), Arc::new(AtomicBool::new(false)));
    let met = enough.clone();
    let mut buying = JoinSet::new();
    buying.spawn(async move {
        let mut orders = Vec::new();
        while !met.load(Ordering::Relaxed) {
            orders.extend(many(&customers, "DOWN", 50).await);
        }
        orders
    });
    let until_up = async || tokio::time::timeout(PATIENCE, world.shop.all_up()).await.unwrap();
    world.shop.take_down("pg-billing").await.unwrap();
    world.meets_its_store_down("billing").await;
    world.shop.bring_up("pg-billing");
    until_up().await;
    world.shop.take_down("mongo").await.unwrap();
    world.meets_its_store_down("inventory").await;
    // Orders wait for their stock by now. The order service's store dies before they get it.
    world.shop.take_down("pg-orders").await.unwrap();
    world.shop.bring_up("mongo");
    world.meets_its_store_down("order").await;
    world.shop.bring_up("pg-orders");
    until_up().await;
    enough.store(true, Ordering::Relaxed);
    let orders = buying.join_all().await.concat();
    assert!(orders.iter().all(|order| order.status != "pending"));
    let log = ["order", "inventory", "billing"].map(|service| world.log(service)).concat();
    assert!(!log.contains("at fault") && !world.is_parked().await);
    world.audit().await;
}

/// One parked key too many ends the service, again and again, until an operator has made room.
#[tokio::test]
async fn too_many_parked_keys_end_the_service_until_there_is_room() {
    let world = World::new("full", 1).await;
    world.product("FULL", 10).await;
    let (stranger, dead) = (Stranger::at(&world), world.dead().await);
    let garbage = async |number: usize| {
        stranger.write(Topic::InventoryCommands, &format!("nonsense-{number}"), b"garbage", None).await;
    };
    for number in 0..100 {
        garbage(number).await;
    }
    let full = async {
        while dead.list().await.unwrap().len() < 100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("a hundred keys are parked");
    garbage(100).await;
    let ends = async {
        while world.log("inventory").matches("100 keys are parked already").count() < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ends).await.expect("the service ends, is started again, and ends again");
    let listed = dead.list().await.unwrap();
    assert_eq!(listed.len(), 100);
    for (service, parked) in listed {
        let which = Which { key: parked.key, service: Some(service), topic: Some(parked.topic) };
        dead.drop(&which, true).await.unwrap();
    }
    let order = world.customer().buy("FULL", 1, OK).await;
    assert!(matches!(order.status.as_str(), "confirmed" | "cancelled"), "{order:?}");
    for (_, parked) in dead.list().await.unwrap() {
        dead.drop(&Which { key: parked.key, ..Which::default() }, true).await.unwrap();
    }
    world.audit().await;
}

impl World {
    /// How many messages the order service has read, and how many events of orders there are.
    async fn read_and_said(&self) -> (i64, i64) {
        let mut db = PgConnection::connect(&self.shop.state().stores.orders).await.unwrap();
        let query =
            "select (select sum(next_offset)::bigint from consumer_offset), (select count(*) from order_events)";
        sqlx::query_as(query).fetch_one(&mut db).await.unwrap()
    }
}

impl Customer {
    /// The order once it has ended.
    async fn settled(&self, order: Uuid) -> Order {
        let ended = async {
            loop {
                let order = self.show(order).await;
                if order.status != "pending" {
                    return order;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the order settles")
    }
}

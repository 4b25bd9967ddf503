//! Somebody orders, and is forgotten: afterwards no store, topic or log knows their name, but their invoices, and all
//! that they did is as it was.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::TryStreamExt as _;
use mongodb::bson::{RawDocumentBuf, doc};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Headers as _},
};
use serde_json::json;
use shop::audit::Verdict;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{
    replayed::BUSINESS,
    stores::Stores,
    topics::Topics,
    world::{Customer, OK, Order, PATIENCE, World},
};

const SKU: &str = "PLATYPUS-7";
/// Of the name, of the address, of the e-mail and of what an order is called: words that stand nowhere by chance, in the
/// case that is looked for.
const WORDS: [&str; 4] = ["quokkafeather", "numbatgate", "wombatpost", "bandicootfor"];

/// Where a word stands: the store, topic or log, and the place in it.
type Places = BTreeSet<String>;
/// By the word.
type Found = BTreeMap<String, Places>;

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_forgotten_is_in_no_table_topic_or_log_but_on_their_invoices() {
    let world = World::new("erased", 1).await;
    world.product(SKU, 100).await;
    let customer = world.customer_called(json!({
        "name": "Zzyzxia Quokkafeather", "address": ["77 Numbatgate Crossing", "Perth"], "country": "AU",
        "email": "wombatpost@erased.example",
    }));
    live(&world, &customer).await;
    let (stores, topics) = (Stores::of(&world).await, Topics::of(&world));
    world.rest(&stores, &topics).await;

    let known = [
        places(["billing public.customer.name", "billing public.invoice.facts"]),
        places(["billing public.customer.address", "billing public.invoice.facts"]),
        places(["billing public.customer.email"]),
        places(["order public.order_reference.reference"]),
    ];
    assert_eq!(places_of(&world, &stores, WORDS).await, known);
    let before = stores.contents().await;

    customer.forget().await;

    world.rest(&stores, &topics).await;
    // The order service hears of it.
    let named = async || {
        let named = sqlx::query_scalar::<_, i64>("select count(*) from order_reference");
        named.fetch_one(&stores.orders).await.unwrap()
    };
    let forgotten = async {
        while named().await > 0 {
            sleep(Duration::from_millis(50)).await
        }
    };
    timeout(PATIENCE, forgotten).await.expect("what an order was called is forgotten");
    world.rest(&stores, &topics).await;
    let papers = places(["billing public.invoice.facts"]);
    let left = places_of(&world, &stores, WORDS).await;
    assert_eq!(left, [papers.clone(), papers, Places::new(), Places::new()]);
    let papers = "select count(*) from invoice where facts like '%Quokkafeather%' and facts like '%Numbatgate%'";
    let papers: i64 = sqlx::query_scalar(papers).fetch_one(&stores.billing).await.unwrap();
    assert_eq!(papers, 4, "two invoices, and what credits a part and a whole");
    world.everything_can_be_searched(&stores, &customer).await;

    let rebuilt = world.rebuild().await;
    assert!(rebuilt.is_clean() && rebuilt.folded >= 3, "{rebuilt}");
    let after = stores.contents().await;
    eprintln!("compared: {after:#?}");
    let empty = |table: &&str| before.get(*table).is_none_or(|rows| rows.starts_with("0 rows"));
    assert_eq!(BUSINESS.iter().filter(|table| empty(table)).collect::<Vec<_>>(), [&""; 0], "these have rows");
    let changed: Vec<_> = before.keys().filter(|table| before.get(*table) != after.get(*table)).collect();
    assert_eq!(changed, ["billing.customer", "order.order_reference"]);
    assert_eq!(before.len(), after.len());
}

/// Misstates themselves; then buys four times: shipped and refunded in part, taken back, declined, out of stock. The
/// declined one is called something.
async fn live(world: &World, customer: &Customer) {
    customer.misstate().await;
    let kept = customer.buy(SKU, 1, OK).await;
    let taken_back = customer.buy(SKU, 2, OK).await;
    let declined = customer.buy_called("BANDICOOTFOR-MY-HUSBAND", SKU, "tok_authorize_declined").await;
    let short = customer.buy(SKU, 1_000, OK).await;
    let ends = [&kept, &taken_back, &declined, &short].map(|order| order.status.as_str());
    assert_eq!(ends, ["confirmed", "confirmed", "cancelled", "cancelled"]);
    assert_eq!(customer.cancel(taken_back.id).await.0, 202);
    let cancelled = async {
        while customer.show(taken_back.id).await.status != "cancelled" {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, cancelled).await.expect("the order is taken back");
    world.refund(kept.id, "part", contracts::Money::new(100, contracts::Currency::EUR)).await;
    assert_eq!(world.refunded(kept.id).await, ["refunded"]);
    let body = json!({ "order": kept.id, "warehouse": "HAMBURG" });
    let shipped = async {
        // Inventory may not have heard that it is paid.
        while world.operate_inventory("/v1/shipments", "all", &body).await.0 != 201 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, shipped).await.expect("the order is shipped");
}

impl Customer {
    /// Buys a piece, and calls the order so.
    async fn buy_called(&self, reference: &str, sku: &str, card: &str) -> Order {
        let lines = json!([{ "sku": sku, "quantity": 1 }]);
        let order = json!({ "lines": lines, "payment_token": card, "reference": reference });
        let key = Uuid::now_v7().to_string();
        let bought = self.request_at(0, &key, &lines, card).json(&order).header("prefer", "wait=30");
        bought.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// States themselves as nobody can be, and in no JSON; nothing of that is kept.
    async fn misstate(&self) {
        let mut wrong = self.who.clone();
        wrong["country"] = json!("Quokkafeather");
        let (name, unclosed) = (wrong["name"].clone(), "{\"name\": \"Quokkafeather\", \"Numbatgate\"");
        for (body, status) in
            [(wrong.to_string(), 422), (json!({ "wombatpost": name }).to_string(), 422), (unclosed.to_owned(), 400)]
        {
            let put = self.client.put(&self.put).bearer_auth(&self.token).header("content-type", "application/json");
            assert_eq!(put.body(body).send().await.unwrap().status().as_u16(), status);
        }
    }

    /// Wishes to be forgotten, and again while orders are on their way.
    async fn forget(&self) {
        let forgotten = async {
            loop {
                let answer = self.client.delete(&self.put).bearer_auth(&self.token).send().await.unwrap();
                match answer.status().as_u16() {
                    204 => return,
                    409 | 503 => sleep(Duration::from_millis(50)).await,
                    status => panic!("{status}: {}", answer.text().await.unwrap()),
                }
            }
        };
        timeout(PATIENCE, forgotten).await.expect("who wishes so is forgotten");
        let shown = self.client.get(&self.put).bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(shown.status().as_u16(), 404);
    }
}

impl World {
    /// Waits until nothing is on its way any more. The books add up, as far as so few orders show it.
    async fn rest(&self, stores: &Stores, topics: &Topics) {
        let report = self.shop.audit().await.unwrap();
        assert_ne!(report.verdict(), Verdict::Violated, "{report}");
        let read = timeout(PATIENCE, stores.until_all_is_read(topics)).await;
        assert!(read.is_ok(), "not all is read: {:?} of {:?}", stores.offsets().await, topics.ends());
    }

    /// A search that finds nothing may be none: what must stand in each store, topic and log is found by it.
    async fn everything_can_be_searched(&self, stores: &Stores, customer: &Customer) {
        let id = customer.put.rsplit_once('/').unwrap().1;
        let [sku, customer] = places_of(self, stores, ["platypus-7", id]).await;
        for place in [
            "order public.order_events.data",
            "billing public.payment.lines",
            "inventory inventory.product",
            "inventory local.oplog.rs",
            "topic order.events",
            "topic inventory.commands",
            "topic billing.commands",
            "topic inventory.catalogue",
        ] {
            assert!(sku.contains(place), "{place} is not among {sku:?}");
        }
        for place in ["billing public.payment.customer_id", "log logs/billing.log"] {
            assert!(customer.contains(place), "{place} is not among {customer:?}");
        }
        let logs = logs(self);
        for part in self.shop.state().parts {
            let log = Path::new("logs").join(format!("{}.log", part.name));
            assert!(logs.contains_key(&log), "{log:?} is not among {:?}", logs.keys());
        }
    }
}

fn places<const N: usize>(all: [&str; N]) -> Places {
    all.into_iter().map(str::to_owned).collect()
}

/// Where each of `words` stands, whatever the case, in all that the processes of the shop keep.
async fn places_of<const N: usize>(world: &World, stores: &Stores, words: [&str; N]) -> [Places; N] {
    let mut found: Found = words.map(|word| (word.to_owned(), Places::new())).into();
    for (service, pool) in [("order", &stores.orders), ("billing", &stores.billing)] {
        in_postgres(service, pool, &mut found).await;
    }
    in_mongo(stores, &mut found).await;
    in_topics(world, &mut found);
    for (file, text) in logs(world) {
        look(&mut found, &text, || format!("log {}", file.display()));
    }
    words.map(|word| found.remove(word).unwrap())
}

/// Notes the place for each word that is in `bytes`.
fn look(found: &mut Found, bytes: &[u8], place: impl Fn() -> String) {
    let bytes = bytes.to_ascii_lowercase();
    for (word, places) in found {
        if bytes.windows(word.len()).any(|window| window == word.as_bytes()) {
            places.insert(place());
        }
    }
}

/// Every column of every table of every schema, the database's own included: there are the samples of its planner, and
/// the statements of its sessions.
async fn in_postgres(service: &str, pool: &PgPool, found: &mut Found) {
    // As autovacuum does it at any time.
    sqlx::raw_sql("analyze").execute(pool).await.unwrap();
    let columns = "select format('%I.%I', nspname, relname), format('%I', attname), atttypid = 'bytea'::regtype
                   from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace n on n.oid = relnamespace
                   where attnum > 0 and not attisdropped and (relkind in ('r', 'm') or relname = 'pg_stat_activity')";
    let columns: Vec<(String, String, bool)> = sqlx::query_as(columns).fetch_all(pool).await.unwrap();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column, is_bytes) in columns {
        let text = if is_bytes { format!("encode({column}, 'escape')") } else { format!("{column}::text") };
        let there = format!("case when bool_or(strpos(lower({text}), $1) > 0) then '{column}' end");
        tables.entry(table).or_default().push(there);
    }
    assert!(tables.len() > 80, "all tables are there: {}", tables.len());
    for (table, columns) in tables {
        let search = format!("select array_remove(array[{}], null)::text[] from {table}", columns.join(", "));
        for (word, places) in &mut *found {
            let there = sqlx::query_scalar(AssertSqlSafe(search.clone())).bind(word);
            let there: Vec<String> = there.fetch_one(pool).await.unwrap();
            places.extend(there.into_iter().map(|column| format!("{service} {table}.{column}")));
        }
    }
}

/// Every document of every collection of every database, byte for byte; the log of the replica set is one of them.
async fn in_mongo(stores: &Stores, found: &mut Found) {
    let client = stores.inventory.client();
    for database in client.list_database_names().await.unwrap() {
        let database = client.database(&database);
        for name in database.list_collection_names().await.unwrap() {
            let mut all = database.collection::<RawDocumentBuf>(&name).find(doc! {}).await.unwrap();
            while let Some(document) = all.try_next().await.unwrap() {
                look(found, document.as_bytes(), || format!("inventory {}.{name}", database.name()));
            }
        }
    }
}

/// Every message of every topic of the broker, from the beginning to where it ends now.
fn in_topics(world: &World, found: &mut Found) {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", world.shop.state().stores.brokers)
        .set("group.id", "test")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = client.fetch_metadata(None, PATIENCE).unwrap();
    // One after the other: where a partition ends, its topic is not said.
    for topic in metadata.topics() {
        let (mut all, mut unread) = (TopicPartitionList::new(), HashSet::new());
        for partition in topic.partitions() {
            all.add_partition_offset(topic.name(), partition.id(), Offset::Beginning).unwrap();
            unread.insert(partition.id());
        }
        client.assign(&all).unwrap();
        let begun = Instant::now();
        while !unread.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "{} cannot be read", topic.name());
            match client.poll(Duration::from_millis(100)) {
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unread.remove(&partition);
                }
                Some(message) => {
                    for bytes in parts(&message.unwrap()) {
                        look(found, bytes, || format!("topic {}", topic.name()));
                    }
                }
                None => {}
            }
        }
    }
}

/// Key, headers and payload.
fn parts<'m>(message: &'m BorrowedMessage<'_>) -> impl Iterator<Item = &'m [u8]> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter()).filter_map(|header| header.value);
    headers.chain(message.key()).chain(message.payload())
}

/// What all processes have written down but for the data of the stores, which were asked; by the path below the shop's
/// folder.
fn logs(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = world.shop.folder();
    let stores = ["pg-orders", "pg-billing", "mongo", "kafka"].map(|name| folder.join(name));
    let (mut logs, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !stores.contains(&path) {
                folders.push(path);
            } else if path.is_file() {
                logs.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    logs
}

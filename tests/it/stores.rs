//! The databases of a shop's services, as one who may look into all of them sees them.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt as _;
use mongodb::{
    Client, Database,
    bson::{self, Document, doc},
};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::world::World;

/// What belongs to the sending and taking in of messages, and changes with it.
const OF_MESSAGING: [&str; 5] = ["outbox", "inbox", "consumer_offset", "relay", "_sqlx_migrations"];

/// For each table or collection the number of its rows and a hash of all of them.
pub(crate) type Contents = BTreeMap<String, String>;

/// Up to where each service has read each partition of its topics: service, topic, partition.
pub(crate) type Offsets = BTreeMap<(&'static str, String, i32), i64>;

/// The databases of the services.
pub(crate) struct Stores {
    pub(crate) orders: PgPool,
    pub(crate) billing: PgPool,
    pub(crate) inventory: Database,
}

#[derive(Deserialize)]
struct WithId {
    #[serde(rename = "_id")]
    id: bson::Uuid,
}

impl Stores {
    pub(crate) async fn of(world: &World) -> Self {
        let stores = world.shop.state().stores;
        let inventory = Client::with_uri_str(&stores.inventory).await.unwrap();
        Self {
            orders: PgPool::connect(&stores.orders).await.unwrap(),
            billing: PgPool::connect(&stores.billing).await.unwrap(),
            inventory: inventory.default_database().unwrap(),
        }
    }

    /// All business tables and collections.
    pub(crate) async fn contents(&self) -> Contents {
        let mut contents = Contents::new();
        for (service, pool) in self.postgres() {
            let all = "select relname::text from pg_class where relnamespace = 'public'::regnamespace
                       and relkind in ('r', 'p') and not relispartition";
            let tables: Vec<String> = sqlx::query_scalar(all).fetch_all(pool).await.unwrap();
            for table in tables.iter().filter(|table| !OF_MESSAGING.contains(&table.as_str())) {
                let hash = format!(
                    "select count(*) || ' rows, ' || coalesce(md5(string_agg(md5(t::text), '' order by md5(t::text))), '')
                     from {table} t"
                );
                let hash = sqlx::query_scalar(AssertSqlSafe(hash)).fetch_one(pool).await.unwrap();
                contents.insert(format!("{service}.{table}"), hash);
            }
        }
        let hashes = self.inventory.run_command(doc! { "dbHash": 1 }).await.unwrap();
        for (name, hash) in hashes.get_document("collections").unwrap() {
            if !OF_MESSAGING.contains(&name.as_str()) {
                let count = self.inventory.collection::<Document>(name).count_documents(doc! {}).await.unwrap();
                contents.insert(format!("inventory.{name}"), format!("{count} rows, {}", hash.as_str().unwrap()));
            }
        }
        contents
    }

    /// The ids that each service's inbox knows.
    pub(crate) async fn taken_in(&self) -> HashSet<(&'static str, Uuid)> {
        let mut known: HashSet<_> = self.ids_in_inventory("inbox").await.map(|id| ("inventory", id)).collect();
        for (service, pool) in self.postgres() {
            let ids: Vec<Uuid> = sqlx::query_scalar("select message_id from inbox").fetch_all(pool).await.unwrap();
            known.extend(ids.into_iter().map(|id| (service, id)));
        }
        known
    }

    /// All services are to begin again with the first message of each topic, and know the id of none.
    pub(crate) async fn forget_what_was_read(&self) {
        for (_, pool) in self.postgres() {
            let forget = "delete from inbox; update consumer_offset set next_offset = 0";
            sqlx::raw_sql(forget).execute(pool).await.unwrap();
        }
        self.inventory.collection::<Document>("inbox").delete_many(doc! {}).await.unwrap();
        let from_zero = doc! { "$set": { "next_offset": 0_i64 } };
        self.inventory.collection::<Document>("consumer_offset").update_many(doc! {}, from_zero).await.unwrap();
    }

    /// The ids of all messages that the services have to send; none is forgotten within an hour.
    pub(crate) async fn to_be_sent(&self) -> HashSet<Uuid> {
        let mut ids = HashSet::new();
        for (_, pool) in self.postgres() {
            ids.extend(sqlx::query_scalar::<_, Uuid>("select id from outbox").fetch_all(pool).await.unwrap());
        }
        ids.extend(self.ids_in_inventory("outbox").await);
        ids
    }

    async fn ids_in_inventory(&self, collection: &str) -> impl Iterator<Item = Uuid> + use<> {
        let all = self.inventory.collection::<WithId>(collection);
        let all = all.find(doc! {}).projection(doc! { "_id": 1 }).await.unwrap();
        let all: Vec<WithId> = all.try_collect().await.unwrap();
        all.into_iter().map(|document| Uuid::from_bytes(document.id.bytes()))
    }

    pub(crate) async fn offsets(&self) -> Offsets {
        let mut offsets = Offsets::new();
        for (service, pool) in self.postgres() {
            let stored = "select topic, partition, next_offset from consumer_offset";
            let stored: Vec<(String, i32, i64)> = sqlx::query_as(stored).fetch_all(pool).await.unwrap();
            offsets.extend(stored.into_iter().map(|(topic, partition, next)| ((service, topic, partition), next)));
        }
        let stored = self.inventory.collection::<Document>("consumer_offset").find(doc! {}).await.unwrap();
        for document in stored.try_collect::<Vec<_>>().await.unwrap() {
            let (topic, partition) = document.get_str("_id").unwrap().rsplit_once('/').unwrap();
            let next = document.get_i64("next_offset").unwrap();
            offsets.insert(("inventory", topic.to_owned(), partition.parse().unwrap()), next);
        }
        offsets
    }

    fn postgres(&self) -> [(&'static str, &PgPool); 2] {
        [("order", &self.orders), ("billing", &self.billing)]
    }
}

//! The databases of a shop's services, as one who may look into all of them sees them.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt as _;
use mongodb::{
    Client, Database,
    bson::{self, Document, doc},
};
use serde::Deserialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::world::World;

/// Up to where each service has read each partition of its topics: service, topic, partition.
pub(crate) type Offsets = BTreeMap<(&'static str, String, i32), i64>;

/// The databases of the services.
pub(crate) struct Stores {
    pub(crate) orders: PgPool,
    pub(crate) billing: PgPool,
    pub(crate) inventory: Database,
}

#[derive(Deserialize)]
struct Sent {
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

    /// The ids of all messages that the services have to send; none is forgotten within an hour.
    pub(crate) async fn to_be_sent(&self) -> HashSet<Uuid> {
        let mut ids = HashSet::new();
        for (_, pool) in self.postgres() {
            ids.extend(sqlx::query_scalar::<_, Uuid>("select id from outbox").fetch_all(pool).await.unwrap());
        }
        let outbox = self.inventory.collection::<Sent>("outbox");
        let outbox = outbox.find(doc! {}).projection(doc! { "_id": 1 }).await.unwrap();
        let outbox: Vec<Sent> = outbox.try_collect().await.unwrap();
        ids.extend(outbox.into_iter().map(|sent| Uuid::from_bytes(sent.id.bytes())));
        ids
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

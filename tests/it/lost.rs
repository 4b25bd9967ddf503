//! What was promised to be kept is lost while the shop is busy: it is noticed, said, and made good.

use std::{collections::BTreeSet, time::Duration};

use contracts::topic::{Spec, TOPICS};
use messaging::Broker;
use mongodb::{
    bson::{self, Document, doc},
    change_stream::event::ResumeToken,
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    types::RDKafkaErrorCode,
};
use shop::Service;
use tokio::time::{Instant, sleep, timeout};

use super::{
    logs::Logs,
    stores::Stores,
    traffic::Traffic,
    world::{OK, World},
};

const ORDERS_PER_SECOND: u32 = 12;
/// Orders come for so long before something is lost, and again after it was noticed.
const WHILE: Duration = Duration::from_secs(2);
/// Within this time a loss is noticed, and what died of it is up again.
const NOTICED: Duration = Duration::from_secs(30);

/// What a relay says that has found its topic shorter than it was.
const NEW_GENERATION: &str = "a topic has lost messages: a new generation begins";
/// What relays say that do not know where they were.
const SENT_AGAIN: &str = "are new: all retained messages are sent again, ahead of the log";
const TOKEN_LOST: &str = "the database's log no longer has the place where the relay stopped";
/// What a consumer says of a partition that was made anew, whether it first meets its end or a new generation.
const READ_ANEW: &str = "read anew";
const NO_OFFSET: &str = "no offset is stored, the partition is read from its beginning";

/// What has to be said: by whom, in a line with which words, and whether by one line only.
struct Said {
    service: &'static str,
    words: Vec<String>,
    once: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_lost_under_load_is_noticed_and_made_good() {
    let world = World::new("lost", 1).await;
    let offsets = Stores::of(&world).await.offsets().await;
    let readers: BTreeSet<_> = offsets.into_keys().map(|(service, topic, _)| (topic, service)).collect();
    let read: BTreeSet<_> = readers.iter().map(|(topic, _)| topic).collect();
    assert_eq!(read.len(), TOPICS.len(), "all are read: {readers:?}");
    let of_topic = |Spec { name, writer, .. }: Spec| {
        let at = format!("{name}/");
        let readers = readers.iter().filter(|(topic, _)| topic == name);
        let anew = readers.map(|(_, reader)| for_each_partition(reader, &[READ_ANEW, &at]));
        (name, anew.chain([once(writer, &[NEW_GENERATION, &at])]).collect::<Vec<_>>())
    };
    let (topics, logs, customer) = (TOPICS.map(of_topic), Logs::from_now_on(&world), world.customer());
    world.product("LOST", 100).await;
    let each = async {
        for (topic, said) in &topics {
            let logs = Logs::from_now_on(&world);
            world.lose_topic(topic).await;
            await_all(&logs, topic, said).await;
            // What is lost while the loss before is made good is sent with it, and there is nothing to notice.
            assert_eq!(customer.buy("LOST", 1, OK).await.status, "confirmed");
        }
    };
    under_load(&world, "each topic", each, &[]).await;
    topics.iter().for_each(|(topic, said)| assert_once(&logs, topic, said));
    let slots = async {
        world.lose_slot("order").await;
        world.lose_slot("billing").await;
    };
    let said = ["order", "billing"].map(|service| once(service, &[SENT_AGAIN]));
    under_load(&world, "each slot", slots, &said).await;
    let said = [TOKEN_LOST, SENT_AGAIN].map(|words| once("inventory", &[words]));
    under_load(&world, "inventory's token", world.lose_token(), &said).await;
    let said = Service::ALL.map(|service| for_each_partition(service.name(), &[NO_OFFSET]));
    under_load(&world, "the stored offsets", world.lose_offsets(), &said).await;
    // What Kafka knows of offsets is for graphs alone: nobody misses it, so there is nothing to say.
    let mut since = Logs::from_now_on(&world);
    let group = async {
        // By now the new product has shown the order service that its place in the catalogue was lost, too.
        since = Logs::from_now_on(&world);
        world.lose_group("order").await;
    };
    under_load(&world, "Kafka's offsets", group, &[]).await;
    let read_anew = [READ_ANEW, NO_OFFSET].map(|words| since.count("order", &[words.to_owned()]));
    assert_eq!(read_anew, [0, 0], "nothing is read again");
    // Last: then the broker numbers its producers from the beginning, and one that gets the number of the one before it is
    // refused once, whereupon its relay sends all again, and says so.
    let writers = Service::ALL.map(|service| once(service.name(), &[NEW_GENERATION]));
    let readers = Service::ALL.map(|service| for_each_partition(service.name(), &[READ_ANEW]));
    let said: Vec<Said> = writers.into_iter().chain(readers).collect();
    under_load(&world, "the broker's data", world.lose_broker_data(), &said).await;
}

/// Has something lost while orders come and go. Whoever notices must say so. Every message then stands in its topic, every
/// order ends as it must, and the books add up.
async fn under_load(world: &World, what: &str, lose: impl Future<Output = ()>, said: &[Said]) {
    let sku = format!("LOST-{}", what.to_uppercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"));
    world.product(&sku, 9_999).await;
    let logs = Logs::from_now_on(world);
    let traffic = Traffic::begin(world, &sku, ORDERS_PER_SECOND);
    sleep(WHILE).await;
    lose.await;
    await_all(&logs, what, said).await;
    sleep(WHILE).await;
    let accepted = traffic.end().await;
    accepted.settle(world).await;
    assert_once(&logs, what, said);
    world.all_is_sent().await;
    world.audit().await;
    eprintln!("{what} was lost; {} orders, asked for again {} times", accepted.count(), accepted.asked_again());
}

/// Waits until it is noticed that `what` was lost.
async fn await_all(logs: &Logs, what: &str, said: &[Said]) {
    let begun = Instant::now();
    for Said { service, words, .. } in said {
        logs.await_line(service, words, NOTICED).await;
    }
    eprintln!("{what} was lost, and noticed within {:?}", begun.elapsed());
}

fn assert_once(logs: &Logs, what: &str, said: &[Said]) {
    for Said { service, words, .. } in said.iter().filter(|said| said.once) {
        let count = logs.count(service, words);
        assert_eq!(count, 1, "{what} was lost, and {service} says {words:?} once:\n{}", logs.of(service));
    }
}

/// `service` says so in one line.
fn once(service: &'static str, words: &[&str]) -> Said {
    Said { service, words: words.iter().copied().map(str::to_owned).collect(), once: true }
}

/// `service` says so of each partition.
fn for_each_partition(service: &'static str, words: &[&str]) -> Said {
    Said { once: false, ..once(service, words) }
}

impl World {
    /// Deletes a topic and makes it anew, empty.
    async fn lose_topic(&self, topic: &str) {
        let deleted = self.kafka().delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        deleted.into_iter().next().unwrap().unwrap();
        // The relay makes it, too, when it misses it.
        let broker = Broker { brokers: self.shop.state().stores.brokers, prefix: String::new() };
        broker.ensure_topics(&service::topics::specs()).await.unwrap();
    }

    /// Kills the broker and removes all that it had.
    async fn lose_broker_data(&self) {
        self.shop.take_down("kafka").await.unwrap();
        std::fs::remove_dir_all(self.shop.folder().join("kafka")).unwrap();
        self.shop.bring_up("kafka");
        timeout(NOTICED, self.shop.all_up()).await.unwrap();
    }

    /// Drops the replication slot of `service`, whose relay is thrown out and may be quicker to take it again.
    async fn lose_slot(&self, service: &str) {
        let stores = Stores::of(self).await;
        let database = if service == "order" { &stores.orders } else { &stores.billing };
        let drop = "select pg_drop_replication_slot(slot_name) from pg_replication_slots
                    where pg_terminate_backend(active_pid, 1000) is not false";
        let dropped = async { while sqlx::raw_sql(drop).execute(database).await.is_err() {} };
        timeout(NOTICED, dropped).await.unwrap();
    }

    /// Fills MongoDB's log with other things while inventory is down, until it has forgotten where the relay was.
    async fn lose_token(&self) {
        self.shop.take_down("inventory").await.unwrap();
        let inventory = Stores::of(self).await.inventory;
        let relay = inventory.collection::<Document>("relay").find_one(doc! {}).await.unwrap().unwrap();
        let token = relay.get_document("token").unwrap().clone();
        let token: ResumeToken = bson::deserialize_from_document(token).unwrap();
        let filling = inventory.client().database("other");
        let much = "x".repeat(15 << 20);
        let forgotten = async {
            while inventory.collection::<Document>("outbox").watch().resume_after(token.clone()).await.is_ok() {
                for _ in 0..4 {
                    filling.collection("things").insert_one(doc! { "much": &much }).await.unwrap();
                }
            }
        };
        timeout(NOTICED, forgotten).await.unwrap();
        filling.drop().await.unwrap();
        self.shop.bring_up("inventory");
    }

    /// Takes away the offsets that the consumers have stored in their databases.
    async fn lose_offsets(&self) {
        let stores = Stores::of(self).await;
        for database in [&stores.orders, &stores.billing] {
            sqlx::raw_sql("delete from consumer_offset").execute(database).await.unwrap();
        }
        let offsets = stores.inventory.collection::<Document>("consumer_offset");
        // A batch that moves one of them at this moment is in the way.
        let deleted = async { while offsets.delete_many(doc! {}).await.is_err() {} };
        timeout(NOTICED, deleted).await.unwrap();
    }

    /// Has Kafka forget a consumer group, which it does once the group has no member any more.
    async fn lose_group(&self, group: &str) {
        self.shop.take_down("order").await.unwrap();
        let deleted = async {
            while let Err((_, code)) = &self.kafka().delete_groups(&[group], &AdminOptions::new()).await.unwrap()[0] {
                assert_eq!(*code, RDKafkaErrorCode::NonEmptyGroup);
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(NOTICED, deleted).await.unwrap();
        self.shop.bring_up("order");
        timeout(NOTICED, self.shop.all_up()).await.unwrap();
    }

    fn kafka(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.shop.state().stores.brokers).create().unwrap()
    }
}

//! The place where the relay stopped is lost, and no message is.

use bson::{Document, doc};
use futures::StreamExt as _;
use messaging::{Broker, Outgoing, mongo::Transaction};
use mongodb::{Database, options::ReturnDocument};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use testkit::TestKafka;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{metric, recorded},
    mistaking::lose_all_while_another_writes,
    relay::{Running, position, relays},
    support::{Arrivals, TOPIC, broker, commit, database, eventually, message, spec},
};

const WRITERS: usize = 4;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// What is done to the stored token while no relay runs.
async fn lose_token(db: &Database, how: &str) {
    match how {
        "not in the log" => {
            let token = token_of_no_event(db).await;
            relays(db).update_one(doc! {}, doc! { "$set": { "token": token } }).await.unwrap();
        }
        "never made" => {
            relays(db).delete_many(doc! {}).await.unwrap();
            messaging::mongo::prepare(db).await.unwrap();
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn without_its_token_the_relay_sends_all_again_and_then_goes_on() {
    for how in ["not in the log", "never made"] {
        let (db, broker) = (database().await, broker().await);
        let mut arrivals = Arrivals::of(&broker);
        let relay = Running::start(&db, &broker);
        let mut put = vec![message("a"), message("a"), message("b")];
        commit(&db, &put).await;
        arrivals.wait_for(&put).await;
        eventually("a token is stored", async || position(&db).await.get_document("token").ok().map(drop)).await;
        relay.stop().await;
        let between = [message("a"), message("b")];
        commit(&db, &between).await;
        put.extend(between);
        lose_token(&db, how).await;

        let relay = Running::start(&db, &broker);
        arrivals.wait_for(&put).await;
        let after = [message("a")];
        commit(&db, &after).await;
        put.extend(after);
        arrivals.wait_for(&put).await;
        assert_eq!(arrivals.times()[&put[0].id], 2, "{how}: the outbox was read");
        for key in ["a", "b"] {
            let ids: Vec<_> = put.iter().filter(|message| message.key == key).map(|message| message.id).collect();
            let seen = arrivals.in_effect(key);
            let known: Vec<_> = seen.iter().copied().filter(|id| ids.contains(id)).collect();
            assert_eq!(known, ids, "{how}: the order of key {key}");
        }
        relay.stop().await;
    }
}

/// See the same of PostgreSQL's relay.
#[tokio::test]
async fn a_message_that_is_taken_for_that_of_another_producer_is_sent_again() {
    recorded();
    let mut kafka = TestKafka::new("kafka-counts-anew").await;
    let (db, broker) = (database().await, Broker { brokers: kafka.brokers(), prefix: String::new() });
    lose_all_while_another_writes(&mut kafka, &broker, &spec(), "a", 1).await;
    let put = [(); 2].map(|()| Outgoing::new(TOPIC, "a".to_owned(), "it.happened.v1", &"x".repeat(600_000)));
    commit(&db, &put).await;
    let mut arrivals = Arrivals::of(&broker);
    let relay = Running::start(&db, &broker);
    arrivals.wait_for(&put).await;
    assert!(arrivals.in_effect("a").ends_with(&put.map(|message| message.id)), "in their order");
    let errors = format!("messaging_delivery_errors_total{{source=\"{}\"}}", db.name());
    assert_eq!(metric(&errors), Some(1.0), "it was taken for the other's");
    relay.stop().await;
}

/// A token like one that the log has forgotten: that of a real event, but of an earlier message id. Of a later one nobody
/// could say that it is missing before the next event.
async fn token_of_no_event(db: &Database) -> Document {
    let mut changes = db.collection::<Document>("outbox").watch().await.unwrap();
    commit(db, &[message("a")]).await;
    let token = bson::serialize_to_document(&changes.next().await.unwrap().unwrap().id).unwrap();
    let mut data = token.get_str("_data").unwrap().to_owned();
    let end_of_id = data.len() - 12..data.len() - 4;
    data.replace_range(end_of_id, "00000000");
    doc! { "_data": data }
}

/// Counts a key up and says so, until told that it is enough. What was committed: key, number, message.
async fn count_up(db: Database, key: &'static str, enough: CancellationToken) -> Vec<(&'static str, i32, Outgoing)> {
    let mut committed = Vec::new();
    while !enough.is_cancelled() {
        let mut tx = Transaction::begin(&db).await.unwrap();
        let (session, of) = tx.parts();
        let counters = of.collection::<Document>("counter");
        let counted = counters
            .find_one_and_update(doc! { "_id": key }, doc! { "$inc": { "n": 1 } })
            .return_document(ReturnDocument::After)
            .session(session)
            .await;
        // Another writer may be first.
        let Ok(Some(counter)) = counted else { continue };
        let message = message(key);
        if tx.put(std::slice::from_ref(&message)).await.is_ok() && tx.commit().await.is_ok() {
            committed.push((key, counter.get_i32("n").unwrap(), message));
        }
    }
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_overtaken_though_the_token_is_lost_under_load() {
    let (db, broker) = (database().await, broker().await);
    let counters = KEYS.map(|key| doc! { "_id": key, "n": 0 });
    db.collection::<Document>("counter").insert_many(counters).await.unwrap();
    let mut arrivals = Arrivals::of(&broker);
    let enough = CancellationToken::new();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS * KEYS.len() {
        writers.spawn(count_up(db.clone(), KEYS[writer % KEYS.len()], enough.clone()));
    }
    let mut relay = Running::start(&db, &broker);
    for _ in 0..3 {
        let before = arrivals.seen.len();
        eventually("messages come", async || {
            arrivals.look();
            (arrivals.seen.len() > before + 100).then_some(())
        })
        .await;
        relay.stop().await;
        relays(&db).update_one(doc! {}, doc! { "$set": { "token": null } }).await.unwrap();
        relay = Running::start(&db, &broker);
    }
    enough.cancel();
    let mut committed = writers.join_all().await.concat();
    committed.sort_by_key(|(_, n, _)| *n);
    let messages: Vec<Outgoing> = committed.iter().map(|(_, _, message)| message.clone()).collect();
    arrivals.wait_for(&messages).await;
    for key in KEYS {
        let ids: Vec<_> = committed.iter().filter(|(of, _, _)| *of == key).map(|(_, _, message)| message.id).collect();
        assert_eq!(arrivals.in_effect(key), ids, "the order of key {key}");
    }
    assert!(arrivals.seen.len() > messages.len() + 300, "what was sent was not sent again");
    relay.stop().await;
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_filled_again() {
    let (db, broker) = (database().await, broker().await);
    let mut arrivals = Arrivals::of(&broker);
    let relay = Running::start(&db, &broker);
    let first = [message("a"), message("b")];
    commit(&db, &first).await;
    arrivals.wait_for(&first).await;
    eventually("what was acknowledged is stored", async || {
        let acknowledged = position(&db).await.get_array("acknowledged").unwrap().len();
        (acknowledged > 0).then_some(())
    })
    .await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &broker.brokers).create().unwrap();
    let topic = broker.full_name(TOPIC);
    admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    eventually("a new generation", async || (position(&db).await.get_i64("generation").unwrap() == 2).then_some(()))
        .await;
    let second = [message("a")];
    commit(&db, &second).await;
    broker.ensure_topics(&[spec()]).await.unwrap();
    let mut arrivals = Arrivals::of(&broker);
    arrivals.wait_for(&[first.as_slice(), &second].concat()).await;
    assert_eq!(arrivals.in_effect("a"), [first[0].id, second[0].id]);
    relay.stop().await;
}

//! The topics lose what they had acknowledged, and nothing is missing.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use messaging::{
    Batch, HandleError, Outgoing, TopicSpec,
    consumer::caught_up,
    postgres::{Offsets, outbox},
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use testkit::TestKafka;
use tokio::sync::Semaphore;

use crate::{
    mistaking::lose_all_while_another_writes,
    relaying::KEYS,
    support::{Bench, TOPIC, Take, With, commit, eventually, spec, take},
};

const GENERATION: &str = "select generation from relay where slot = $1";
const READ: &str = "select coalesce(max(generation), 0) from consumer_offset where $1 <> ''";

fn admin(bench: &Bench) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &bench.broker.brokers).create().unwrap()
}

async fn delete_topic(bench: &Bench, topic: &str) {
    let topic = bench.broker.full_name(topic);
    let deleted = admin(bench).delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    deleted[0].as_ref().unwrap();
}

/// Messages `n` of all keys are sent, and confirmed with the offsets that the topic has acknowledged.
async fn settle(bench: &Bench, n: i32) {
    commit(&bench.db, &KEYS, n).await;
    let ours = bench.log_end().await;
    eventually("all is confirmed", async || bench.known().await >= ours).await;
}

/// The messages of each key took effect once, in their order.
async fn assert_effects(bench: &Bench, last: i32) {
    let all = i64::from(last) * i64::try_from(KEYS.len()).unwrap();
    eventually("all effects", async || bench.count_effects().await >= all).await;
    for key in KEYS {
        assert_eq!(bench.effects().await[key], (1..=last).collect::<Vec<_>>(), "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_is_filled_again_and_read_anew() {
    futures::future::join_all(
        ["deleted", "made anew by somebody else", "deleted while nothing is sent"].map(delete_and_go_on),
    )
    .await;
}

async fn delete_and_go_on(how: &str) {
    let bench = Bench::new().await;
    let consumer = bench.consumer(Take(bench.db.clone()));
    let relay = bench.relay();
    settle(&bench, 1).await;
    assert_effects(&bench, 1).await;
    assert_eq!((bench.ask(GENERATION).await, bench.ask(READ).await), (1, 1));

    delete_topic(&bench, TOPIC).await;
    if how == "made anew by somebody else" {
        bench.broker.ensure_topics(&[spec()]).await.unwrap();
    }
    if how != "deleted while nothing is sent" {
        commit(&bench.db, &KEYS, 2).await;
    }
    eventually(how, async || bench.ask(GENERATION).await == 2).await;
    if how == "deleted while nothing is sent" {
        commit(&bench.db, &KEYS, 2).await;
    }
    assert_effects(&bench, 2).await;
    commit(&bench.db, &KEYS, 3).await;
    assert_effects(&bench, 3).await;
    assert_eq!(bench.ask(READ).await, 2, "{how}");
    let there: HashSet<_> = bench.topic().into_iter().map(|(_, id)| id).collect();
    assert_eq!(there.len(), 15, "{how}: the topic has again what it had");
    assert_eq!(bench.ask(GENERATION).await, 2, "{how}: once is enough");
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// What is sent to another topic all the time tells nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_quiet_topic_is_noticed_by_a_busy_relay() {
    let bench = Bench::new().await;
    let quiet = TopicSpec { name: "quiet".into(), ..spec() };
    bench.broker.ensure_topics(std::slice::from_ref(&quiet)).await.unwrap();
    let relay = bench.relay();
    let mut tx = bench.db.begin().await.unwrap();
    outbox::put(&mut tx, &[Outgoing::new("quiet", "a".to_owned(), "it.happened.v1", &1)]).await.unwrap();
    tx.commit().await.unwrap();
    settle(&bench, 1).await;
    delete_topic(&bench, "quiet").await;
    bench.broker.ensure_topics(&[quiet]).await.unwrap();
    let mut n = 1;
    eventually("the loss is noticed", async || {
        n += 1;
        commit(&bench.db, &KEYS, n).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.ask(GENERATION).await == 2
    })
    .await;
    relay.stop().await;
    bench.finish().await;
}

/// The topic was made anew, and whoever reads it has not found out.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_beyond_the_end_is_not_taken_for_having_caught_up() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    settle(&bench, 1).await;
    let (broker, offsets) = (bench.broker.clone(), Offsets::new(bench.db.clone()));
    messaging::Offsets::load(&offsets, TOPIC, &[0, 1, 2]).await.unwrap();
    sqlx::query("update consumer_offset set next_offset = 1000").execute(&bench.db).await.unwrap();
    let mut caught_up = pin!(caught_up(&broker, TOPIC, &offsets));
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut caught_up).await.is_err(), "nothing was read");
    let consumer = bench.consumer(Take(bench.db.clone()));
    tokio::time::timeout(Duration::from_secs(30), caught_up).await.unwrap();
    assert_eq!(bench.count_effects().await, 5);
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lost_its_data_costs_no_message() {
    let mut kafka = TestKafka::new("kafka-loses-all").await;
    let bench = Bench::of(testkit::postgres().await, &kafka.brokers()).await;
    let relay = bench.relay();
    let consumer = bench.consumer(Take(bench.db.clone()));
    settle(&bench, 1).await;
    assert_effects(&bench, 1).await;
    consumer.stop().await;
    // Confirmed, and read by nobody.
    settle(&bench, 2).await;
    kafka.kill().await;
    kafka.start_without_data().await;
    let consumer = bench.consumer(Take(bench.db.clone()));
    assert_effects(&bench, 2).await;
    commit(&bench.db, &KEYS, 3).await;
    assert_effects(&bench, 3).await;
    assert_eq!((bench.ask(GENERATION).await, bench.ask(READ).await), (2, 2));
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_taken_for_that_of_another_producer_is_sent_again() {
    begin_with_the_number_of_another("taken for the one message of the other", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_refused_for_what_another_has_written_costs_no_message() {
    begin_with_the_number_of_another("out of sequence behind those of the other", 2).await;
}

/// A relay's first producer has the number of another, which has written so many messages. It has two to send, which are too large
/// for one request: the second must not be there first.
async fn begin_with_the_number_of_another(how: &str, written: usize) {
    let mut kafka = TestKafka::new(&format!("kafka-counts-anew-{written}")).await;
    let bench = Bench::of(testkit::postgres().await, &kafka.brokers()).await;
    lose_all_while_another_writes(&mut kafka, &bench.broker, &spec(), "a", written).await;
    let put = [(); 2].map(|()| Outgoing::new(TOPIC, "a".to_owned(), "it.happened.v1", &"x".repeat(600_000)));
    let mut tx = bench.db.begin().await.unwrap();
    outbox::put(&mut tx, &put).await.unwrap();
    tx.commit().await.unwrap();
    let relay = bench.relay();
    let ours = bench.log_end().await;
    eventually("all is confirmed", async || bench.known().await >= ours).await;
    let topic = bench.topic();
    let [first, second] = put.map(|message| topic.iter().position(|(_, there)| *there == message.id));
    assert!(
        first.is_some() && first < second,
        "{how}: what is confirmed is there, in its order, not {first:?}, {second:?}"
    );
    assert_eq!(bench.metric("messaging_delivery_errors_total"), Some(1.0), "{how}");
    relay.stop().await;
    bench.finish().await;
}

/// What Kafka's client has to say it says once, and it says it to a thread that waits for something else.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_while_a_batch_takes_long_is_read_anew() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    settle(&bench, 1).await;
    relay.stop().await;
    let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let consumer = bench.consumer(With({
        let (db, begun, gate) = (bench.db.clone(), Arc::clone(&begun), Arc::clone(&gate));
        move |batch: Arc<Batch>| {
            let (db, begun, gate) = (db.clone(), Arc::clone(&begun), Arc::clone(&gate));
            async move {
                begun.add_permits(1);
                gate.acquire().await.map_err(|closed| HandleError::Ours(closed.into()))?.forget();
                let mut tx = db.begin().await?;
                take(&mut tx, &batch).await?;
                Ok(tx.commit().await?)
            }
        }
    }));
    begun.acquire().await.unwrap().forget();
    delete_topic(&bench, TOPIC).await;
    bench.broker.ensure_topics(&[spec()]).await.unwrap();
    // The client has met the new topic, and the thread has begun to poll beside its batch.
    tokio::time::sleep(Duration::from_secs(8)).await;
    gate.add_permits(1_000);
    let relay = bench.relay();
    commit(&bench.db, &KEYS, 2).await;
    assert_effects(&bench, 2).await;
    assert_eq!((bench.ask(GENERATION).await, bench.ask(READ).await), (2, 2));
    relay.stop().await;
    consumer.stop().await;
    bench.finish().await;
}

/// The new log has grown to where the consumer was in the old one, so nothing but the generation tells them apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_fits_the_new_log_by_chance_is_not_taken_for_the_old_one() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let consumer = bench.consumer(Take(bench.db.clone()));
    settle(&bench, 1).await;
    assert_effects(&bench, 1).await;
    consumer.stop().await;
    let places = "select sum(next_offset)::bigint from consumer_offset where $1 <> ''";
    assert_eq!(bench.ask(places).await, 5, "nothing was sent twice");
    sqlx::query("delete from outbox").execute(&bench.db).await.unwrap();
    delete_topic(&bench, TOPIC).await;
    eventually("the loss is seen", async || bench.ask(GENERATION).await == 2).await;
    eventually("the empty outbox is sent again", async || bench.known().await > 0).await;
    settle(&bench, 2).await;
    assert_eq!(bench.topic().len(), 5, "the new log is as long as the old one was");

    let consumer = bench.consumer(Take(bench.db.clone()));
    assert_effects(&bench, 2).await;
    assert_eq!(bench.ask(READ).await, 2);
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offsets_that_kafka_keeps_for_the_group_do_not_matter() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let consumer = bench.consumer(Take(bench.db.clone()));
    commit(&bench.db, &KEYS, 1).await;
    assert_effects(&bench, 1).await;
    consumer.stop().await;
    let group = bench.slot();
    eventually("the group is deleted", async || {
        let deleted = admin(&bench).delete_groups(&[&group], &AdminOptions::new()).await.unwrap();
        deleted[0].is_ok()
    })
    .await;

    let seen: Arc<Mutex<usize>> = Arc::default();
    let (db, count) = (bench.db.clone(), Arc::clone(&seen));
    let consumer = bench.consumer(With(move |batch: Arc<Batch>| {
        let (db, count) = (db.clone(), Arc::clone(&count));
        async move {
            *count.lock().unwrap() += batch.records.len();
            let mut tx = db.begin().await?;
            take(&mut tx, &batch).await?;
            Ok(tx.commit().await?)
        }
    }));
    commit(&bench.db, &KEYS, 2).await;
    assert_effects(&bench, 2).await;
    assert_eq!(*seen.lock().unwrap(), 5, "it goes on where its database says");
    consumer.stop().await;
    relay.stop().await;
    bench.finish().await;
}

//! What is committed arrives, whatever becomes of the relays.

use std::time::{Duration, Instant};

use bson::{Bson, Document, doc};
use messaging::{
    Broker, Condition, Outgoing, Pulse,
    mongo::{
        self, Transaction,
        relay::{self, RelayError},
    },
};
use mongodb::Database;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Arrivals, PATIENCE, broker, commit, count, database, eventually, message, spec};

/// How often a relay renews its position.
const RENEWAL: Duration = Duration::from_secs(1);

/// A relay in a task of its own, which ends with it.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinSet<Result<(), RelayError>>,
    pulse: Pulse,
}

impl Running {
    pub(crate) fn start(db: &Database, broker: &Broker) -> Self {
        let (db, broker, stop, pulse) = (db.clone(), broker.clone(), CancellationToken::new(), Pulse::new());
        let mut task = JoinSet::new();
        task.spawn({
            let (stop, pulse) = (stop.clone(), pulse.clone());
            async move { relay::run(db.clone(), broker, db.name(), &[spec()], pulse, stop).await }
        });
        Self { stop, task, pulse }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.end().await.unwrap();
    }

    async fn end(mut self) -> Result<(), RelayError> {
        tokio::time::timeout(PATIENCE, self.task.join_next()).await.unwrap().unwrap().unwrap()
    }

    pub(crate) async fn kill(mut self) {
        self.task.shutdown().await;
    }
}

#[tokio::test]
async fn all_that_is_committed_arrives_in_order_across_a_restart() {
    let (db, broker) = (database().await, broker().await);
    let keys: Vec<String> = (0..7).map(|n| n.to_string()).collect();
    let mut arrivals = Arrivals::of(&broker);
    let mut committed: Vec<Outgoing> = Vec::new();

    // Before the first relay ever runs.
    write(&db, &keys, 20, &mut committed).await;
    let relay = Running::start(&db, &broker);
    write(&db, &keys, 20, &mut committed).await;
    arrivals.wait_for(&committed[..1]).await;
    relay.stop().await;
    let cut = arrivals.times().len();
    write(&db, &keys, 20, &mut committed).await;
    let relay = Running::start(&db, &broker);
    write(&db, &keys, 20, &mut committed).await;
    arrivals.wait_for(&committed).await;
    relay.stop().await;

    assert!(cut < committed.len(), "the restart came mid-way");
    assert_eq!(arrivals.times().len(), committed.len(), "what was aborted is not sent");
    for key in &keys {
        let put: Vec<_> = committed.iter().filter(|message| message.key == *key).map(|message| message.id).collect();
        assert_eq!(arrivals.in_effect(key), put, "the order of key {key}");
    }
}

/// The one relay that streams, taken out of `relays`; the others stand by.
async fn the_one_that_streams(relays: &mut Vec<Running>) -> Running {
    let at = eventually("one streams, and the others stand by", async || {
        let conditions: Vec<Condition> = relays.iter().map(|relay| relay.pulse.condition(2 * RENEWAL)).collect();
        let waiting = conditions.iter().filter(|one| **one == Condition::StandsBy).count();
        let at = conditions.iter().position(|one| *one == Condition::Works)?;
        (waiting + 1 == relays.len()).then_some(at)
    })
    .await;
    relays.remove(at)
}

#[tokio::test]
async fn of_three_relays_one_streams_and_one_that_is_stopped_leaves_nothing_to_send_again() {
    let (db, broker) = (database().await, broker().await);
    let mut arrivals = Arrivals::of(&broker);
    let mut relays: Vec<Running> = (0..3).map(|_| Running::start(&db, &broker)).collect();
    let keys: Vec<String> = (0..7).map(|n| n.to_string()).collect();
    let mut committed: Vec<Outgoing> = Vec::new();
    for _ in 0..2 {
        let streams = the_one_that_streams(&mut relays).await;
        write(&db, &keys, 20, &mut committed).await;
        let told = Instant::now();
        let (stopped, ()) = tokio::join!(
            async {
                streams.stop().await;
                told.elapsed()
            },
            write(&db, &keys, 20, &mut committed)
        );
        arrivals.wait_for(&committed).await;
        eprintln!("stopped in {stopped:?}, and all of the next had arrived {:?} after that was told", told.elapsed());
    }
    assert_eq!(arrivals.seen.len(), committed.len(), "nothing is sent twice");
    the_one_that_streams(&mut relays).await.stop().await;
}

/// How many messages a relay with this token would send.
async fn inserts_after(db: &Database, token: Document) -> usize {
    let token = bson::deserialize_from_document(token).unwrap();
    let outbox = db.collection::<Document>("outbox");
    let mut changes = outbox.watch().resume_after(Some(token)).max_await_time(Duration::from_millis(1)).await.unwrap();
    let mut inserts = 0;
    while changes.next_if_any().await.unwrap().is_some() {
        inserts += 1;
    }
    inserts
}

/// Commits `rounds` transactions of one message per key, and aborts as many more.
async fn write(db: &Database, keys: &[String], rounds: usize, committed: &mut Vec<Outgoing>) {
    for _ in 0..rounds {
        let mut aborted = Transaction::begin(db).await.unwrap();
        aborted.put(&[message("aborted")]).await.unwrap();
        aborted.abort().await.unwrap();
        let messages: Vec<Outgoing> = keys.iter().map(|key| message(key)).collect();
        commit(db, &messages).await;
        committed.extend(messages);
    }
}

#[tokio::test]
async fn a_relay_goes_on_from_its_token() {
    let (db, broker) = (database().await, broker().await);
    let mut arrivals = Arrivals::of(&broker);
    let relay = Running::start(&db, &broker);
    let before = [message("a"), message("b")];
    commit(&db, &before).await;
    arrivals.wait_for(&before).await;
    let arrived = Instant::now();
    eventually("a token that is past the messages", async || {
        let token = position(&db).await.get_document("token").ok()?.clone();
        (inserts_after(&db, token).await == 0).then_some(())
    })
    .await;
    let settled = arrived.elapsed();
    assert!(settled > Duration::from_millis(2500), "not before the broker has flushed: {settled:?}");
    relay.stop().await;

    let relay = Running::start(&db, &broker);
    let after = [message("a")];
    commit(&db, &after).await;
    arrivals.wait_for(&after).await;
    assert_eq!(arrivals.seen.len(), 3, "what was settled does not come again");
    relay.stop().await;
}

#[tokio::test]
async fn only_one_of_two_relays_streams_and_the_other_takes_over() {
    let (db, broker) = (database().await, broker().await);
    let mut arrivals = Arrivals::of(&broker);
    let first = Running::start(&db, &broker);
    let holder = holder_other_than(&db, &Bson::Null).await;
    // What commits while it begins may be found both in the outbox and in the log.
    let streams = || (first.pulse.condition(2 * RENEWAL) == Condition::Works).then_some(());
    eventually("the first streams", async || streams()).await;
    let second = Running::start(&db, &broker);
    let messages: Vec<Outgoing> = (0..50).map(|n| message(&n.to_string())).collect();
    commit(&db, &messages).await;
    arrivals.wait_for(&messages).await;
    let late = Instant::now() + Duration::from_secs(1);
    while Instant::now() < late {
        arrivals.look();
        tokio::task::yield_now().await;
    }
    assert_eq!(arrivals.seen.len(), messages.len(), "each once: only one of them streams");
    assert_eq!(position(&db).await.get("holder"), Some(&holder));

    first.kill().await;
    let orphan = [message("orphan")];
    commit(&db, &orphan).await;
    arrivals.wait_for(&orphan).await;
    let holder = holder_other_than(&db, &holder).await;

    let third = Running::start(&db, &broker);
    let stopped = Instant::now();
    second.stop().await;
    let heir = [message("heir")];
    commit(&db, &heir).await;
    arrivals.wait_for(&heir).await;
    assert!(stopped.elapsed() < Duration::from_secs(2), "at once: {:?}", stopped.elapsed());
    holder_other_than(&db, &holder).await;
    third.stop().await;
    assert_eq!(position(&db).await.get("holder"), Some(&Bson::Null));
}

#[tokio::test]
async fn a_relay_that_lost_its_position_stops_streaming() {
    let (db, broker) = (database().await, broker().await);
    let relay = Running::start(&db, &broker);
    holder_other_than(&db, &Bson::Null).await;
    let theft = doc! { "$set": { "holder": "thief", "token": null }, "$currentDate": { "heartbeat": true } };
    relays(&db).update_one(doc! {}, theft).await.unwrap();
    let robbed = position(&db).await;
    // It comes back when the thief is silent, and not before.
    let back = holder_other_than(&db, &"thief".into()).await;
    assert_ne!(back, Bson::Null);
    let taken = position(&db).await;
    let silence = taken.get_datetime("heartbeat").unwrap().timestamp_millis()
        - robbed.get_datetime("heartbeat").unwrap().timestamp_millis();
    assert!(silence >= 6_000, "{silence} ms");
    relay.stop().await;
}

#[tokio::test]
async fn what_a_relay_cannot_mend_ends_it_loudly() {
    let (db, broker) = (database().await, broker().await);
    relays(&db).delete_many(doc! {}).await.unwrap();
    let ended = Running::start(&db, &broker).end().await;
    assert!(matches!(ended, Err(RelayError::NotPrepared)), "{ended:?}");

    mongo::prepare(&db).await.unwrap();
    mongo::prepare(&db).await.unwrap();
    assert_eq!(count(&db, "relay").await, 1, "prepared twice, one position");
    let relay = Running::start(&db, &broker);
    eventually("the relay streams", async || position(&db).await.get_document("token").ok().map(drop)).await;
    db.collection::<Document>("outbox").drop().await.unwrap();
    let ended = relay.end().await;
    assert!(matches!(ended, Err(RelayError::OutboxGone)), "{ended:?}");
}

pub(crate) fn relays(db: &Database) -> mongodb::Collection<Document> {
    db.collection("relay")
}

pub(crate) async fn position(db: &Database) -> Document {
    relays(db).find_one(doc! {}).await.unwrap().unwrap()
}

pub(crate) async fn holder_other_than(db: &Database, before: &Bson) -> Bson {
    eventually("another holder", async || {
        let holder = position(db).await.get("holder").cloned().unwrap();
        (holder != *before && holder != Bson::Null).then_some(holder)
    })
    .await
}

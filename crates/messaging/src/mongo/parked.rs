//! Parked messages in MongoDB, in collection `parked_message`: see [`crate::parked`].
//!
//! Whoever changes something here writes the partition's document of the offsets in the same transaction. Two who do so
//! at once conflict, and one begins again with what the other has left. An operator's transaction begins with that: else one
//! batch after the other would spoil it shortly before its end.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use bson::{Binary, Bson, Document, Timestamp, doc, spec::BinarySubtype};
use futures::TryStreamExt;
use mongodb::{
    ClientSession, Database,
    error::{Result, TRANSIENT_TRANSACTION_ERROR},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::{CONSUMER_OFFSET, PARKED, Statement, Transaction, offsets, outbox::FILLED_BY_SERVER, update};
use crate::{
    Batch, HandleError, Record,
    consumer::BoxError,
    parked::{self, Division, Dropped, Key, ParkedKey, ParkedMessage},
};

/// For how long an operator's transaction is tried again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A document of the collection.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    /// When, by the server's clock; it numbers the messages, too.
    at: Timestamp,
    topic: String,
    partition: i32,
    /// Where it was read.
    place: i64,
    key: String,
    kind: Option<String>,
    traceparent: Option<String>,
    raw_key: Binary,
    headers: String,
    payload: Binary,
    bytes: i64,
    reason: Option<String>,
    /// An operator wants it taken in. The same for all messages of a key.
    replay: bool,
}

/// How many keys are parked.
///
/// # Errors
/// Whatever the database says.
pub async fn count(db: &Database) -> Result<u64> {
    Ok(list(db).await?.len() as u64)
}

/// Every parked key, the oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn list(db: &Database) -> Result<Vec<ParkedKey>> {
    let group = doc! {
        "_id": { "topic": "$topic", "key": "$key" }, "messages": { "$sum": 1_i64 }, "since": { "$first": "$at" },
        "reason": { "$first": "$reason" }, "replaying": { "$max": "$replay" },
    };
    let stages = [doc! { "$sort": { "at": 1 } }, doc! { "$group": group }, doc! { "$sort": { "since": 1 } }];
    let groups = db.collection::<Document>(PARKED).aggregate(stages).with_type::<Grouped>().await?;
    groups.map_ok(ParkedKey::from).try_collect().await
}

#[derive(Deserialize)]
struct Grouped {
    #[serde(rename = "_id")]
    of: GroupedBy,
    messages: i64,
    since: Timestamp,
    reason: Option<String>,
    replaying: bool,
}

#[derive(Deserialize)]
struct GroupedBy {
    topic: String,
    key: String,
}

impl From<Grouped> for ParkedKey {
    fn from(group: Grouped) -> Self {
        Self {
            topic: group.of.topic,
            key: group.of.key,
            messages: group.messages,
            since: jiff::Timestamp::from_second(i64::from(group.since.time)).unwrap_or_default(),
            reason: group.reason.unwrap_or_default(),
            replaying: group.replaying,
        }
    }
}

/// The messages that are parked under `key` of `topic`, in their order.
///
/// # Errors
/// Whatever the database says.
pub async fn show(db: &Database, topic: &str, key: &str) -> Result<Vec<ParkedMessage>> {
    let messages = db.collection::<Stored>(PARKED);
    let found = messages.find(doc! { "topic": topic, "key": key }).sort(doc! { "at": 1 }).await?;
    found.map_ok(ParkedMessage::from).try_collect().await
}

/// Marks all messages of a key: their consumer will take them in, in their order. Gives their number.
///
/// # Errors
/// Whatever the database says.
pub async fn replay(db: &Database, topic: &str, key: &str) -> Result<u64> {
    tried_again(async || {
        let Some(mut tx) = begin(db, topic, key).await? else { return Ok(0) };
        let marked = mark(&mut tx, topic, key, true).await?;
        tx.commit().await?;
        Ok(marked)
    })
    .await
}

/// Drops the first message of a key, or all.
///
/// # Errors
/// As [`replay`].
pub async fn drop(db: &Database, topic: &str, key: &str, all: bool) -> Result<Dropped> {
    tried_again(async || try_to_drop(db, topic, key, all).await).await
}

/// A transaction that has written the partition of the messages of `key`, if there are any. From then on a batch conflicts with
/// it, and not it with a batch.
async fn begin(db: &Database, topic: &str, key: &str) -> Result<Option<Transaction>> {
    let of_key = doc! { "topic": topic, "key": key };
    // Outside, because the first statement decides what the others see. A key keeps its partition.
    let Some(first) = db.collection::<Stored>(PARKED).find_one(of_key).await? else { return Ok(None) };
    let mut tx = Transaction::begin(db).await?;
    let (session, db) = tx.parts();
    touch(session, db, topic, first.partition, doc! {}).await?;
    Ok(Some(tx))
}

/// Batches that are taken in right now conflict with an operator.
async fn tried_again<T>(mut work: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work().await {
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(rand::random_range(0..20))).await;
            }
            outcome => return outcome,
        }
    }
}

async fn try_to_drop(db: &Database, topic: &str, key: &str, all: bool) -> Result<Dropped> {
    let Some(mut tx) = begin(db, topic, key).await? else { return Ok(Dropped { messages: Vec::new(), left: 0 }) };
    let messages = of_key(&mut tx, topic, key).await?;
    let dropped = if all { messages.as_slice() } else { &messages[..messages.len().min(1)] };
    let partitions: BTreeSet<i32> = dropped.iter().map(|message| message.partition).collect();
    let ids: Vec<bson::Uuid> = dropped.iter().map(|message| message.id).collect();
    delete(tx.parts(), &ids).await?;
    for partition in partitions {
        free(tx.parts(), topic, partition).await?;
    }
    tx.commit().await?;
    let left = (messages.len() - dropped.len()) as u64;
    Ok(Dropped { messages: dropped.iter().map(|one| (one.id.into(), one.kind.clone())).collect(), left })
}

/// The messages of a key in their order, as `tx` sees them.
async fn of_key(tx: &mut Transaction, topic: &str, key: &str) -> Result<Vec<Stored>> {
    let mut found: Vec<Stored> = tx.find(PARKED, doc! { "topic": topic, "key": key }).await?;
    found.sort_by_key(|message| message.at);
    Ok(found)
}

async fn mark(tx: &mut Transaction, topic: &str, key: &str, replay: bool) -> Result<u64> {
    let messages = of_key(tx, topic, key).await?;
    let marks: Vec<Statement> = messages
        .iter()
        .map(|message| Statement::new(doc! { "_id": message.id }, doc! { "$set": { "replay": replay } }))
        .collect();
    tx.update(PARKED, &marks).await
}

/// Writes the partition's document of the offsets, so that whoever else does so at once conflicts.
async fn touch(session: &mut ClientSession, db: &Database, topic: &str, partition: i32, set: Document) -> Result<()> {
    let mut change = doc! { "$inc": { "parked_changes": 1_i64 } };
    if !set.is_empty() {
        change.insert("$set", set);
    }
    let statement = Statement::new(doc! { "_id": offsets::id(topic, partition) }, change);
    update::run(Some(session), db, CONSUMER_OFFSET, &[statement]).await.map(std::mem::drop)
}

async fn delete((session, db): (&mut ClientSession, &Database), ids: &[bson::Uuid]) -> Result<u64> {
    let gone = db.collection::<Document>(PARKED).delete_many(doc! { "_id": { "$in": ids } }).session(session).await?;
    Ok(gone.deleted_count)
}

/// Says at the partition whether anything of it is parked still.
async fn free((session, db): (&mut ClientSession, &Database), topic: &str, partition: i32) -> Result<()> {
    let of_it = doc! { "topic": topic, "partition": partition };
    let left = db.collection::<Document>(PARKED).find_one(of_it).session(&mut *session).await?;
    touch(session, db, topic, partition, doc! { "parked": left.is_some() }).await
}

/// See [`Offsets::marked`](crate::Offsets::marked).
pub(super) async fn marked(db: &Database, partitions: &[(String, i32)]) -> Result<Vec<ParkedMessage>> {
    let any: Vec<Document> = partitions.iter().map(|one| doc! { "topic": &one.0, "partition": one.1 }).collect();
    let messages = db.collection::<Stored>(PARKED);
    let mut found = messages.find(doc! { "replay": true, "$or": any }).sort(doc! { "at": -1 }).await?;
    // The first of each key: what comes earlier replaces what comes later.
    let mut firsts: BTreeMap<Key, ParkedMessage> = BTreeMap::new();
    while let Some(message) = found.try_next().await? {
        firsts.insert((message.topic.clone(), message.key.clone()), message.into());
    }
    Ok(firsts.into_values().collect())
}

/// See [`Offsets::unmark`](crate::Offsets::unmark).
pub(super) async fn unmark(db: &Database, message: &ParkedMessage, reason: &str) -> std::result::Result<(), BoxError> {
    let Some(mut tx) = begin(db, &message.topic, &message.key).await? else { return Ok(()) };
    mark(&mut tx, &message.topic, &message.key, false).await?;
    let reason = doc! { "$set": { "reason": parked::said(reason) } };
    tx.update(PARKED, &[Statement::new(doc! { "_id": bson::Uuid::from(message.id) }, reason)]).await?;
    Ok(tx.commit().await?)
}

/// Takes the one record of a replay out, if it is the first of its key.
pub(super) async fn take_out(
    session: &mut ClientSession,
    db: &Database,
    record: &Record,
    key: &str,
) -> std::result::Result<(), HandleError> {
    let messages = db.collection::<Stored>(PARKED);
    let of_key = doc! { "topic": &record.topic, "key": key };
    let first = messages.find_one(of_key).sort(doc! { "at": 1 }).session(&mut *session).await?;
    let id = bson::Uuid::from(record.id);
    if first.is_none_or(|first| first.id != id || !first.replay) {
        return Err(HandleError::Fenced);
    }
    delete((&mut *session, db), &[id]).await?;
    Ok(free((session, db), &record.topic, record.partition).await?)
}

/// Parks what is at fault and what belongs behind it; gives back the rest of what is `fresh`.
pub(super) async fn divide<'b>(
    session: &mut ClientSession,
    db: &Database,
    batch: &'b Batch,
    fresh: HashSet<Uuid>,
) -> std::result::Result<Vec<&'b Record>, HandleError> {
    let known = known(session, db, &parked::keys(batch)).await?;
    let marked: HashSet<Key> = known.iter().filter(|(_, replay)| *replay).map(|(key, _)| key.clone()).collect();
    let known: HashSet<Key> = known.into_iter().map(|(key, _)| key).collect();
    let Division { taken, parked, new_keys } = parked::divide(batch, fresh, &known);
    if !new_keys.is_empty() {
        let group = doc! { "$group": { "_id": { "topic": "$topic", "key": "$key" } } };
        let count = [group, doc! { "$count": "keys" }];
        let mut counted = db.collection::<Document>(PARKED).aggregate(count).session(&mut *session).await?;
        let keys = counted.next(session).await.transpose()?.and_then(|counted| counted.get_i32("keys").ok());
        let (parked, max) = (usize::try_from(keys.unwrap_or_default()).unwrap_or_default(), batch.parked_keys_max);
        if parked + new_keys.len() > max {
            return Err(HandleError::TooManyParked { parked, max });
        }
    }
    insert(session, db, parked, &marked).await?;
    Ok(taken)
}

/// Which of `keys` are parked, and whether they are marked.
async fn known(session: &mut ClientSession, db: &Database, keys: &HashSet<Key>) -> Result<HashSet<(Key, bool)>> {
    #[derive(Deserialize)]
    struct Known {
        topic: String,
        key: String,
        replay: bool,
    }
    let any: Vec<Document> = keys.iter().map(|(topic, key)| doc! { "topic": topic, "key": key }).collect();
    let fields = doc! { "topic": 1, "key": 1, "replay": 1 };
    let messages = db.collection::<Known>(PARKED);
    let mut parked = messages.find(doc! { "$or": any }).projection(fields).session(&mut *session).await?;
    let mut known = HashSet::new();
    while let Some(Known { topic, key, replay }) = parked.next(session).await.transpose()? {
        known.insert(((topic, key), replay));
    }
    Ok(known)
}

async fn insert(
    session: &mut ClientSession,
    db: &Database,
    messages: Vec<ParkedMessage>,
    marked: &HashSet<Key>,
) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    // Known ids are from longer ago than the inbox remembers; one of them would spoil the whole transaction.
    let ids: Vec<bson::Uuid> = messages.iter().map(|message| message.id.into()).collect();
    let stored = db.collection::<Document>(PARKED);
    let there: Vec<Bson> = stored.distinct("_id", doc! { "_id": { "$in": ids } }).session(&mut *session).await?;
    let is_new = |message: &ParkedMessage| !there.contains(&bson::Uuid::from(message.id).into());
    let messages: Vec<ParkedMessage> = messages.into_iter().filter(is_new).collect();
    let here: BTreeSet<(String, i32)> = messages.iter().map(|one| (one.topic.clone(), one.partition)).collect();
    let stored = |message: ParkedMessage| {
        let replay = marked.contains(&(message.topic.clone(), message.key.clone()));
        Stored { replay, ..message.into() }
    };
    let stored: Vec<Stored> = messages.into_iter().map(stored).collect();
    if !stored.is_empty() {
        db.collection::<Stored>(PARKED).insert_many(stored).session(&mut *session).await?;
    }
    for (topic, partition) in here {
        touch(session, db, &topic, partition, doc! { "parked": true }).await?;
    }
    Ok(())
}

impl From<ParkedMessage> for Stored {
    fn from(message: ParkedMessage) -> Self {
        let binary = |bytes| Binary { subtype: BinarySubtype::Generic, bytes };
        Self {
            id: message.id.into(),
            at: FILLED_BY_SERVER,
            topic: message.topic,
            partition: message.partition,
            place: message.offset,
            key: message.key,
            kind: message.kind,
            traceparent: message.traceparent,
            raw_key: binary(message.raw_key),
            headers: message.headers,
            payload: binary(message.payload),
            bytes: message.bytes,
            reason: message.reason,
            replay: false,
        }
    }
}

impl From<Stored> for ParkedMessage {
    fn from(stored: Stored) -> Self {
        Self {
            id: stored.id.into(),
            topic: stored.topic,
            partition: stored.partition,
            offset: stored.place,
            key: stored.key,
            kind: stored.kind,
            traceparent: stored.traceparent,
            raw_key: stored.raw_key.bytes,
            headers: stored.headers,
            payload: stored.payload.bytes,
            bytes: stored.bytes,
            reason: stored.reason,
        }
    }
}

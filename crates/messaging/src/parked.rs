//! Messages that cannot be taken in, and what waits behind them.
//!
//! A message at fault is kept in the consumer's own database, written by the transaction that moves the offset past it.
//! Its key is *parked* from then on: later messages of that key and topic join it, in their order, until an operator has
//! them replayed or drops them. A key of a topic lives in one partition, and whoever parks, joins, replays or drops writes
//! or locks that partition's row of the offsets first, so no two of them overlap. That row also says whether anything of
//! the partition is parked at all: a consumer learns it with the offset, and where nothing is, it never looks.
//!
//! The topics of one consumer are parked each for itself: between topics there is no order to keep.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Batch, Record};

/// How many keys a service may have parked, unless it says otherwise.
pub const KEYS_MAX: usize = 100;

/// Longer keys, and those that are no plain text, are called by their hash.
const LONGEST_KEY: usize = 256;
/// Of a reason so many characters are kept.
const LONGEST_REASON: usize = 1_000;

/// A message that cannot be taken in, or one that waits behind such a message.
#[derive(Debug, Clone, PartialEq)]
pub struct ParkedMessage {
    /// The message id; of what is no message, made of its place and bytes.
    pub id: Uuid,
    /// The topic, without the prefix of the installation.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its place in the partition when it was read.
    pub offset: i64,
    /// What it is parked under: its key; or the hash of its key, if that is long or no plain text.
    pub key: String,
    /// The versioned name; `None` of what is no message, which can only be dropped.
    pub kind: Option<String>,
    /// The W3C trace context it was caused in.
    pub traceparent: Option<String>,
    /// The key as it came.
    pub raw_key: Vec<u8>,
    /// The headers as they came, as JSON: names with values, where a byte that is not printable ASCII is `\xNN`.
    pub headers: String,
    /// The value as it came; of one too large, the beginning.
    pub payload: Vec<u8>,
    /// How many bytes it had, all in all.
    pub bytes: i64,
    /// What is wrong with it; `None` if it only waits behind another.
    pub reason: Option<String>,
}

/// A key whose messages wait for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedKey {
    /// The topic, without the prefix of the installation.
    pub topic: String,
    /// See [`ParkedMessage::key`].
    pub key: String,
    /// How many messages wait.
    pub messages: i64,
    /// When the first of them was parked.
    pub since: Timestamp,
    /// What is wrong with the first of them.
    pub reason: String,
    /// They are marked, and the consumer will take them in.
    pub replaying: bool,
}

/// What an operator dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The messages dropped, in their order: id and versioned name.
    pub messages: Vec<(Uuid, Option<String>)>,
    /// How many of the key still wait.
    pub left: u64,
}

impl ParkedMessage {
    /// `record`, which is at fault for `reason`, or waits behind another.
    pub(crate) fn of(record: &Record, reason: Option<&str>) -> Self {
        Self {
            id: record.id,
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            key: key_of(record.key.as_bytes()),
            kind: Some(record.kind.clone()),
            traceparent: record.traceparent.clone(),
            raw_key: record.key.clone().into_bytes(),
            headers: record.headers.to_json(),
            payload: record.payload.clone(),
            bytes: i64::try_from(record.key.len() + record.payload.len()).unwrap_or(i64::MAX),
            reason: reason.map(said),
        }
    }

    /// The message itself, to be taken in after all; `None` if it is none.
    pub(crate) fn record(self) -> Option<Record> {
        Some(Record {
            kind: self.kind?,
            key: String::from_utf8(self.raw_key).ok()?,
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            id: self.id,
            payload: self.payload,
            traceparent: self.traceparent,
            headers: crate::Headers::default(),
        })
    }
}

/// What the key `bytes` is parked under: a text that every database takes, and every terminal.
pub(crate) fn key_of(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= LONGEST_KEY && !text.contains(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => format!("sha256:{:x}", Sha256::digest(bytes)),
    }
}

/// `reason` as one line that every database takes.
pub(crate) fn said(reason: &str) -> String {
    reason.chars().take(LONGEST_REASON).map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect()
}

/// A key of a topic.
pub(crate) type Key = (String, String);

/// The records of `fresh` that may be taken in, and what must be parked instead, each in the order of the logs.
pub(crate) struct Division<'b> {
    pub(crate) taken: Vec<&'b Record>,
    pub(crate) parked: Vec<ParkedMessage>,
    /// Keys that were not parked before.
    pub(crate) new_keys: HashSet<Key>,
}

/// The keys of `batch`, as they would be parked.
pub(crate) fn keys(batch: &Batch) -> HashSet<Key> {
    let records = batch.records.iter().map(|record| (record.topic.clone(), key_of(record.key.as_bytes())));
    let faulty = batch.faulty.iter().map(|message| (message.topic.clone(), message.key.clone()));
    records.chain(faulty).collect()
}

/// Divides what is `fresh` of `batch`, where `known` are those of its keys that are parked already.
pub(crate) fn divide<'b>(batch: &'b Batch, mut fresh: HashSet<Uuid>, known: &HashSet<Key>) -> Division<'b> {
    // `remove`, here and below: of two copies in one batch the first counts.
    let mut parked: Vec<_> = batch.faulty.iter().filter(|message| fresh.remove(&message.id)).cloned().collect();
    let mut begins: HashMap<Key, i64> = HashMap::new();
    for message in &parked {
        let begin = begins.entry((message.topic.clone(), message.key.clone())).or_insert(message.offset);
        *begin = message.offset.min(*begin);
    }
    let mut taken = Vec::new();
    for record in batch.records.iter().filter(|record| fresh.remove(&record.id)) {
        let key = (record.topic.clone(), key_of(record.key.as_bytes()));
        if known.contains(&key) || begins.get(&key).is_some_and(|begin| *begin < record.offset) {
            parked.push(ParkedMessage::of(record, None));
        } else {
            taken.push(record);
        }
    }
    parked.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
    let new_keys = begins.into_keys().filter(|key| !known.contains(key)).collect();
    Division { taken, parked, new_keys }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, offset: i64) -> Record {
        let id = Uuid::now_v7();
        Record { topic: "a".into(), offset, id, kind: "k".into(), key: key.into(), ..Record::default() }
    }

    fn divided(batch: &Batch, known: &[&str]) -> (Vec<i64>, Vec<(i64, bool)>, usize) {
        let fresh = batch.records.iter().map(|record| record.id).chain(batch.faulty.iter().map(|faulty| faulty.id));
        let known = known.iter().map(|key| ("a".to_owned(), (*key).to_owned())).collect();
        let Division { taken, parked, new_keys } = divide(batch, fresh.collect(), &known);
        let parked = parked.iter().map(|message| (message.offset, message.reason.is_some())).collect();
        (taken.iter().map(|record| record.offset).collect(), parked, new_keys.len())
    }

    #[test]
    fn what_comes_behind_a_message_at_fault_joins_it_and_nothing_else_does() {
        let records = vec![record("x", 1), record("y", 2), record("x", 4), record("y", 5), record("z", 6)];
        let faulty =
            vec![ParkedMessage::of(&record("x", 3), Some("bad")), ParkedMessage::of(&record("z", 7), Some("bad"))];
        let batch = Batch { records, faulty, ..Batch::default() };
        assert_eq!(divided(&batch, &[]), (vec![1, 2, 5, 6], vec![(3, true), (4, false), (7, true)], 2));
        assert_eq!(
            divided(&batch, &["x"]),
            (vec![2, 5, 6], vec![(1, false), (3, true), (4, false), (7, true)], 1),
            "a key that is parked already"
        );
    }

    #[test]
    fn a_message_seen_before_is_neither_taken_nor_parked() {
        let bad = record("x", 1);
        let batch = Batch {
            records: vec![record("x", 2)],
            faulty: vec![ParkedMessage::of(&bad, Some("bad"))],
            ..Batch::default()
        };
        let fresh = [batch.records[0].id].into();
        let Division { taken, parked, new_keys } = divide(&batch, fresh, &HashSet::new());
        assert_eq!((taken.len(), parked.len(), new_keys.len()), (1, 0, 0));
    }

    #[test]
    fn a_key_is_called_by_a_text_that_every_store_takes() {
        assert_eq!(key_of(b"HAM-300"), "HAM-300");
        assert_eq!(key_of(b""), "");
        for odd in [&b"\xff"[..], b"a\0b", b"\x1b[31m", &[b'k'; 300]] {
            let name = key_of(odd);
            assert!(name.starts_with("sha256:") && name.len() == 71, "{name}");
        }
        assert_eq!(said("a\0b\nc"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(said(&"x".repeat(5_000)).len(), LONGEST_REASON);
    }
}

//! From what Kafka hands over to a [`Record`], or to what must be parked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::{
    Message as _,
    message::{BorrowedMessage, Headers as _},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Headers, Record,
    broker::LARGEST_RECORD,
    parked::{self, ParkedMessage},
};

/// Of a key that is no text so many bytes are kept, and of headers so many characters.
const KEPT: usize = 16 * 1024;
/// The longest versioned name, and the longest trace context, in bytes.
const LONGEST_NAME: usize = 256;

/// What a record lacks: somebody else writes to this topic, or its bytes are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// No key, or one that is not UTF-8.
    #[error("its key is no text")]
    Key,
    /// No value.
    #[error("it has no value")]
    Value,
    /// No header `ce_id`, or one that is no UUID.
    #[error("its header ce_id is no UUID")]
    Id,
    /// No header `ce_type`, or one that is no short plain text.
    #[error("its header ce_type is no short plain text")]
    Kind,
    /// A header whose name is not UTF-8.
    #[error("the name of a header is no text")]
    HeaderName,
    /// It is larger than any message can be; only its beginning is kept.
    #[error("it has {0} bytes, {LARGEST_RECORD} are the most; its beginning is kept")]
    Size(usize),
}

/// The headers of a record, read once.
#[derive(Debug, Default)]
pub(super) struct Read {
    headers: Headers,
    id: Option<Uuid>,
    kind: Option<String>,
    traceparent: Option<String>,
    /// The generation of the relay that sent the record; 0 if it does not say.
    pub(super) generation: i64,
    /// The bytes of all headers.
    bytes: usize,
    unreadable: bool,
}

impl Read {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        // The client panics at a name that is not UTF-8, and has no other way to read the headers.
        let read = catch_unwind(AssertUnwindSafe(|| Self::headers(message)));
        read.unwrap_or_else(|_| Self { unreadable: true, ..Self::default() })
    }

    fn headers(message: &BorrowedMessage<'_>) -> Self {
        let mut read = Self::default();
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            match header.key {
                "ce_id" => read.id = header.value.and_then(|value| Uuid::try_parse_ascii(value).ok()),
                "ce_type" => read.kind = name(header.value),
                "traceparent" => read.traceparent = name(header.value),
                "ce_generation" => {
                    read.generation = name(header.value).and_then(|text| text.parse().ok()).unwrap_or_default();
                }
                _ => {}
            }
            read.bytes += header.key.len() + header.value.map_or(0, <[u8]>::len);
            if read.bytes <= LARGEST_RECORD {
                read.headers.push(header.key, header.value);
            }
        }
        read
    }

    /// `message` as the record of `topic`, the name without the prefix; or, if it is none, as it is to be parked.
    pub(super) fn record(self, message: &BorrowedMessage<'_>, topic: &str) -> Result<Record, Box<ParkedMessage>> {
        let key = message.key().and_then(|key| str::from_utf8(key).ok());
        let lengths = [message.key(), message.payload()].map(|bytes| bytes.map_or(0, <[u8]>::len));
        let bytes = self.bytes + lengths.iter().sum::<usize>();
        let flaw = match (self.id, &self.kind, key, message.payload()) {
            _ if bytes > LARGEST_RECORD => Flaw::Size(bytes),
            _ if self.unreadable => Flaw::HeaderName,
            (None, ..) => Flaw::Id,
            (_, None, ..) => Flaw::Kind,
            (_, _, None, _) => Flaw::Key,
            (_, _, _, None) => Flaw::Value,
            (Some(id), Some(kind), Some(key), Some(payload)) => {
                return Ok(Record {
                    topic: topic.to_owned(),
                    partition: message.partition(),
                    offset: message.offset(),
                    id,
                    kind: kind.clone(),
                    key: key.to_owned(),
                    payload: payload.to_vec(),
                    traceparent: self.traceparent,
                    headers: self.headers,
                });
            }
        };
        Err(Box::new(self.flawed(message, topic, flaw, bytes)))
    }

    fn flawed(self, message: &BorrowedMessage<'_>, topic: &str, flaw: Flaw, bytes: usize) -> ParkedMessage {
        let (key, payload) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        let beginning = |bytes: &[u8], most: usize| bytes[..bytes.len().min(most)].to_vec();
        let mut headers = self.headers.to_json();
        headers.truncate(headers.floor_char_boundary(KEPT));
        ParkedMessage {
            id: self.id.unwrap_or_else(|| made_up_id(message, topic)),
            topic: topic.to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: parked::key_of(key),
            kind: None,
            traceparent: None,
            raw_key: beginning(key, KEPT),
            headers,
            payload: beginning(payload, LARGEST_RECORD),
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            reason: Some(flaw.to_string()),
        }
    }
}

/// The id of a record that has none: the same whenever it is read, and of no other record.
fn made_up_id(message: &BorrowedMessage<'_>, topic: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(format!("{topic}/{}@{}", message.partition(), message.offset()));
    for bytes in [message.key(), message.payload()].map(Option::unwrap_or_default) {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let (id, _) = hash.split_first_chunk().expect("a hash is longer than an id");
    uuid::Builder::from_custom_bytes(*id).into_uuid()
}

/// A short text without control characters.
fn name(bytes: Option<&[u8]>) -> Option<String> {
    let text = str::from_utf8(bytes?).ok()?;
    (text.len() <= LONGEST_NAME && !text.contains(char::is_control)).then(|| text.to_owned())
}

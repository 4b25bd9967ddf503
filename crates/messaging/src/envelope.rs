//! A message on its way out, and one that has come in. CloudEvents 1.0 in binary mode: attributes in headers, JSON as
//! the value.

use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::Headers;

/// A message on its way out: a row of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Names this message; the receiver's inbox drops a second one of the same id.
    pub id: Uuid,
    /// The topic, without the prefix of the installation.
    pub topic: &'static str,
    /// Messages of one key stay in order.
    pub key: String,
    /// The versioned name, such as `order.placed.v1`.
    pub kind: &'static str,
    /// The message as JSON.
    pub payload: String,
    /// The W3C trace context it was caused in.
    pub traceparent: Option<String>,
}

impl Outgoing {
    /// `message` as JSON, under a new message id.
    ///
    /// # Panics
    /// If `message` cannot be JSON (a map with keys that are no strings): a mistake in its type.
    pub fn new(topic: &'static str, key: String, kind: &'static str, message: &impl Serialize) -> Self {
        let payload = serde_json::to_string(message).expect("a message is a plain struct, which is always JSON");
        Self { id: Uuid::now_v7(), topic, key, kind, payload, traceparent: None }
    }
}

/// The most bytes of a message: key, kind, payload and trace context together. Kafka's client and broker refuse what is
/// larger than 1,000,000 bytes with its headers, and behind a message that the broker refuses nothing would leave.
pub const LARGEST: usize = 900_000;

/// The message would never leave, so it is not let into the outbox: see [`LARGEST`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} of key {key} has {bytes} bytes, {LARGEST} are the most")]
pub struct TooLarge {
    /// What it is.
    pub kind: &'static str,
    /// Whom it is about.
    pub key: String,
    /// How large it is.
    pub bytes: usize,
}

impl Outgoing {
    /// Whether the broker would take it.
    pub(crate) fn check_size(&self) -> Result<(), TooLarge> {
        let traceparent = self.traceparent.as_ref().map_or(0, String::len);
        let bytes = self.key.len() + self.kind.len() + self.payload.len() + traceparent;
        if bytes <= LARGEST { Ok(()) } else { Err(TooLarge { kind: self.kind, key: self.key.clone(), bytes }) }
    }
}

/// A message that has come in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// The topic, without the prefix of the installation.
    pub topic: String,
    /// Its partition there.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Names the message: see [`Outgoing::id`].
    pub id: Uuid,
    /// The versioned name.
    pub kind: String,
    /// The key.
    pub key: String,
    /// The message as JSON.
    pub payload: Vec<u8>,
    /// The W3C trace context it was caused in.
    pub traceparent: Option<String>,
    /// All headers as they came.
    pub headers: Headers,
}

/// The message is not what this consumer can read: the message's own fault.
#[derive(Debug, thiserror::Error)]
#[error("{kind} at {topic}/{partition}@{offset} cannot be read")]
pub struct Undecodable {
    /// Where it stands.
    pub topic: String,
    /// Where it stands.
    pub partition: i32,
    /// Where it stands.
    pub offset: i64,
    /// Its message id.
    pub id: Uuid,
    /// What it claims to be.
    pub kind: String,
    /// What is wrong.
    #[source]
    pub source: serde_json::Error,
}

impl Record {
    /// The message itself.
    ///
    /// # Errors
    /// [`Undecodable`] if the payload is no `M`.
    pub fn decode<M: DeserializeOwned>(&self) -> Result<M, Undecodable> {
        serde_json::from_slice(&self.payload).map_err(|source| Undecodable {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            id: self.id,
            kind: self.kind.clone(),
            source,
        })
    }
}

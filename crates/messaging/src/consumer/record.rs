//! From what Kafka hands over to a [`Record`].

use rdkafka::{
    Message as _,
    message::{BorrowedMessage, Headers as _},
};
use uuid::Uuid;

use crate::Record;

/// A record that is none of our messages: somebody else writes to this topic, or its bytes are damaged.
#[derive(Debug, thiserror::Error)]
#[error("{topic}/{partition}@{offset}: {flaw}")]
pub struct Malformed {
    /// Where it stands.
    pub topic: String,
    /// Where it stands.
    pub partition: i32,
    /// Where it stands.
    pub offset: i64,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What a record lacks.
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
    /// No header `ce_type`, or one that is not UTF-8.
    #[error("its header ce_type is no text")]
    Kind,
}

/// The generation of the relay that sent `message`; 0 if it does not say.
pub(super) fn generation(message: &BorrowedMessage<'_>) -> i64 {
    let header = message.headers().and_then(|headers| headers.iter().find(|header| header.key == "ce_generation"));
    header.and_then(|header| text(header.value)).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// `message` as the record of `topic`, the name without the prefix.
pub(super) fn read(message: &BorrowedMessage<'_>, topic: &str) -> Result<Record, Malformed> {
    let malformed =
        |flaw| Malformed { topic: topic.to_owned(), partition: message.partition(), offset: message.offset(), flaw };
    let (mut id, mut kind, mut traceparent) = (None, None, None);
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        match header.key {
            "ce_id" => id = header.value.and_then(|value| Uuid::try_parse_ascii(value).ok()),
            "ce_type" => kind = text(header.value),
            "traceparent" => traceparent = text(header.value),
            _ => {}
        }
    }
    Ok(Record {
        topic: topic.to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        id: id.ok_or_else(|| malformed(Flaw::Id))?,
        kind: kind.ok_or_else(|| malformed(Flaw::Kind))?,
        key: text(message.key()).ok_or_else(|| malformed(Flaw::Key))?,
        payload: message.payload().ok_or_else(|| malformed(Flaw::Value))?.to_vec(),
        traceparent,
    })
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    str::from_utf8(bytes?).ok().map(str::to_owned)
}

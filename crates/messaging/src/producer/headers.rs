//! The headers of a message.

use jiff::Timestamp;
use rdkafka::message::{Header, OwnedHeaders};
use uuid::Uuid;

use super::Committed;

/// CloudEvents 1.0, binary mode. The time is that of the message id, a UUIDv7.
pub(super) fn headers(source: &str, generation: &str, message: &Committed) -> OwnedHeaders {
    let mut id = Uuid::encode_buffer();
    let mut headers = OwnedHeaders::new_with_capacity(9)
        .insert(header("content-type", "application/json"))
        .insert(header("ce_specversion", "1.0"))
        .insert(header("ce_id", message.id.hyphenated().encode_lower(&mut id)))
        .insert(header("ce_type", &message.kind))
        .insert(header("ce_source", source))
        .insert(header("ce_generation", generation))
        .insert(header("ce_subject", &message.key));
    if let Some(time) = minted_at(message.id) {
        headers = headers.insert(header("ce_time", &time.to_string()));
    }
    if let Some(traceparent) = &message.traceparent {
        headers = headers.insert(header("traceparent", traceparent));
    }
    headers
}

fn header<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header { key, value: Some(value) }
}

fn minted_at(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;

    use super::*;

    #[test]
    fn a_message_carries_the_attributes_of_cloud_events() {
        let message = Committed {
            id: "0197f2a1-6c00-7000-8000-000000000000".parse().unwrap(),
            topic: "order.events".into(),
            key: "42".into(),
            kind: "order.placed.v1".into(),
            payload: "{}".into(),
            traceparent: Some("00-11-22-01".into()),
        };
        let headers = headers("order", "7", &message);
        let seen: Vec<(&str, &str)> =
            headers.iter().map(|header| (header.key, str::from_utf8(header.value.unwrap()).unwrap())).collect();
        assert_eq!(
            seen,
            [
                ("content-type", "application/json"),
                ("ce_specversion", "1.0"),
                ("ce_id", "0197f2a1-6c00-7000-8000-000000000000"),
                ("ce_type", "order.placed.v1"),
                ("ce_source", "order"),
                ("ce_generation", "7"),
                ("ce_subject", "42"),
                ("ce_time", "2025-07-10T04:39:14.688Z"),
                ("traceparent", "00-11-22-01"),
            ]
        );
    }
}

//! The MongoDB parts against a real MongoDB, the relay against a real Kafka besides.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod inbox;
mod losing;
mod metrics;
mod outbox;
mod pruning;
mod relay;
mod support;

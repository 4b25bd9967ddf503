//! The MongoDB parts against a real MongoDB, the relay against a real Kafka besides.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "tests have no task supervisor")]

mod inbox;
mod losing;
mod metrics;
#[path = "../shared/mistaking.rs"]
mod mistaking;
mod outbox;
mod parking;
mod pruning;
mod relay;
mod support;

//! The parts that live in Postgres. Schema: `schema.sql`.
#![expect(
    clippy::disallowed_methods,
    reason = "a library has no database to check its queries against when it is built"
)]

pub mod inbox;
mod offsets;
pub mod outbox;
mod pgoutput;
mod progress;
pub mod relay;
mod visible;

pub use offsets::Offsets;

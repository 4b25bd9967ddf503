//! The order service against a real Postgres. No broker: batches are fed to the handlers, and the outbox is read.
//!
//! Part of the crate's own tests (see `lib.rs`), for the handlers are nobody else's to call.
#![expect(
    clippy::disallowed_methods,
    reason = "tests ask the database what no service asks, and watch their own tasks"
)]

mod access;
mod answering;
mod bad_input;
mod bench;
mod cancelling;
mod catalogue;
mod deadlines;
mod hanging_up;
mod history;
mod http;
mod listing;
mod parked;
mod past;
mod placing;
mod rebuilding;
mod repeating;
mod wishes;

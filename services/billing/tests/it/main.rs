//! Billing against a real Postgres: batches go to the handler, answers are read from the outbox. No broker.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod bad_input;
mod bench;
mod books;
mod commands;
mod crash;
mod customers;
mod http;
mod invoices;
mod parking;
mod provider;
mod races;
mod refunds;
mod settle;
mod watched;
mod webhooks;

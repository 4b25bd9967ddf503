//! The service against a real MongoDB: batches are fed to the handler of commands, requests to the router. No broker.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod commands;
mod life;
mod products;
mod racing;
mod receipts;
mod requests;
mod round_trips;
mod world;

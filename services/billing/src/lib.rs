//! Billing: payments and the ledger.

pub mod commands;
pub mod intent;
pub mod ledger;
pub mod payment;
pub mod provider;
pub mod scripted;
pub mod settle;
pub mod state;

mod changes;
mod store;

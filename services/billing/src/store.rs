//! All SQL of this service. Functions that change anything take the connection of the transaction they belong to.
//!
//! A transaction locks payments first, in the order of their ids, then touches their intents; then the series of invoices
//! and of credit notes, in this order, if it issues any; and the end of the ledger last.

pub(crate) mod customers;
pub(crate) mod intents;
pub(crate) mod invoices;
pub(crate) mod ledger;
pub(crate) mod payments;
pub(crate) mod refunds;

use std::time::Duration;

use contracts::{Currency, Money};
use serde::Serialize;
use uuid::Uuid;

/// A row says what no row can: somebody else has written it, or a version that knows more than this one.
#[derive(Debug, thiserror::Error)]
#[error("what is stored of order {order} cannot be read: {what}")]
struct Unreadable {
    order: Uuid,
    what: &'static str,
}

fn unreadable(order: Uuid, what: &'static str) -> sqlx::Error {
    sqlx::Error::decode(Unreadable { order, what })
}

fn money(order: Uuid, amount: i64, code: &str) -> sqlx::Result<Money> {
    let currency = Currency::from_code(code).ok_or_else(|| unreadable(order, "its currency is unknown"))?;
    Ok(Money::new(amount, currency))
}

fn json(parts: &[impl Serialize]) -> String {
    serde_json::to_string(parts).expect("texts and numbers are always JSON")
}

/// Unit: milliseconds, as the statements want it.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

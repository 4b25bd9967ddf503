//! What operators see of the stock: counters, moved once per transaction, after its commit.

use std::sync::LazyLock;

use contracts::OrderId;
use metrics::{Counter, counter};

static LATE_CLEANUP: LazyLock<Counter> = LazyLock::new(|| counter!("late_cleanup_total"));

/// Counts cancelled orders of which something was left, and names them. There must be none: the audit fails.
pub(crate) fn late(orders: &[OrderId]) {
    LATE_CLEANUP.increment(orders.len() as u64);
    for order in orders {
        tracing::error!(%order, "A cancelled order still had stock, or had been shipped. What was left is cleaned up.");
    }
}

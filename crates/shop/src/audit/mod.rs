//! Whether the books of the three services add up, each in itself and all with each other.
//!
//! Everything, and the payment provider's log, is read into [`Books`], and each predicate is a pure function of them, so that a test can plant a mistake
//! and see it named. The letters are those of the predicates' families: I stock, O orders and sagas, L ledger, X across
//! the stores, V invoices, M messages. Those across stores hold only when no order is on its way, so the audit waits for that first.

mod across;
mod books;
mod ledger;
mod messages;
mod orders;
mod papers;
mod report;
mod sagas;
mod stock;
mod tax;
#[cfg(test)]
mod tests;
mod witness;

pub use books::{Books, Stores};
pub use report::{Finding, Report, Verdict};

/// Checks every predicate.
pub fn check(books: &Books) -> Report {
    let findings = [
        stock::findings(books),
        orders::findings(books),
        sagas::findings(books),
        ledger::findings(books),
        across::findings(books),
        messages::findings(books),
        witness::findings(books),
        tax::findings(books),
        papers::findings(books),
    ];
    Report { findings: findings.into_iter().flatten().collect() }
}

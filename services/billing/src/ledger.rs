//! The ledger: double entry, so that money is only ever moved and never made. Pure.
//!
//! An entry is a set of postings whose amounts add up to zero. A debit is positive, a credit negative; the balance of an
//! account is the sum of its postings and is stored nowhere.
//!
//! | account | what its balance means |
//! |---|---|
//! | `provider_receivable` | what the payment provider has taken for us and still owes us; a debit balance |
//! | `customer_receipts` | what customers have paid; a credit balance |
//!
//! | entry | debit | credit |
//! |---|---|---|
//! | `capture` | `provider_receivable` | `customer_receipts` |

use contracts::{Money, OrderId};
use jiff::Timestamp;

/// Something that moved money. An order has at most one entry of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// For which order.
    pub order: OrderId,
    /// What happened.
    pub kind: EntryKind,
    /// When.
    pub at: Timestamp,
    /// What it did to which account. Sums to zero.
    pub postings: [Posting; 2],
}

/// What can move money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The provider took what it had set aside.
    Capture,
}

/// A line of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// Which account.
    pub account: Account,
    /// How much: a debit is positive, a credit negative.
    pub amount: Money,
}

/// The chart of accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// What the provider owes us.
    ProviderReceivable,
    /// What customers have paid.
    CustomerReceipts,
}

impl LedgerEntry {
    /// The provider took `amount`, which is not negative.
    pub fn capture(order: OrderId, amount: Money, at: Timestamp) -> Self {
        let postings = transfer(Account::ProviderReceivable, Account::CustomerReceipts, amount);
        Self { order, kind: EntryKind::Capture, at, postings }
    }
}

/// Moves `amount` from `credit` to `debit`. The only way to postings, so that every entry sums to zero.
fn transfer(debit: Account, credit: Account, amount: Money) -> [Posting; 2] {
    let negative = amount.amount.checked_neg().expect("an amount that moves is not negative, so its negative exists");
    [Posting { account: debit, amount }, Posting { account: credit, amount: Money::new(negative, amount.currency) }]
}

impl EntryKind {
    /// The name in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
        }
    }
}

impl Account {
    /// The name in the database and in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ProviderReceivable => "provider_receivable",
            Self::CustomerReceipts => "customer_receipts",
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::Currency;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_capture_sums_to_zero_and_debits_the_provider(amount in 0..=i64::MAX) {
            let entry = LedgerEntry::capture(OrderId::mint(), Money::new(amount, Currency::EUR), Timestamp::UNIX_EPOCH);
            let [debit, credit] = entry.postings;
            prop_assert_eq!(debit.amount.plus(credit.amount), Ok(Money::zero(Currency::EUR)));
            prop_assert_eq!(debit, Posting { account: Account::ProviderReceivable, amount: Money::new(amount, Currency::EUR) });
            prop_assert_eq!(credit.account, Account::CustomerReceipts);
        }
    }
}

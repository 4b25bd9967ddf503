//! The ledger: double entry, so that money is only ever moved and never made. Pure.
//!
//! An entry is a set of postings whose amounts add up to zero. A debit is positive, a credit negative; the balance of an
//! account is the sum of its postings and is stored nowhere.
//!
//! | account | what its balance means |
//! |---|---|
//! | `provider_receivable` | what the payment provider has taken for us and still owes us; a debit balance |
//! | `customer_receipts` | what customers have paid; a credit balance |
//! | `provider_fees` | what the provider has kept for itself; a debit balance |
//! | `memo_authorized` | what is set aside and could be taken; a debit balance. No money has moved |
//! | `memo_customers` | the other side of it; a credit balance |
//!
//! | entry | debit | credit |
//! |---|---|---|
//! | `authorization` | `memo_authorized` | `memo_customers` |
//! | `release` | `memo_customers` | `memo_authorized` |
//! | `refund` | `customer_receipts` | `provider_receivable` |
//! | `capture` | `memo_customers`; `provider_receivable`; `provider_fees` | `memo_authorized`; `customer_receipts`; `provider_receivable` |
//!
//! Entries are a chain: each has a hash over itself and the hash before it.

use contracts::{Money, OrderId};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Something that moved money, or set it aside. An order has at most one entry of each kind and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// For which order.
    pub order: OrderId,
    /// What happened.
    pub kind: EntryKind,
    /// Which time: a refund has a number, all else happens once.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// What it did to which account. Sums to zero.
    pub postings: Vec<Posting>,
}

/// What can move money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The provider set it aside.
    Authorization,
    /// The provider gave up what it had set aside.
    Release,
    /// The provider took what it had set aside.
    Capture,
    /// The provider returned some of what it had taken.
    Refund,
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
    /// What the provider keeps.
    ProviderFees,
    /// What is set aside.
    MemoAuthorized,
    /// For whom it is set aside.
    MemoCustomers,
}

/// An entry's place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which entry: 1, 2, 3...
    pub seq: i64,
    /// Its hash.
    pub hash: Vec<u8>,
}

impl LedgerEntry {
    /// The provider set `amount`, which is not negative, aside.
    pub fn authorization(order: OrderId, amount: Money, at: Timestamp) -> Self {
        let postings = transfer(Account::MemoAuthorized, Account::MemoCustomers, amount).into();
        Self { order, kind: EntryKind::Authorization, number: 1, at, postings }
    }

    /// The provider gave `amount`, which is not negative, up again.
    pub fn release(order: OrderId, amount: Money, at: Timestamp) -> Self {
        let postings = transfer(Account::MemoCustomers, Account::MemoAuthorized, amount).into();
        Self { order, kind: EntryKind::Release, number: 1, at, postings }
    }

    /// The provider took `amount`, which is not negative, and keeps `fee` of it.
    pub fn capture(order: OrderId, amount: Money, fee: Option<Money>, at: Timestamp) -> Self {
        let mut postings = Vec::with_capacity(6);
        postings.extend(transfer(Account::MemoCustomers, Account::MemoAuthorized, amount));
        postings.extend(transfer(Account::ProviderReceivable, Account::CustomerReceipts, amount));
        if let Some(fee) = fee.filter(|fee| fee.amount != 0) {
            postings.extend(transfer(Account::ProviderFees, Account::ProviderReceivable, fee));
        }
        Self { order, kind: EntryKind::Capture, number: 1, at, postings }
    }

    /// The provider returned `amount`, which is above zero, as the refund `number`. It keeps its fee.
    pub fn refund(order: OrderId, number: u32, amount: Money, at: Timestamp) -> Self {
        let postings = transfer(Account::CustomerReceipts, Account::ProviderReceivable, amount).into();
        Self { order, kind: EntryKind::Refund, number, at, postings }
    }

    /// Where this entry comes when `end` is the last one of the chain, `None` before the first. The text that is hashed
    /// is stated in the migration that makes the table.
    pub(crate) fn link(&self, end: Option<&Link>) -> Link {
        let seq = end.map_or(1, |end| end.seq + 1);
        let mut text =
            format!("{seq}|{}|{}|{}|{}", self.order, self.kind.name(), self.number, self.at.as_microsecond());
        for Posting { account, amount } in &self.postings {
            text.push_str(&format!("|{}:{}:{}", account.name(), amount.amount, amount.currency.code()));
        }
        let mut hash = Sha256::new();
        hash.update(end.map_or(&[][..], |end| &end.hash));
        hash.update(text);
        Link { seq, hash: hash.finalize().to_vec() }
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
            Self::Authorization => "authorization",
            Self::Release => "release",
            Self::Capture => "capture",
            Self::Refund => "refund",
        }
    }
}

impl Account {
    /// The name in the database and in the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ProviderReceivable => "provider_receivable",
            Self::CustomerReceipts => "customer_receipts",
            Self::ProviderFees => "provider_fees",
            Self::MemoAuthorized => "memo_authorized",
            Self::MemoCustomers => "memo_customers",
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::Currency;
    use proptest::prelude::*;

    use super::*;

    fn balance(entries: &[LedgerEntry], account: Account) -> i128 {
        let postings = entries.iter().flat_map(|entry| &entry.postings);
        postings.filter(|posting| posting.account == account).map(|posting| i128::from(posting.amount.amount)).sum()
    }

    proptest! {
        #[test]
        fn an_order_leaves_nothing_set_aside_and_what_was_paid_is_owed_or_kept(
            (amount, fee) in (0..=i64::MAX).prop_flat_map(|amount| (Just(amount), 0..=amount)),
            captured: bool,
        ) {
            let (order, at) = (OrderId::mint(), Timestamp::UNIX_EPOCH);
            let yen = |amount| Money::new(amount, Currency::JPY);
            let ends = match captured {
                true => LedgerEntry::capture(order, yen(amount), Some(yen(fee)), at),
                false => LedgerEntry::release(order, yen(amount), at),
            };
            let entries = [LedgerEntry::authorization(order, yen(amount), at), ends];
            for entry in &entries {
                let sum: i128 = entry.postings.iter().map(|posting| i128::from(posting.amount.amount)).sum();
                prop_assert_eq!(sum, 0);
            }
            prop_assert_eq!(balance(&entries, Account::MemoAuthorized), 0);
            prop_assert_eq!(balance(&entries, Account::MemoCustomers), 0);
            let paid = if captured { i128::from(amount) } else { 0 };
            let kept = if captured { i128::from(fee) } else { 0 };
            prop_assert_eq!(balance(&entries, Account::CustomerReceipts), -paid);
            prop_assert_eq!(balance(&entries, Account::ProviderFees), kept);
            prop_assert_eq!(balance(&entries, Account::ProviderReceivable), paid - kept);
        }
    }

    #[test]
    fn whatever_changes_in_an_entry_changes_its_hash_and_all_that_follow() {
        let order: OrderId = "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01".parse().unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let entry = |amount| LedgerEntry::authorization(order, Money::new(amount, Currency::EUR), at);
        let (one, two) = (entry(1), entry(2));
        let first = one.link(None);
        let second = two.link(Some(&first));
        assert_eq!((first.seq, second.seq), (1, 2));
        let later = LedgerEntry { at: Timestamp::from_microsecond(1).unwrap(), ..one.clone() };
        let other = LedgerEntry { order: OrderId::mint(), ..one.clone() };
        let released = LedgerEntry { kind: EntryKind::Release, ..one.clone() };
        let second_time = LedgerEntry { number: 2, ..one.clone() };
        for changed in [two.clone(), later, other, released, second_time] {
            let changed = changed.link(None);
            assert_ne!(changed.hash, first.hash);
            assert_ne!(two.link(Some(&changed)).hash, second.hash);
        }
        assert_ne!(two.link(Some(&Link { seq: 1, hash: Vec::new() })).hash, second.hash);
    }
}

//! The ledger: double entry, so that money is only ever moved and never made. Pure.
//!
//! An entry is a set of postings whose amounts add up to zero. A debit is positive, a credit negative; the balance of an
//! account is the sum of its postings and is stored nowhere.
//!
//! | account | what its balance means |
//! |---|---|
//! | `provider_receivable` | what the payment provider has taken for us and still owes us; a debit balance |
//! | `sales` | what we have earned, without VAT, at each rate of it; a credit balance |
//! | `vat_payable` | the VAT in it, which we owe the tax office, at each rate; a credit balance |
//! | `provider_fees` | what the provider has kept for itself; a debit balance |
//! | `memo_authorized` | what is set aside and could be taken; a debit balance. No money has moved |
//! | `memo_customers` | the other side of it; a credit balance |
//!
//! | entry | debit | credit |
//! |---|---|---|
//! | `authorization` | `memo_authorized` | `memo_customers` |
//! | `release` | `memo_customers` | `memo_authorized` |
//! | `capture` | `memo_customers`; `provider_receivable`; `provider_fees` | `memo_authorized`; `sales` and `vat_payable` at each rate; `provider_receivable` |
//! | `refund` | `sales` and `vat_payable` at each rate | `provider_receivable` |
//!
//! Prices are gross, so a capture splits what is paid into net and VAT, as the order's lines were rounded when it was
//! placed; a refund takes both back in proportion. The provider keeps its fee when something is refunded. Of a part that
//! is zero nothing is posted.
//!
//! Entries are a chain: each has a hash over itself and the hash before it.

use contracts::vat::{Taxed, VatRate};
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
    /// What we have earned at this rate of VAT, without it.
    Sales(VatRate),
    /// The VAT in it.
    VatPayable(VatRate),
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

    /// The provider took `amount`, which is not negative and adds up from `taxes`, and keeps `fee` of it.
    pub fn capture(order: OrderId, amount: Money, taxes: &[Taxed], fee: Option<Money>, at: Timestamp) -> Self {
        let mut postings = Vec::with_capacity(7);
        postings.extend(transfer(Account::MemoCustomers, Account::MemoAuthorized, amount));
        postings.extend(sale(amount, taxes));
        if let Some(fee) = fee.filter(|fee| fee.amount != 0) {
            postings.extend(transfer(Account::ProviderFees, Account::ProviderReceivable, fee));
        }
        Self { order, kind: EntryKind::Capture, number: 1, at, postings }
    }

    /// The provider returned `amount`, which is above zero and adds up from `taxes`, as the refund `number`.
    pub fn refund(order: OrderId, number: u32, amount: Money, taxes: &[Taxed], at: Timestamp) -> Self {
        let undone = |posting: Posting| Posting { amount: negative(posting.amount), ..posting };
        let postings = sale(amount, taxes).map(undone).collect();
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
            if let Some(VatRate(rate)) = account.vat_rate() {
                text.push_str(&format!(":{rate}"));
            }
        }
        let mut hash = Sha256::new();
        hash.update(end.map_or(&[][..], |end| &end.hash));
        hash.update(text);
        Link { seq, hash: hash.finalize().to_vec() }
    }
}

/// Moves `amount` from `credit` to `debit`. This and [`sale`] are the only ways to postings, so that every entry sums to
/// zero.
fn transfer(debit: Account, credit: Account, amount: Money) -> [Posting; 2] {
    [Posting { account: debit, amount }, Posting { account: credit, amount: negative(amount) }]
}

/// The provider owes us `amount` for what was sold: at each rate the net price, and the VAT in it.
fn sale(amount: Money, taxes: &[Taxed]) -> impl Iterator<Item = Posting> {
    let sold =
        taxes.iter().flat_map(|tax| [(Account::Sales(tax.rate), tax.net()), (Account::VatPayable(tax.rate), tax.vat)]);
    let sold = sold.filter(|(_, part)| part.amount != 0);
    let owed = Posting { account: Account::ProviderReceivable, amount };
    std::iter::once(owed).chain(sold.map(|(account, part)| Posting { account, amount: negative(part) }))
}

fn negative(amount: Money) -> Money {
    let negative = amount.amount.checked_neg().expect("what moves is no less than the negative of the largest amount");
    Money { amount: negative, ..amount }
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
            Self::Sales(_) => "sales",
            Self::VatPayable(_) => "vat_payable",
            Self::ProviderFees => "provider_fees",
            Self::MemoAuthorized => "memo_authorized",
            Self::MemoCustomers => "memo_customers",
        }
    }

    /// At which rate of VAT, where that makes a difference.
    pub(crate) fn vat_rate(self) -> Option<VatRate> {
        match self {
            Self::Sales(rate) | Self::VatPayable(rate) => Some(rate),
            Self::ProviderReceivable | Self::ProviderFees | Self::MemoAuthorized | Self::MemoCustomers => None,
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

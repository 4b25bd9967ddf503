//! L: the ledger.
//!
//! L4, that a stored balance is the fold of its postings, holds by itself: no balance is stored anywhere.

use std::collections::{BTreeMap, BTreeSet};

use contracts::vat::VatRate;
use uuid::Uuid;

use super::{
    Books, Finding,
    books::{Entry, Payment, Posting},
};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let ledger = Ledger::of(books);
    let placed = books.entries.iter().zip(1..);
    let ended = books.payments.values().filter(|payment| kinds(payment).is_some());
    let captures = books.entries.iter().filter(|entry| entry.kind == "capture");
    let captured = books.payments.values().filter(|payment| payment.was_captured());
    vec![
        Finding::of("L1 every entry is of one currency and sums to zero", &books.entries, |entry| {
            let postings = ledger.postings(entry.seq);
            let sum: i128 = postings.iter().map(|posting| i128::from(posting.amount)).sum();
            let one = postings.iter().all(|posting| posting.currency == postings[0].currency);
            let said = || format!("entry {}: {} postings, sum {sum}", entry.seq, postings.len());
            (sum != 0 || !one || postings.len() < 2).then(said)
        }),
        Finding::of("L1 every posting has its entry", ledger.postings.keys(), |seq| {
            let known = books.entries.binary_search_by_key(seq, |entry| entry.seq).is_ok();
            (!known).then(|| format!("the postings of entry {seq}"))
        }),
        Finding::of("L2 all postings of a currency sum to zero", &ledger.currencies, |(currency, sum)| {
            (*sum != 0).then(|| format!("{currency}: {sum}"))
        }),
        Finding::of("L3 entries are numbered 1..n without gaps", placed, |(entry, place)| {
            (entry.seq != place).then(|| format!("entry {} stands where {place} should", entry.seq))
        }),
        Finding::of("L3 every entry is what was hashed, and follows the one before", &books.entries, |entry| {
            (!entry.sound).then(|| format!("entry {} of order {}", entry.seq, entry.order_id))
        }),
        Finding::of("L5 a payment that has ended has its entries and no others but refunds", ended, |payment| {
            let booked = ledger.kinds.get(&payment.order_id).map_or(&[][..], Vec::as_slice);
            let booked: Vec<&str> = booked.iter().copied().filter(|kind| *kind != "refund").collect();
            (kinds(payment) != Some(&booked))
                .then(|| format!("order {}: {} with {booked:?}", payment.order_id, payment.state))
        }),
        Finding::of("L5 every captured payment is booked in full", captured, |payment| {
            let balance = |account| ledger.balance(payment.order_id, account);
            let left = payment.amount.map(|paid| i128::from(paid) - books.returned(&payment.order_id));
            let owed = balance("provider_receivable") + balance("provider_fees");
            let fits = Some(owed) == left && Some(-balance("sales") - balance("vat_payable")) == left;
            (!fits).then(|| format!("order {}: {owed} is booked, {left:?} is left of what was paid", payment.order_id))
        }),
        Finding::of("L5 every capture booked has its payment", captures, |entry| {
            let fits = books.payments.get(&entry.order_id).is_some_and(Payment::was_captured);
            (!fits).then(|| format!("order {}", entry.order_id))
        }),
        Finding::of("L6 nothing stays set aside for an order that has ended", &ledger.ended, |order| {
            let (held, owed) = (ledger.balance(*order, "memo_authorized"), ledger.balance(*order, "memo_customers"));
            (held != 0 || owed != 0).then(|| format!("order {order}: {held} and {owed}"))
        }),
    ]
}

/// What is booked of a payment that goes no further by itself; none of one that does.
fn kinds(payment: &Payment) -> Option<&'static [&'static str]> {
    match payment.state.as_str() {
        "captured" | "refunded" => Some(&["authorization", "capture"]),
        "voided" => Some(&["authorization", "release"]),
        "refused" | "tombstone" => Some(&[]),
        _ => None,
    }
}

/// The ledger, by what is asked of it.
pub(super) struct Ledger<'b> {
    postings: BTreeMap<i64, Vec<&'b Posting>>,
    currencies: BTreeMap<&'b str, i128>,
    /// By order, account and rate of VAT.
    balances: BTreeMap<(Uuid, &'b str, Option<i32>), i128>,
    /// The kinds of each order's entries, sorted.
    kinds: BTreeMap<Uuid, Vec<&'b str>>,
    /// Orders with entries that go no further.
    ended: BTreeSet<Uuid>,
}

impl<'b> Ledger<'b> {
    pub(super) fn of(books: &'b Books) -> Self {
        let mut ledger = Self {
            postings: BTreeMap::new(),
            currencies: BTreeMap::new(),
            balances: BTreeMap::new(),
            kinds: BTreeMap::new(),
            ended: BTreeSet::new(),
        };
        let orders: BTreeMap<i64, Uuid> = books.entries.iter().map(|entry| (entry.seq, entry.order_id)).collect();
        for posting in &books.postings {
            ledger.postings.entry(posting.seq).or_default().push(posting);
            *ledger.currencies.entry(&posting.currency).or_default() += i128::from(posting.amount);
            if let Some(order) = orders.get(&posting.seq) {
                let balance = ledger.balances.entry((*order, &posting.account, posting.vat_rate));
                *balance.or_default() += i128::from(posting.amount);
            }
        }
        for Entry { order_id, kind, .. } in &books.entries {
            ledger.kinds.entry(*order_id).or_default().push(kind);
            if books.orders.get(order_id).is_some_and(|order| order.status != "pending") {
                ledger.ended.insert(*order_id);
            }
        }
        ledger.kinds.values_mut().for_each(|kinds| kinds.sort_unstable());
        ledger
    }

    fn postings(&self, seq: i64) -> &[&'b Posting] {
        self.postings.get(&seq).map_or(&[], Vec::as_slice)
    }

    /// What `account` holds for `order`, in whatever currency: an order has one.
    pub(super) fn balance(&self, order: Uuid, account: &str) -> i128 {
        let of_order = self.balances.range((order, account, None)..=(order, account, Some(i32::MAX)));
        of_order.map(|(_, balance)| balance).sum()
    }

    /// What `account` holds for `order` at this rate of VAT.
    pub(super) fn at_rate(&self, order: Uuid, account: &str, rate: VatRate) -> i128 {
        let rate = i32::try_from(rate.0).ok();
        self.balances.get(&(order, account, rate)).copied().unwrap_or_default()
    }
}

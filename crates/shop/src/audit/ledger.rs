//! L: the ledger.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    Books, Finding,
    books::{Entry, Payment, Posting},
};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let mut postings: BTreeMap<Uuid, Vec<&Posting>> = BTreeMap::new();
    let mut currencies: BTreeMap<&str, i128> = BTreeMap::new();
    for posting in &books.postings {
        postings.entry(posting.entry_id).or_default().push(posting);
        *currencies.entry(&posting.currency).or_default() += i128::from(posting.amount);
    }
    let of = |entry: &Entry| postings.get(&entry.id).map_or(&[][..], Vec::as_slice);
    let mut captures: BTreeMap<Uuid, Vec<&Entry>> = BTreeMap::new();
    for entry in books.entries.iter().filter(|entry| entry.kind == "capture") {
        captures.entry(entry.order_id).or_default().push(entry);
    }
    let entries: BTreeSet<Uuid> = books.entries.iter().map(|entry| entry.id).collect();
    let captured = books.payments.values().filter(|payment| payment.state == "captured");
    vec![
        Finding::of("L1 every entry is of one currency and sums to zero", &books.entries, |entry| {
            let postings = of(entry);
            let sum: i128 = postings.iter().map(|posting| i128::from(posting.amount)).sum();
            let one = postings.iter().all(|posting| posting.currency == postings[0].currency);
            let said = || format!("entry {}: {} postings, sum {sum}", entry.id, postings.len());
            (sum != 0 || !one || postings.len() < 2).then(said)
        }),
        Finding::of("L1 every posting has its entry", postings.keys(), |id| {
            (!entries.contains(id)).then(|| format!("the postings of entry {id}"))
        }),
        Finding::of("L2 all postings of a currency sum to zero", &currencies, |(currency, sum)| {
            (*sum != 0).then(|| format!("{currency}: {sum}"))
        }),
        Finding::of("L5 every captured payment has its one entry", captured, |payment| {
            let booked = captures.get(&payment.order_id).map_or(&[][..], Vec::as_slice);
            let fits = matches!(booked, [entry] if books_in_full(payment, of(entry)));
            (!fits).then(|| format!("order {}: {} captures booked", payment.order_id, booked.len()))
        }),
        Finding::of("L5 every capture booked has its payment", captures.keys(), |order| {
            let fits = books.payments.get(order).is_some_and(|payment| payment.state == "captured");
            (!fits).then(|| format!("order {order}"))
        }),
    ]
}

/// Whether the provider owes us what the payment says, by one posting.
fn books_in_full(payment: &Payment, postings: &[&Posting]) -> bool {
    let mut owed = postings.iter().filter(|posting| posting.account == "provider_receivable");
    let first = owed.next().map(|posting| (posting.amount, posting.currency.as_str()));
    first.is_some() && owed.next().is_none() && first == payment.amount.zip(payment.currency.as_deref())
}

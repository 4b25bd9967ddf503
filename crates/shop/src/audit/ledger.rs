//! L: the ledger.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Books, Finding, books::Posting};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let mut entries: BTreeMap<Uuid, Vec<&Posting>> = BTreeMap::new();
    let mut currencies: BTreeMap<&str, i128> = BTreeMap::new();
    let mut captures: BTreeMap<Uuid, Vec<&Posting>> = BTreeMap::new();
    for posting in &books.postings {
        entries.entry(posting.entry_id).or_default().push(posting);
        *currencies.entry(&posting.currency).or_default() += i128::from(posting.amount);
        if posting.kind == "capture" && posting.account == "provider_receivable" {
            captures.entry(posting.order_id).or_default().push(posting);
        }
    }
    let captured = books.payments.values().filter(|payment| payment.state == "captured");
    vec![
        Finding::of("L1 every entry is of one currency and sums to zero", &entries, |(entry, postings)| {
            let sum: i128 = postings.iter().map(|posting| i128::from(posting.amount)).sum();
            let one = postings.iter().all(|posting| posting.currency == postings[0].currency);
            (sum != 0 || !one || postings.len() < 2).then(|| format!("entry {entry}: sum {sum}"))
        }),
        Finding::of("L2 all postings of a currency sum to zero", &currencies, |(currency, sum)| {
            (*sum != 0).then(|| format!("{currency}: {sum}"))
        }),
        Finding::of("L5 every captured payment has its one entry", captured, |payment| {
            let booked = captures.get(&payment.order_id).map_or(&[][..], Vec::as_slice);
            let fits = matches!(booked, [posting]
                if Some(posting.amount) == payment.amount && Some(&posting.currency) == payment.currency.as_ref());
            (!fits).then(|| format!("order {}: {} captures booked", payment.order_id, booked.len()))
        }),
        Finding::of("L5 every capture booked has its payment", &captures, |(order, _)| {
            let fits = books.payments.get(order).is_some_and(|payment| payment.state == "captured");
            (!fits).then(|| format!("order {order}"))
        }),
    ]
}

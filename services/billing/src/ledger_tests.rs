//! The ledger's entries, and their chain.

use contracts::{Currency, vat};
use proptest::prelude::*;

use super::*;

fn balance(entries: &[LedgerEntry], accounts: &[Account]) -> i128 {
    let postings = entries.iter().flat_map(|entry| &entry.postings);
    let of = postings.filter(|posting| accounts.contains(&posting.account));
    of.map(|posting| i128::from(posting.amount.amount)).sum()
}

/// What lines at 0, 7 and 19 % add up to, so many units of a currency of 0, 2 or 3 decimals each.
fn taxes() -> impl Strategy<Value = (Money, Vec<Taxed>)> {
    let currency = prop::sample::select(vec![Currency::JPY, Currency::EUR, Currency::KWD]);
    let gross = prop::array::uniform3(prop_oneof![0..=10_i64, 0..=i64::MAX / 3]);
    (currency, gross).prop_map(|(currency, gross)| {
        let at = |(rate, gross): (u32, i64)| VatRate(rate).within(Money::new(gross, currency));
        let taxes: Vec<Taxed> = [0, 700, 1900].into_iter().zip(gross).map(at).collect();
        (Money::new(gross.iter().sum(), currency), taxes)
    })
}

proptest! {
    #[test]
    fn an_order_leaves_nothing_set_aside_and_what_was_paid_is_owed_or_kept(
        ((amount, taxes), fee) in taxes().prop_flat_map(|sold| { let most = sold.0.amount; (Just(sold), 0..=most) }),
        captured: bool,
        back in any::<prop::sample::Index>(),
    ) {
        let (order, at) = (OrderId::mint(), Timestamp::UNIX_EPOCH);
        let money = |amount: i64, of: Money| Money { amount, ..of };
        let mut entries = vec![LedgerEntry::authorization(order, amount, at)];
        let mut returned = vec![];
        if captured {
            entries.push(LedgerEntry::capture(order, amount, &taxes, Some(money(fee, amount)), at));
            let back = i64::try_from(back.index(usize::try_from(amount.amount).unwrap().saturating_add(1).max(1))).unwrap();
            if back > 0 {
                returned = vat::share(&taxes, money(back, amount)).unwrap();
                entries.push(LedgerEntry::refund(order, 1, money(back, amount), &returned, at));
            }
        } else {
            entries.push(LedgerEntry::release(order, amount, at));
        }
        for entry in &entries {
            let sum: i128 = entry.postings.iter().map(|posting| i128::from(posting.amount.amount)).sum();
            prop_assert_eq!(sum, 0, "{:?}", entry);
            prop_assert!(entry.postings.iter().all(|posting| posting.amount.currency == amount.currency));
        }
        prop_assert_eq!(balance(&entries, &[Account::MemoAuthorized]), 0);
        prop_assert_eq!(balance(&entries, &[Account::MemoCustomers]), 0);
        let left = if captured { vat::without(&taxes, &returned).unwrap() } else { vec![] };
        for Taxed { rate, .. } in &taxes {
            let kept = |what: fn(&Taxed) -> Money| {
                left.iter().filter(|one| one.rate == *rate).map(|one| i128::from(what(one).amount)).sum::<i128>()
            };
            prop_assert_eq!(-balance(&entries, &[Account::Sales(*rate)]), kept(Taxed::net));
            prop_assert_eq!(-balance(&entries, &[Account::VatPayable(*rate)]), kept(|one| one.vat));
        }
        let kept = if captured { i128::from(fee) } else { 0 };
        let paid: i128 = left.iter().map(|one| i128::from(one.gross.amount)).sum();
        prop_assert_eq!(balance(&entries, &[Account::ProviderFees]), kept);
        prop_assert_eq!(balance(&entries, &[Account::ProviderReceivable]), paid - kept);
    }
}

#[test]
fn whatever_changes_in_an_entry_changes_its_hash_and_all_that_follow() {
    let order: OrderId = "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01".parse().unwrap();
    let at = Timestamp::UNIX_EPOCH;
    let sold = |amount, rate| {
        let amount = Money::new(amount, Currency::EUR);
        LedgerEntry::capture(order, amount, &[VatRate(rate).within(amount)], None, at)
    };
    let (one, two) = (sold(1, 700), sold(2, 700));
    let first = one.link(None);
    let second = two.link(Some(&first));
    assert_eq!((first.seq, second.seq), (1, 2));
    let later = LedgerEntry { at: Timestamp::from_microsecond(1).unwrap(), ..one.clone() };
    let other = LedgerEntry { order: OrderId::mint(), ..one.clone() };
    let released = LedgerEntry { kind: EntryKind::Release, ..one.clone() };
    let second_time = LedgerEntry { number: 2, ..one.clone() };
    let other_rate = sold(1, 701);
    assert_eq!(other_rate.postings.len(), one.postings.len(), "the rate alone is another");
    for changed in [two.clone(), later, other, released, second_time, other_rate] {
        let changed = changed.link(None);
        assert_ne!(changed.hash, first.hash);
        assert_ne!(two.link(Some(&changed)).hash, second.hash);
    }
    assert_ne!(two.link(Some(&Link { seq: 1, hash: Vec::new() })).hash, second.hash);
}

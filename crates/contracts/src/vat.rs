//! Value added tax: what of a gross price is tax.
//!
//! Prices are gross, so the tax is a part of what the customer pays and never changes it. It is rounded once per line, to
//! whole minor units of the currency, half away from zero; the sums per rate are sums of rounded lines. So what an
//! invoice shows in its lines adds up to what it shows below them.
//! Source: the Union's law leaves the method of rounding, by line or by total, to its members (Court of Justice,
//! C-484/06 *Ahold*, C-302/07 *J D Wetherspoon*, the latter on gross prices); by line is what a customer can check.
//!
//! What is paid back in part takes net and tax of every rate with it, in proportion to what is left of them: see
//! [`share`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Money, MoneyError, money::NoWeight};

/// A rate of tax. Unit: hundredths of a percent of the net price, so 1900 is 19 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct VatRate(pub u32);

/// The whole, in the unit of a rate.
const WHOLE: u32 = 10_000;

/// What is to be paid at one rate, and what of it is tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Taxed {
    /// At which rate.
    pub rate: VatRate,
    /// What is paid.
    pub gross: Money,
    /// What of it is tax. The rest is the net price.
    pub vat: Money,
}

impl VatRate {
    /// The tax in `gross`, which is the price of one line: `gross * rate / (100 % + rate)`, rounded half away from zero.
    pub fn within(self, gross: Money) -> Taxed {
        let (rate, whole) = (i128::from(self.0), i128::from(self.0) + i128::from(WHOLE));
        let twice = 2 * i128::from(gross.amount.unsigned_abs()) * rate;
        let tax = (twice + whole) / (2 * whole);
        let signed = if gross.amount < 0 { -tax } else { tax };
        let vat = Money { amount: i64::try_from(signed).expect("a tax is less than its gross price"), ..gross };
        Taxed { rate: self, gross, vat }
    }
}

impl Taxed {
    /// What is left without the tax.
    pub fn net(&self) -> Money {
        self.gross.minus(self.vat).expect("the tax is a part of the gross price, in its currency")
    }
}

/// The sums per rate, the lowest rate first, of lines that were rounded one by one.
///
/// # Errors
/// As [`Money::plus`].
pub fn per_rate(lines: &[Taxed]) -> Result<Vec<Taxed>, MoneyError> {
    let mut sums: BTreeMap<VatRate, Taxed> = BTreeMap::new();
    for line in lines {
        let Some(sum) = sums.get_mut(&line.rate) else {
            sums.insert(line.rate, *line);
            continue;
        };
        *sum = Taxed { rate: line.rate, gross: sum.gross.plus(line.gross)?, vat: sum.vat.plus(line.vat)? };
    }
    Ok(sums.into_values().collect())
}

/// Whether `taxes` is `amount`, which is not negative, by rate: each rate once, the lowest first, and each tax a part of
/// its gross price.
pub fn adds_up(taxes: &[Taxed], amount: Money) -> bool {
    let part = |one: &Taxed| one.vat.currency == one.gross.currency && (0..=one.gross.amount).contains(&one.vat.amount);
    let sum = taxes.iter().try_fold(Money::zero(amount.currency), |sum, one| sum.plus(one.gross));
    sum == Ok(amount) && taxes.iter().all(part) && taxes.is_sorted_by(|a, b| a.rate < b.rate)
}

/// What is left of `whole` without `parts`, by rate. A part of a rate that `whole` does not have takes nothing.
///
/// # Errors
/// As [`Money::minus`].
pub fn without(whole: &[Taxed], parts: &[Taxed]) -> Result<Vec<Taxed>, MoneyError> {
    let less = |one: &Taxed| {
        parts.iter().filter(|part| part.rate == one.rate).try_fold(*one, |left, part| {
            Ok(Taxed { gross: left.gross.minus(part.gross)?, vat: left.vat.minus(part.vat)?, ..left })
        })
    };
    whole.iter().map(less).collect()
}

/// What of `amount` is net and tax of which rate, if it is paid back of `left`. Rates with nothing in it are left out.
///
/// Method: [`Money::allocate`] over net and tax of every rate. No part is larger than what is left of it, and all that is
/// left is exactly that: so parts that add up to the whole return the very tax that was in it, cent by cent.
/// `amount` is not negative and not above what is left.
///
/// # Errors
/// [`NoWeight`] if nothing is left.
pub fn share(left: &[Taxed], amount: Money) -> Result<Vec<Taxed>, NoWeight> {
    let weights: Vec<u64> =
        left.iter().flat_map(|one| [one.net(), one.vat]).map(|money| money.amount.unsigned_abs()).collect();
    let parts = amount.allocate(&weights)?;
    let (parts, _) = parts.as_chunks();
    let share = |(one, [net, vat]): (&Taxed, &[Money; 2])| {
        let gross = net.plus(*vat).expect("two parts of an amount fit, in its currency");
        Taxed { rate: one.rate, gross, vat: *vat }
    };
    Ok(left.iter().zip(parts).map(share).filter(|share| share.gross.amount != 0).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Currency;

    fn vat(amount: i64, currency: Currency, rate: u32) -> (i64, i64) {
        let taxed = VatRate(rate).within(Money::new(amount, currency));
        (taxed.net().amount, taxed.vat.amount)
    }

    #[test]
    fn a_tax_is_rounded_half_away_from_zero_in_the_units_of_its_currency() {
        assert_eq!(vat(1190, Currency::EUR, 1900), (1000, 190));
        assert_eq!(vat(1290, Currency::EUR, 1900), (1084, 206), "2.0597");
        assert_eq!(vat(-1290, Currency::EUR, 1900), (-1084, -206), "a credit note mirrors its invoice");
        assert_eq!(vat(107, Currency::EUR, 700), (100, 7));
        assert_eq!(vat(500, Currency::JPY, 1000), (455, 45), "45.45");
        assert_eq!(vat(1_290, Currency::KWD, 500), (1_229, 61), "0.06143");
        assert_eq!(vat(3, Currency::EUR, 10_000), (1, 2), "1.5 is 2");
        assert_eq!(vat(1290, Currency::EUR, 0), (1290, 0));
    }

    #[test]
    fn the_sums_are_those_of_the_lines_and_not_of_their_total() {
        let line = VatRate(1900).within(Money::new(3, Currency::EUR));
        assert_eq!(line.vat.amount, 0, "0.479");
        let sums = per_rate(&[line, line, VatRate(700).within(Money::new(107, Currency::EUR)), line]).unwrap();
        let shown: Vec<(u32, i64, i64)> =
            sums.iter().map(|sum| (sum.rate.0, sum.gross.amount, sum.vat.amount)).collect();
        assert_eq!(shown, [(700, 107, 7), (1900, 9, 0)], "of 0.09 in one line it would be 0.01");
        let yen = VatRate(700).within(Money::new(1, Currency::JPY));
        assert_eq!(per_rate(&[sums[0], yen]), Err(MoneyError::Mixed(Currency::EUR, Currency::JPY)));
    }

    #[test]
    fn a_part_takes_net_and_tax_of_every_rate_with_it() {
        let at = |rate, amount| VatRate(rate).within(Money::new(amount, Currency::EUR));
        let whole = [at(700, 1070), at(1900, 1190)];
        let half = share(&whole, Money::new(1130, Currency::EUR)).unwrap();
        assert_eq!(half, [at(700, 535), at(1900, 595)]);
        assert_eq!(
            share(&whole, Money::new(1, Currency::EUR)).unwrap(),
            [Taxed { vat: Money::zero(Currency::EUR), ..at(700, 1) }]
        );
        assert_eq!(share(&[], Money::new(1, Currency::EUR)), Err(NoWeight));
        assert!(adds_up(&whole, Money::new(2260, Currency::EUR)));
        let (one, other) = (whole[0], whole[1]);
        let more = Taxed { vat: Money::new(1071, Currency::EUR), ..one };
        let less = Taxed { vat: Money::new(-1, Currency::EUR), ..one };
        let yen = Taxed { vat: Money::new(1, Currency::JPY), ..one };
        for wrong in [
            vec![other, one],
            vec![one],
            vec![one, one],
            vec![more, other],
            vec![less, other],
            vec![yen, other],
            vec![],
        ] {
            assert!(!adds_up(&wrong, Money::new(2260, Currency::EUR)), "{wrong:?}");
        }
    }

    fn line() -> impl Strategy<Value = Taxed> {
        let rate = prop_oneof![Just(0), Just(700), Just(1900), 0..=u32::MAX];
        (-1_000_000_000_000..=1_000_000_000_000_i64, rate)
            .prop_map(|(amount, rate)| VatRate(rate).within(Money::new(amount, Currency::EUR)))
    }

    proptest! {
        #[test]
        fn net_and_tax_are_the_gross_price_and_the_tax_is_half_a_unit_from_exact(
            amount: i64,
            rate: u32,
            currency in prop::sample::select(vec![Currency::JPY, Currency::EUR, Currency::KWD]),
        ) {
            let taxed = VatRate(rate).within(Money::new(amount, currency));
            prop_assert_eq!(taxed.net().plus(taxed.vat), Ok(taxed.gross));
            prop_assert_eq!(taxed.net().currency, currency);
            // |vat - exact| <= 1/2, as integers: |2 * (vat * whole - gross * rate)| <= whole.
            let whole = i128::from(rate) + 10_000;
            let off = i128::from(taxed.vat.amount) * whole - i128::from(amount) * i128::from(rate);
            prop_assert!(2 * off.abs() <= whole);
            let mirrored = amount.checked_neg().map(|amount| VatRate(rate).within(Money::new(amount, currency)).vat.amount);
            prop_assert!(mirrored.is_none_or(|mirrored| mirrored == -taxed.vat.amount));
        }

        #[test]
        fn parts_that_add_up_to_the_whole_return_the_very_tax_of_each_rate(
            lines in prop::collection::vec((prop_oneof![0..=50_i64, 0..=1_000_000_000_000_i64], prop::sample::select(vec![0, 700, 1900, 10_000])), 1..8),
            wanted in prop::collection::vec(prop_oneof![1..=3_i64, 1..=1_000_000_000_000_i64], 0..12),
            currency in prop::sample::select(vec![Currency::JPY, Currency::EUR, Currency::KWD]),
        ) {
            let lines: Vec<Taxed> =
                lines.into_iter().map(|(amount, rate)| VatRate(rate).within(Money::new(amount, currency))).collect();
            let whole = per_rate(&lines).unwrap();
            let mut left = whole.clone();
            let sum = |all: &[Taxed]| all.iter().map(|one| one.gross.amount).sum::<i64>();
            prop_assert!(adds_up(&whole, Money::new(sum(&whole), currency)));
            for wanted in wanted.into_iter().chain([i64::MAX]) {
                let (amount, before) = (wanted.min(sum(&left)), sum(&left));
                if amount == 0 {
                    break;
                }
                let part = share(&left, Money::new(amount, currency)).unwrap();
                prop_assert!(adds_up(&part, Money::new(amount, currency)), "{:?}", part);
                for one in &part {
                    let of = left.iter().find(|of| of.rate == one.rate).unwrap();
                    // |tax * left - exact share| < one unit, as integers.
                    let off = i128::from(one.vat.amount) * i128::from(before) - i128::from(of.vat.amount) * i128::from(amount);
                    prop_assert!(off.abs() < i128::from(before), "{:?} of {:?}", one, of);
                }
                left = without(&left, &part).unwrap();
                prop_assert!(left.iter().all(|one| one.vat.amount >= 0 && one.net().amount >= 0), "{:?}", left);
            }
            prop_assert!(left.iter().all(|one| (one.gross.amount, one.vat.amount) == (0, 0)), "{:?}", left);
        }

        #[test]
        fn sums_per_rate_lose_nothing(lines in prop::collection::vec(line(), 0..20)) {
            let sums = per_rate(&lines).unwrap();
            let of = |all: &[Taxed], what: fn(&Taxed) -> i64| all.iter().map(|one| i128::from(what(one))).sum::<i128>();
            prop_assert_eq!(of(&sums, |one| one.gross.amount), of(&lines, |one| one.gross.amount));
            prop_assert_eq!(of(&sums, |one| one.vat.amount), of(&lines, |one| one.vat.amount));
            prop_assert_eq!(of(&sums, |one| one.net().amount), of(&lines, |one| one.net().amount));
            prop_assert!(sums.is_sorted_by(|a, b| a.rate < b.rate), "each rate once");
        }
    }
}

//! Value added tax: what of a gross price is tax.
//!
//! Prices are gross, so the tax is a part of what the customer pays and never changes it. It is rounded once per line, to
//! whole minor units of the currency, half away from zero; the sums per rate are sums of rounded lines. So what an
//! invoice shows in its lines adds up to what it shows below them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Money, MoneyError};

/// A rate of tax. Unit: hundredths of a percent of the net price, so 1900 is 19 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VatRate(pub u32);

/// The whole, in the unit of a rate.
const WHOLE: u32 = 10_000;

/// What is to be paid at one rate, and what of it is tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

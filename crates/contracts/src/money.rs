//! Money: an integer of minor units and a currency. No floats, no unchecked arithmetic.

use std::fmt;

pub use iso_currency::Currency;
use iso_currency::IntoEnumIterator;
use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, Type},
};

/// An amount of one currency.
///
/// Unit: minor units (cents for EUR, yen for JPY, fils for KWD), by the exponent of ISO 4217. On the wire:
/// `{"amount": 1290, "currency": "EUR"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    #[schema(schema_with = currencies)]
    pub currency: Currency,
}

/// Every currency there is.
fn currencies() -> Object {
    let codes = Currency::iter().map(|currency| currency.code());
    let currency = ObjectBuilder::new().schema_type(Type::String).description(Some("ISO 4217."));
    currency.enum_values(Some(codes)).examples(["EUR"]).build()
}

/// A sum that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit into 64 bits of minor units.
    #[error("the amount is too large")]
    TooLarge,
    /// The two amounts are of different currencies.
    #[error("{} and {} cannot be added", .0.code(), .1.code())]
    Mixed(Currency, Currency),
}

/// There is nothing to split an amount by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no weight is above zero")]
pub struct NoWeight;

impl Money {
    /// `amount` minor units of `currency`.
    pub fn new(amount: i64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// Nothing, in `currency`.
    pub fn zero(currency: Currency) -> Self {
        Self { amount: 0, currency }
    }

    /// The sum of both.
    ///
    /// # Errors
    /// [`MoneyError::Mixed`] for two currencies, [`MoneyError::TooLarge`] past 64 bits.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed(self.currency, other.currency));
        }
        let amount = self.amount.checked_add(other.amount).ok_or(MoneyError::TooLarge)?;
        Ok(Self { amount, ..self })
    }

    /// The amount `count` times.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] past 64 bits.
    pub fn times(self, count: u32) -> Result<Self, MoneyError> {
        let amount = self.amount.checked_mul(i64::from(count)).ok_or(MoneyError::TooLarge)?;
        Ok(Self { amount, ..self })
    }

    /// What is left of this without `other`.
    ///
    /// # Errors
    /// As [`plus`](Self::plus).
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed(self.currency, other.currency));
        }
        let amount = self.amount.checked_sub(other.amount).ok_or(MoneyError::TooLarge)?;
        Ok(Self { amount, ..self })
    }

    /// Splits the amount by `weights`, so that the parts add up to it exactly.
    ///
    /// Method: largest remainder. Each part is its exact share rounded towards zero; the units that are left go one each
    /// to the parts with the largest remainders, of equal remainders to the earlier part. So 1.00 over `[1, 1, 1]` is
    /// 0.34, 0.33, 0.33, and no part is a whole unit away from its exact share. A negative amount is split like the
    /// positive one, with the sign changed.
    /// Source: Fowler, *Patterns of Enterprise Application Architecture* (2002), ch. 18, "Money".
    ///
    /// # Errors
    /// [`NoWeight`] if `weights` is empty or all zero.
    pub fn allocate(self, weights: &[u64]) -> Result<Vec<Self>, NoWeight> {
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        if total == 0 {
            return Err(NoWeight);
        }
        // Below 2^63 times below 2^64 fits into 128 bits.
        let shares = weights.iter().map(|weight| u128::from(self.amount.unsigned_abs()) * u128::from(*weight));
        let shares: Vec<(u128, u128)> = shares.map(|share| (share / total, share % total)).collect();
        let given: u128 = shares.iter().map(|(whole, _)| whole).sum();
        let left = u128::from(self.amount.unsigned_abs()) - given;
        let mut order: Vec<usize> = (0..shares.len()).collect();
        // Stable, so of equal remainders the earlier stays first.
        order.sort_by_key(|place| std::cmp::Reverse(shares[*place].1));
        let left = usize::try_from(left).expect("fewer units are left than there are parts");
        let lucky = &order[..left];
        let part = |(place, (whole, _)): (usize, &(u128, u128))| {
            let units = i128::try_from(whole + u128::from(lucky.contains(&place))).expect("no more than the amount");
            let signed = if self.amount < 0 { -units } else { units };
            Self { amount: i64::try_from(signed).expect("no more than the amount"), ..self }
        };
        Ok(shares.iter().enumerate().map(part).collect())
    }
}

impl fmt::Display for Money {
    /// `12.90 EUR`, `500 JPY`: as many decimals as the currency has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = usize::from(self.currency.exponent().unwrap_or(0));
        let digits = format!("{:0width$}", self.amount.unsigned_abs(), width = decimals + 1);
        let (whole, rest) = digits.split_at(digits.len() - decimals);
        let sign = if self.amount < 0 { "-" } else { "" };
        let point = if decimals == 0 { "" } else { "." };
        write!(f, "{sign}{whole}{point}{rest} {}", self.currency.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_as_many_decimals_as_the_currency_has() {
        let shown = |amount, currency| Money::new(amount, currency).to_string();
        assert_eq!(shown(1290, Currency::EUR), "12.90 EUR");
        assert_eq!(shown(5, Currency::EUR), "0.05 EUR");
        assert_eq!(shown(-5, Currency::EUR), "-0.05 EUR");
        assert_eq!(shown(500, Currency::JPY), "500 JPY");
        assert_eq!(shown(1, Currency::KWD), "0.001 KWD");
        assert_eq!(shown(i64::MIN, Currency::JPY), "-9223372036854775808 JPY");
    }

    #[test]
    fn refuses_to_mix_currencies() {
        let sum = Money::new(1, Currency::EUR).plus(Money::new(1, Currency::JPY));
        assert_eq!(sum, Err(MoneyError::Mixed(Currency::EUR, Currency::JPY)));
    }

    /// Currencies of 0, 2 and 3 decimals.
    fn currency() -> impl Strategy<Value = Currency> {
        prop::sample::select(vec![Currency::JPY, Currency::EUR, Currency::KWD])
    }

    fn money() -> impl Strategy<Value = Money> {
        (any::<i64>(), currency()).prop_map(|(amount, currency)| Money::new(amount, currency))
    }

    #[test]
    fn of_equal_remainders_the_earlier_part_gets_the_unit() {
        let split = |amount, weights: &[u64]| -> Vec<i64> {
            let parts = Money::new(amount, Currency::EUR).allocate(weights).unwrap();
            parts.iter().map(|part| part.amount).collect()
        };
        assert_eq!(split(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(split(-100, &[1, 1, 1]), [-34, -33, -33]);
        assert_eq!(split(5, &[3, 7]), [2, 3], "1.5 and 3.5");
        assert_eq!(split(10, &[0, 1, 0]), [0, 10, 0]);
        assert_eq!(split(2, &[1, 5, 5]), [0, 1, 1], "the largest remainders, not the first parts");
        assert_eq!(Money::new(1, Currency::EUR).allocate(&[]), Err(NoWeight));
        assert_eq!(Money::new(1, Currency::EUR).allocate(&[0, 0]), Err(NoWeight));
        assert_eq!(split(i64::MIN, &[u64::MAX, u64::MAX]), [i64::MIN / 2, i64::MIN / 2]);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_none_is_a_unit_away_from_its_share(
            whole in money(),
            weights in prop::collection::vec(prop_oneof![0..=3_u64, any::<u64>()], 1..8),
        ) {
            let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            prop_assume!(total > 0);
            let parts = whole.allocate(&weights).unwrap();
            prop_assert_eq!(parts.len(), weights.len());
            prop_assert_eq!(parts.iter().map(|part| i128::from(part.amount)).sum::<i128>(), i128::from(whole.amount));
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert_eq!(part.currency, whole.currency);
                prop_assert!(part.amount == 0 || (part.amount < 0) == (whole.amount < 0));
                // |part * total - whole * weight| < total, without signs.
                let exact = u128::from(whole.amount.unsigned_abs()) * u128::from(*weight);
                let given = part.amount.unsigned_abs();
                prop_assert!(u128::from(given) <= exact / total + 1 && u128::from(given) >= exact / total);
                prop_assert!(exact % total != 0 || u128::from(given) == exact / total, "an exact share stays exact");
            }
            let negated = whole.amount.checked_neg().map(|amount| Money { amount, ..whole });
            if let Some(negated) = negated {
                let mirrored: Vec<i64> = negated.allocate(&weights).unwrap().iter().map(|part| -part.amount).collect();
                prop_assert_eq!(mirrored, parts.iter().map(|part| part.amount).collect::<Vec<_>>());
            }
        }

        #[test]
        fn what_is_shown_is_the_amount_with_the_decimals_of_its_currency(money in money()) {
            let shown = money.to_string();
            let (number, code) = shown.split_once(' ').unwrap();
            prop_assert_eq!(code, money.currency.code());
            let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            prop_assert_eq!(Some(u16::try_from(decimals).unwrap()), money.currency.exponent());
            prop_assert_eq!(number.replace('.', "").parse::<i64>(), Ok(money.amount));
        }

        #[test]
        fn what_is_added_can_be_taken_away(a in money(), b: i64) {
            let b = Money { amount: b, ..a };
            if let Ok(sum) = a.plus(b) {
                prop_assert_eq!(sum.minus(b), Ok(a));
            }
            let other = Money::new(b.amount, Currency::CHF);
            prop_assert_eq!(a.minus(other), Err(MoneyError::Mixed(a.currency, Currency::CHF)));
        }

        #[test]
        fn a_sum_is_exact_or_refused(a: i64, b: i64) {
            let exact = i128::from(a) + i128::from(b);
            let sum = Money::new(a, Currency::EUR).plus(Money::new(b, Currency::EUR));
            match i64::try_from(exact) {
                Ok(fits) => prop_assert_eq!(sum, Ok(Money::new(fits, Currency::EUR))),
                Err(_) => prop_assert_eq!(sum, Err(MoneyError::TooLarge)),
            }
        }

        #[test]
        fn a_product_is_exact_or_refused(a: i64, n: u32) {
            let exact = i128::from(a) * i128::from(n);
            let product = Money::new(a, Currency::EUR).times(n);
            match i64::try_from(exact) {
                Ok(fits) => prop_assert_eq!(product, Ok(Money::new(fits, Currency::EUR))),
                Err(_) => prop_assert_eq!(product, Err(MoneyError::TooLarge)),
            }
        }
    }
}

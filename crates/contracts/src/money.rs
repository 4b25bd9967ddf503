//! Money: an integer of minor units and a currency. No floats, no unchecked arithmetic.

use std::fmt;

pub use iso_currency::Currency;
use serde::{Deserialize, Serialize};

/// An amount of one currency.
///
/// Unit: minor units (cents for EUR, yen for JPY, fils for KWD), by the exponent of ISO 4217. On the wire:
/// `{"amount": 1290, "currency": "EUR"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: Currency,
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

    proptest! {
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

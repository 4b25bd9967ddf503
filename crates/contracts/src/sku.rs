//! What is ordered, how many, and where it lies.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Declares a code: a short name of capital letters, digits and hyphens.
macro_rules! code {
    ($(#[$doc:meta])* $name:ident, at most $max:literal, $(#[$not_doc:meta])* $not:ident) => {
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        $(#[$doc])*
        pub struct $name(Box<str>);

        $(#[$not_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error("must have 1 to {} characters of A-Z, 0-9 and -", $name::MAX_LEN)]
        pub struct $not;

        impl $name {
            /// The longest there is, in characters.
            pub const MAX_LEN: usize = $max;

            /// The code as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $not;

            fn try_from(text: String) -> Result<Self, $not> {
                let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
                let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(known);
                if fits { Ok(Self(text.into_boxed_str())) } else { Err($not) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $not;

            fn from_str(text: &str) -> Result<Self, $not> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(code: $name) -> Self {
                code.0.into_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

code! {
    /// The stock keeping unit: names one product. 1 to 40 characters of `A-Z`, `0-9` and `-`, such as `MUG-BLUE-01`.
    #[schema(value_type = String, pattern = "^[A-Z0-9-]{1,40}$", example = "MUG-BLUE-01")]
    Sku, at most 40,
    /// The text is no SKU.
    NotASku
}

code! {
    /// Names a place where stock lies. 1 to 20 characters of `A-Z`, `0-9` and `-`, such as `MAIN`.
    #[schema(value_type = String, pattern = "^[A-Z0-9-]{1,20}$", example = "HAMBURG")]
    Warehouse, at most 20,
    /// The text names no warehouse.
    NotAWarehouse
}

/// How many pieces of one SKU: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, minimum = 1, maximum = 10_000)]
pub struct Quantity(u32);

/// The number is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quantity is 1 to {}", Quantity::MAX)]
pub struct NotAQuantity;

impl Quantity {
    /// The largest quantity of one line.
    pub const MAX: u32 = 10_000;

    /// The number of pieces.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Quantity {
    type Error = NotAQuantity;

    fn try_from(pieces: u32) -> Result<Self, NotAQuantity> {
        if (1..=Self::MAX).contains(&pieces) { Ok(Self(pieces)) } else { Err(NotAQuantity) }
    }
}

impl From<Quantity> for u32 {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_is_short_and_plain() {
        assert!("MUG-BLUE-01".parse::<Sku>().is_ok());
        for wrong in ["", "mug", "MUG BLUE", "MÜG", "A\0B", &"A".repeat(41)] {
            assert_eq!(wrong.parse::<Sku>(), Err(NotASku), "{wrong:?}");
        }
    }

    #[test]
    fn a_quantity_is_at_least_one() {
        assert_eq!(Quantity::try_from(0), Err(NotAQuantity));
        assert_eq!(Quantity::try_from(1).map(Quantity::get), Ok(1));
        assert_eq!(Quantity::try_from(10_001), Err(NotAQuantity));
    }
}

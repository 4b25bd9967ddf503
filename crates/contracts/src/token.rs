//! The payment provider's token for a card, and never the card's number.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::ToSchema;

/// The provider's token for a card: `tok_`, then 1 to 76 characters of `a-z`, `A-Z`, `0-9` and `_`, such as `tok_ok`.
///
/// A text with something in it that could be the number of a card is none, so that no such number is ever stored. In no
/// event and in no log: `Debug` shows `***`, and no error repeats the text.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(into = "String")]
#[schema(value_type = String, pattern = "^tok_[a-zA-Z0-9_]{1,76}$", example = "tok_ok")]
pub struct PaymentToken(Box<str>);

/// The text is no payment token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a payment token is `{}` and 1 to {} characters of a-z, A-Z, 0-9 and _, and has no card number in it",
    PaymentToken::PREFIX,
    PaymentToken::MAX_LEN - PaymentToken::PREFIX.len()
)]
pub struct NotAPaymentToken;

impl PaymentToken {
    /// What every token begins with.
    pub const PREFIX: &str = "tok_";

    /// The longest token, in characters.
    pub const MAX_LEN: usize = 80;

    /// The token itself, for the provider and the command that carries it, and for nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PaymentToken {
    type Error = NotAPaymentToken;

    fn try_from(text: String) -> Result<Self, NotAPaymentToken> {
        let rest = text.strip_prefix(Self::PREFIX).unwrap_or_default();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let fits = !rest.is_empty() && text.len() <= Self::MAX_LEN && rest.bytes().all(known);
        if fits && !has_card_number(&text) { Ok(Self(text.into_boxed_str())) } else { Err(NotAPaymentToken) }
    }
}

impl From<PaymentToken> for String {
    fn from(token: PaymentToken) -> Self {
        token.0.into_string()
    }
}

impl<'de> Deserialize<'de> for PaymentToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The usual error for a value of another type shows the value.
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom(NotAPaymentToken))?;
        Self::try_from(text).map_err(D::Error::custom)
    }
}

impl fmt::Debug for PaymentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentToken(***)")
    }
}

/// Whether digits that stand together, or are parted by blanks and signs only, are as many as those of a card and have
/// its check digit.
fn has_card_number(text: &str) -> bool {
    let runs = text.split(|char: char| char.is_alphabetic());
    runs.map(|run| run.chars().filter_map(|char| char.to_digit(10)).collect::<Vec<_>>())
        .any(|digits| (12..=19).contains(&digits.len()) && luhn(&digits))
}

/// The check of ISO/IEC 7812-1: from the right every second digit counts twice, its own digits added up.
fn luhn(digits: &[u32]) -> bool {
    let weighed = digits.iter().rev().zip([1, 2].into_iter().cycle()).map(|(digit, weight)| {
        let product = digit * weight;
        product / 10 + product % 10
    });
    weighed.sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers that card networks publish for tests.
    const CARDS: [&str; 6] = [
        "4111111111111111",
        "5555555555554444",
        "378282246310005",
        "30569309025904",
        "6011111111111117",
        "4000000000000000006",
    ];

    fn token(text: &str) -> Result<PaymentToken, NotAPaymentToken> {
        PaymentToken::try_from(text.to_owned())
    }

    #[test]
    fn a_token_begins_with_tok_and_has_letters_digits_and_underscores() {
        let longest = format!("tok_{}", "a".repeat(76));
        for good in ["tok_ok", "tok_1", "tok__", "tok_1Mq8zK2eZvKYlo2C7Xq9R3tB", longest.as_str()] {
            assert_eq!(token(good).unwrap().expose(), good);
        }
        for bad in
            ["", "tok_", "tok", "ok", "TOK_ok", " tok_ok", "tok_ok ", "tok_o-k", "tok_ö", "tok_\0", &(longest + "a")]
        {
            assert_eq!(token(bad), Err(NotAPaymentToken), "{bad}");
        }
    }

    #[test]
    fn a_card_number_is_no_token_however_it_is_written() {
        for card in CARDS {
            for parted in ["", " ", ".", "-", "_"] {
                let fours: Vec<&str> = card.as_bytes().chunks(4).map(|four| str::from_utf8(four).unwrap()).collect();
                let number = fours.join(parted);
                assert!(has_card_number(&number), "{number}");
                for text in
                    [number.clone(), format!("tok_{number}"), format!("tok_a{number}b"), format!("tok_7b{number}")]
                {
                    assert_eq!(token(&text), Err(NotAPaymentToken), "{text}");
                }
            }
        }
        assert!(token("tok_4111111111111112").is_ok(), "its check digit is wrong");
        assert!(token("tok_00000000000").is_ok(), "eleven digits are no card");
        assert!(token("tok_00000000000000000000").is_ok(), "nor are twenty");
    }

    #[test]
    fn no_error_repeats_what_was_sent() {
        for json in ["\"4111111111111111\"", "4111111111111111", "[\"4111111111111111\"]", "{\"4111111111111111\": 1}"]
        {
            let error = serde_json::from_str::<PaymentToken>(json).unwrap_err().to_string();
            assert!(!error.contains("4111") && error.contains("a payment token is `tok_`"), "{error}");
        }
    }

    proptest! {
        /// Any twelve to nineteen digits with their check digit are refused, and with any other they pass.
        #[test]
        fn the_check_digit_decides(body in "[0-9]{11,18}") {
            let accepted = (0..10).filter(|check| token(&format!("tok_{body}{check}")).is_ok()).count();
            prop_assert_eq!(accepted, 9);
        }
    }
}

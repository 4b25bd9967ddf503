//! What a customer calls an order in their own books.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A customer's own name for an order: 1 to 64 visible ASCII characters. It is in no event, for a customer may write into
/// it whatever they like, and it is forgotten with them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, pattern = "^[!-~]{1,64}$", example = "PO-2026/17")]
pub(crate) struct Reference(String);

/// The text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reference has 1 to {} visible ASCII characters", Reference::MAX_LEN)]
pub(crate) struct NotAReference;

impl Reference {
    /// The longest, in characters.
    pub(crate) const MAX_LEN: usize = 64;

    /// As it is stored.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reference {
    type Error = NotAReference;

    fn try_from(text: String) -> Result<Self, NotAReference> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text)) } else { Err(NotAReference) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_short_and_visible() {
        for (text, fits) in
            [("PO-2026/17", true), ("", false), ("two words", false), ("\u{202e}", false), ("a\0", false)]
        {
            assert_eq!(Reference::try_from(text.to_owned()).is_ok(), fits, "{text:?}");
        }
        assert!(Reference::try_from("x".repeat(64)).is_ok() && Reference::try_from("x".repeat(65)).is_err());
    }
}

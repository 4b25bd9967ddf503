//! Text that others had a say in: whether it is fit to be shown and printed, and how it is made so.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The longest text, in characters.
const MAX_CHARS: usize = 200;

/// `text` on one line and not too long: messages of parsers repeat what the client sent.
pub(crate) fn tamed(text: &str) -> String {
    let visible = |char: char| if is_hidden(char) { char::REPLACEMENT_CHARACTER } else { char };
    let mut tamed: String = text.chars().take(MAX_CHARS).map(visible).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        tamed.push('…');
    }
    tamed
}

/// Whether nobody can see the character, or it changes how others are seen: what controls, such as a line break; what
/// formats, such as a turn of the direction or a space without width; and what ends a line or a paragraph. No text that
/// the shop keeps and prints has any: two names that look the same are the same, and a text is read as it is stored.
/// Source: the general categories Cc, Cf, Zl and Zp of the Unicode Standard, section 4.5.
pub fn is_hidden(char: char) -> bool {
    matches!(
        char.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_known_and_all_else_is_left_alone() {
        for hidden in "\0\t\n\u{7f}\u{85}\u{ad}\u{61c}\u{200b}\u{200d}\u{200e}\u{202e}\u{2028}\u{2029}\u{2060}\u{2066}\u{feff}\u{e0041}".chars() {
            assert!(is_hidden(hidden), "{}", hidden.escape_unicode());
        }
        // An accent of its own, a space that does not break, and scripts that run the other way.
        for seen in "a e\u{301}\u{a0}Œ ß 12 '-., 株式会社 שלום محمد नमस्ते 🔨".chars() {
            assert!(!is_hidden(seen), "{}", seen.escape_unicode());
        }
    }

    #[test]
    fn is_short_and_has_nothing_hidden() {
        assert_eq!(tamed("plain ü"), "plain ü");
        assert_eq!(tamed("a\n\u{1b}[31mb\0\u{202e}c"), "a��[31mb��c");
        let long = tamed(&"ü".repeat(201));
        assert_eq!(long, format!("{}…", "ü".repeat(200)));
        assert_eq!(tamed(&"x".repeat(200)).chars().count(), 200);
    }
}

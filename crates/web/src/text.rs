//! Text that others had a say in, made fit to be shown.

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

/// Control characters, and those that change the direction of what follows.
fn is_hidden(char: char) -> bool {
    let turns = matches!(char, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    char.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_short_and_has_nothing_hidden() {
        assert_eq!(tamed("plain ü"), "plain ü");
        assert_eq!(tamed("a\n\u{1b}[31mb\0\u{202e}c"), "a��[31mb��c");
        let long = tamed(&"ü".repeat(201));
        assert_eq!(long, format!("{}…", "ü".repeat(200)));
        assert_eq!(tamed(&"x".repeat(200)).chars().count(), 200);
    }
}

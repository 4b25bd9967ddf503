//! The headers of a message, as they came.

/// The headers of a message, as they came: names with bytes. In one piece of memory, for nearly nobody looks at them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

impl Headers {
    pub(crate) fn push(&mut self, name: &str, value: Option<&[u8]>) {
        self.piece(Some(name.as_bytes()));
        self.piece(value);
    }

    /// All of them as JSON: a list of names with values, each byte of a value that is not printable ASCII as `\xNN`.
    pub(crate) fn to_json(&self) -> String {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let mut rest = self.0.as_slice();
        let mut headers: Vec<(String, Option<String>)> = Vec::new();
        while let Some(name) = next(&mut rest) {
            let value = next(&mut rest).flatten();
            headers.push((name.map(text).unwrap_or_default(), value.map(text)));
        }
        serde_json::to_string(&headers).expect("a list of texts is always JSON")
    }

    /// Its length plus one, 0 for none, and the bytes.
    fn piece(&mut self, bytes: Option<&[u8]>) {
        let length = bytes.map_or(0, |bytes| bytes.len() as u64 + 1);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes.unwrap_or_default());
    }
}

/// The next piece; `None` at the end.
#[expect(clippy::option_option, reason = "a header may have no value")]
fn next<'b>(rest: &mut &'b [u8]) -> Option<Option<&'b [u8]>> {
    let (length, behind) = rest.split_first_chunk()?;
    let Some(length) = usize::try_from(u64::from_le_bytes(*length)).ok()?.checked_sub(1) else {
        *rest = behind;
        return Some(None);
    };
    let (piece, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(Some(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_shown_byte_for_byte_whatever_they_hold() {
        let mut headers = Headers::default();
        headers.push("ce_id", Some(b"7"));
        headers.push("", Some(b""));
        headers.push("nothing", None);
        headers.push("bytes", Some(b"\xff\0\"\x1b[31m"));
        let shown: serde_json::Value = serde_json::from_str(&headers.to_json()).unwrap();
        let expected =
            serde_json::json!([["ce_id", "7"], ["", ""], ["nothing", null], ["bytes", r#"\xff\x00\"\x1b[31m"#]]);
        assert_eq!(shown, expected);
    }
}

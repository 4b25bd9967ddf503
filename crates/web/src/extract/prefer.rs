//! What the client would like, if it can be had (RFC 7240).

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request},
};

/// The longest wait granted.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// The preferences we know. One that is not known or cannot be read is as good as none, as the RFC says; so reading
/// them never fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefer {
    /// `wait=N`: answer once the outcome is known, or after that time. At most [`MAX_WAIT`].
    pub wait: Option<Duration>,
}

impl<S: Send + Sync> FromRequestParts<S> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Prefer {
    /// What the answer to whom was waited for says of it: `Preference-Applied`.
    pub fn applied(&self) -> Option<[(HeaderName, HeaderValue); 1]> {
        let waited = HeaderValue::try_from(format!("wait={}", self.wait?.as_secs())).ok()?;
        Some([(HeaderName::from_static("preference-applied"), waited)])
    }

    /// Of a preference that is stated more than once, the first counts.
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let wait = values.flat_map(preferences).find(|(name, _)| name.eq_ignore_ascii_case("wait"));
        Self { wait: wait.and_then(|(_, value)| seconds(value)) }
    }
}

/// Names and values of the preferences of one header; their parameters, after a semicolon, are dropped.
fn preferences(header: &str) -> impl Iterator<Item = (&str, &str)> {
    split_unquoted(header, ',').map(|preference| {
        let preference = split_unquoted(preference, ';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        (name.trim(), value.trim())
    })
}

/// Splits at each separator that does not stand between quotes.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |char| {
        let plain = !std::mem::take(&mut escaped);
        match char {
            '\\' if quoted && plain => escaped = true,
            '"' if plain => quoted = !quoted,
            _ => {}
        }
        char == separator && !quoted
    })
}

/// A number of seconds, in quotes or not. A number that is too large for any type is still a number.
fn seconds(value: &str) -> Option<Duration> {
    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().map_or(MAX_WAIT, Duration::from_secs).min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[&str]) -> Option<u64> {
        let headers = headers.iter().map(|value| (http_name(), value.parse().unwrap()));
        Prefer::of(&headers.collect()).wait.map(|wait| wait.as_secs())
    }

    fn http_name() -> axum::http::HeaderName {
        axum::http::HeaderName::from_static("prefer")
    }

    #[test]
    fn finds_wait_among_other_preferences() {
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["respond-async, WAIT = 10 ; strict, priority=5"]), Some(10));
        assert_eq!(wait(&["return=minimal", "wait=\"7\""]), Some(7));
        assert_eq!(wait(&[r#"note="a, wait=3 \", wait=4", wait=5"#]), Some(5));
        assert_eq!(wait(&["wait=0"]), Some(0));
    }

    #[test]
    fn the_first_of_several_counts() {
        assert_eq!(wait(&["wait=1, wait=2", "wait=3"]), Some(1));
        assert_eq!(wait(&["wait=soon, wait=2"]), None);
    }

    #[test]
    fn a_wait_is_at_most_half_a_minute() {
        assert_eq!(wait(&["wait=31"]), Some(30));
        assert_eq!(wait(&["wait=99999999999999999999999"]), Some(30));
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        for header in
            ["", "wait", "wait=", "wait=-1", "wait=+1", "wait=1.5", "wait=1e1", "wait=\"1", "=1", ",;,", "await=1"]
        {
            assert_eq!(wait(&[header]), None, "{header:?}");
        }
        assert_eq!(wait(&[]), None);
    }
}

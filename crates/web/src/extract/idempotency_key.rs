//! The name a client gives to one request, so that sending it again has no second effect.

use std::{fmt, str::FromStr};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request},
    response::{IntoResponse, Response},
};

use crate::problem::{Problem, types};

const HEADER: &str = "idempotency-key";

/// Says that the answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The `Idempotency-Key` of a request: 1 to 255 visible ASCII characters, taken as they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Box<str>);

/// The text is no idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {} visible ASCII characters", IdempotencyKey::MAX_LEN)]
pub struct NotAnIdempotencyKey;

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_LEN: usize = 255;

    /// The key as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Marks `answer` as the one that an earlier request with the same key got.
    pub fn replayed(answer: impl IntoResponse) -> Response {
        let mut answer = answer.into_response();
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        answer
    }

    /// The one key of a request, if it has any.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, NotAnIdempotencyKey> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(NotAnIdempotencyKey);
        }
        text(value)?.parse().map(Some)
    }
}

fn text(value: &HeaderValue) -> Result<&str, NotAnIdempotencyKey> {
    value.to_str().map_err(|_| NotAnIdempotencyKey)
}

impl FromStr for IdempotencyKey {
    type Err = NotAnIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, NotAnIdempotencyKey> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.into())) } else { Err(NotAnIdempotencyKey) }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Problem> {
        let missing = "Send an `Idempotency-Key` header, so that the request can be repeated without a second effect.";
        match Self::of(&parts.headers) {
            Ok(Some(key)) => Ok(key),
            Ok(None) => Err(Problem::of(&types::IDEMPOTENCY_KEY_MISSING, missing)),
            Err(invalid) => Err(Problem::of(&types::IDEMPOTENCY_KEY_INVALID, invalid)),
        }
    }
}

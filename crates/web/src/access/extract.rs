//! Principals as arguments of handlers, for any state that has a [`Verifier`].

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header::AUTHORIZATION, request},
};

use super::{Principal, Verifier};
use crate::problem::{Problem, types};

/// Says that an operator is asking. As an argument of a handler it refuses customers with 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator;

impl<S: Send + Sync> FromRequestParts<S> for Principal
where
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Problem> {
        let principal = principal(&parts.headers, &Verifier::from_ref(state));
        // The same words for every reason: see `TokenRefused`.
        principal
            .ok_or_else(|| Problem::of(&types::UNAUTHENTICATED, "Send a valid token: `Authorization: Bearer <token>`."))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator
where
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Problem> {
        match Principal::from_request_parts(parts, state).await? {
            Principal::Operator => Ok(Self),
            Principal::Customer(_) => Err(Problem::of(&types::FORBIDDEN, "Only an operator may do this.")),
        }
    }
}

/// Who is asking, if that is certain.
pub(crate) fn principal(headers: &HeaderMap, verifier: &Verifier) -> Option<Principal> {
    bearer(headers).and_then(|token| verifier.verify(token).ok())
}

/// The token, if there is exactly one `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

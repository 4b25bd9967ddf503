//! What stands in the address.
#![expect(clippy::disallowed_types, reason = "these are the types that wrap axum's")]

use axum::{
    extract::{FromRequestParts, rejection::PathRejection},
    http::request,
};
use serde::de::DeserializeOwned;

use crate::{
    problem::{Problem, types},
    text::tamed,
};

/// The parameters of the path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path<T>(pub T);

/// The parameters of the query.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await.map_err(unread)?;
        Ok(Self(path.0))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::of(&types::INVALID_QUERY, tamed(&rejection.body_text())))?;
        Ok(Self(query.0))
    }
}

/// A part that cannot be read is the client's fault; a route without that part is ours.
fn unread(rejection: PathRejection) -> Problem {
    if rejection.status().is_server_error() {
        return Problem::internal(&rejection);
    }
    Problem::of(&types::INVALID_PATH, tamed(&rejection.body_text()))
}

//! What an operator asks the stock writer for: pieces come in, or leave.
//!
//! The client's idempotency key is the natural key of what is booked, so a request repeated after any crash changes
//! nothing, however late it comes. All requests of a kind that wait share one transaction.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use messaging::mongo::Transaction;
use web::{extract::IdempotencyKey, trace::Traceparent};

use crate::store::StoreError;

/// Names a request: who sent it, and the key they gave it. So one principal's keys never meet another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(Box<str>);

impl RequestId {
    /// The request the operator calls `key`.
    pub(crate) fn of_operator(key: &str) -> Self {
        Self(format!("operator/{key}").into())
    }

    /// As it was stored.
    pub(crate) fn stored(id: String) -> Self {
        Self(id.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One kind of request.
pub(crate) trait Request: Sized + Send + Sync {
    /// What was booked.
    type Booked: Send;
    /// Why it cannot be booked; the request is as if it had never been made.
    type Refusal: Send;

    /// Books all of `requests` in `tx`, and says of each what came of it. What it causes is of the trace in `causes`.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing may be committed.
    fn book(
        tx: &mut Transaction,
        requests: &[Self],
        causes: &[Traceparent],
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Outcome<Self>>, StoreError>> + Send;
}

/// What came of one request.
pub(crate) type Outcome<R> = Result<Done<<R as Request>::Booked>, RequestError<<R as Request>::Refusal>>;

/// A request was booked, now or when it first came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done<B> {
    Now(B),
    Before(B),
}

impl<B> Done<B> {
    /// What was booked, as the answer to the request: the same each time, and marked when it is repeated.
    pub(crate) fn answer<A: IntoResponse>(self, answer: impl FnOnce(B) -> A) -> Response {
        match self {
            Self::Now(booked) => answer(booked).into_response(),
            Self::Before(booked) => IdempotencyKey::replayed(answer(booked)),
        }
    }
}

/// Why a request was not booked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RequestError<R> {
    #[error("what is asked for cannot be done")]
    Refused(R),
    #[error("the key was used for another request")]
    KeyReused,
    /// The requests of one transaction share its failure.
    #[error("the request could not be booked")]
    Store(#[source] Arc<StoreError>),
    #[error("the stock writer has stopped")]
    Stopped,
}

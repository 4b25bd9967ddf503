//! The problems this API answers with.

use std::time::Duration;

use axum::http::StatusCode;
use web::problem::{Problem, ProblemType, types};

use crate::{cancel::CancelError, order::Refusal, place::PlaceError};

pub(crate) static INVALID_ORDER: ProblemType =
    ProblemType { slug: "invalid_order", status: StatusCode::UNPROCESSABLE_ENTITY, title: "The order cannot be taken" };
pub(crate) static UNKNOWN_SKU: ProblemType =
    ProblemType { slug: "unknown_sku", status: StatusCode::UNPROCESSABLE_ENTITY, title: "There is no such product" };
pub(crate) static KEY_REUSED: ProblemType = ProblemType {
    slug: "idempotency_key_reused",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The idempotency key belongs to another request",
};
pub(crate) static ORDER_NOT_FOUND: ProblemType =
    ProblemType { slug: "order_not_found", status: StatusCode::NOT_FOUND, title: "There is no such order" };
pub(crate) static ORDER_SHIPPED: ProblemType =
    ProblemType { slug: "order_shipped", status: StatusCode::CONFLICT, title: "The order is on its way" };
pub(crate) static SAGA_NOT_FOUND: ProblemType =
    ProblemType { slug: "saga_not_found", status: StatusCode::NOT_FOUND, title: "There is no such saga" };
pub(crate) static SAGA_NOT_PARKED: ProblemType =
    ProblemType { slug: "saga_not_parked", status: StatusCode::CONFLICT, title: "The saga is not parked" };
pub(crate) static CUSTOMERS_ONLY: ProblemType =
    ProblemType { slug: "customers_only", status: StatusCode::FORBIDDEN, title: "Only a customer can do this" };

/// When a client may try again if the fault is ours.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Refused(refusal) => match &refusal {
                Refusal::UnknownSku(_) => Self::of(&UNKNOWN_SKU, refusal),
                Refusal::LineCount | Refusal::SkuTwice(_) | Refusal::MixedCurrencies(..) | Refusal::TooLarge => {
                    Self::of(&INVALID_ORDER, refusal)
                }
            },
            PlaceError::KeyReused => Self::of(&KEY_REUSED, error),
            // The committer has logged why.
            PlaceError::Busy | PlaceError::Store => Self::of(&types::UNAVAILABLE, error).with_retry_after(RETRY_AFTER),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NoOrder(_) => Self::of(&ORDER_NOT_FOUND, error),
            CancelError::TooLate(_) => Self::of(&ORDER_SHIPPED, error),
            CancelError::Store(_) | CancelError::Save(_) => Self::unavailable(&error, RETRY_AFTER),
            CancelError::Advance(_) => Self::internal(&error),
        }
    }
}

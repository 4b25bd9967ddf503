//! The problems this API answers with.

use web::problem::{Problem, ProblemType};

use crate::{order::Refusal, place::PlaceError};

pub(crate) static INVALID_ORDER: ProblemType =
    ProblemType { slug: "invalid_order", status: 422, title: "The order cannot be taken" };
pub(crate) static UNKNOWN_SKU: ProblemType =
    ProblemType { slug: "unknown_sku", status: 422, title: "There is no such product" };
pub(crate) static KEY_REUSED: ProblemType = ProblemType {
    slug: "idempotency_key_reused",
    status: 422,
    title: "The idempotency key belongs to another request",
};
pub(crate) static ORDER_NOT_FOUND: ProblemType =
    ProblemType { slug: "order_not_found", status: 404, title: "There is no such order" };
pub(crate) static CUSTOMERS_ONLY: ProblemType =
    ProblemType { slug: "customers_only", status: 403, title: "Only a customer can do this" };

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
            PlaceError::Busy | PlaceError::Store => Self::unavailable(error, RETRY_AFTER_S),
        }
    }
}

/// When a client may try again, in seconds.
pub(crate) const RETRY_AFTER_S: u32 = 1;

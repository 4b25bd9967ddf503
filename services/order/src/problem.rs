//! The problems this API answers with.

use std::time::Duration;

use axum::http::StatusCode;
use contracts::{Money, Sku};
use serde::Serialize;
use web::problem::{FieldError, Problem, ProblemType, types};

use crate::{
    cancel::CancelError,
    order::{OtherPrice, Refusal},
    place::PlaceError,
};

pub(crate) static INVALID_ORDER: ProblemType =
    ProblemType { slug: "invalid_order", status: StatusCode::UNPROCESSABLE_ENTITY, title: "The order cannot be taken" };
pub(crate) static UNKNOWN_SKU: ProblemType =
    ProblemType { slug: "unknown_sku", status: StatusCode::UNPROCESSABLE_ENTITY, title: "There is no such product" };
pub(crate) static PRICE_CHANGED: ProblemType =
    ProblemType { slug: "price_changed", status: StatusCode::CONFLICT, title: "The price is another one by now" };
pub(crate) static REFERENCE_TAKEN: ProblemType =
    ProblemType { slug: "reference_taken", status: StatusCode::CONFLICT, title: "Another order has this reference" };
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
                Refusal::PriceChanged(others) => price_changed(&refusal, others),
                Refusal::LineCount | Refusal::SkuTwice(_) | Refusal::MixedCurrencies(..) | Refusal::TooLarge => {
                    Self::of(&INVALID_ORDER, refusal)
                }
            },
            PlaceError::KeyReused => Self::of(&KEY_REUSED, error),
            PlaceError::ReferenceTaken => {
                let place = FieldError::new("/reference", "must be of one order only");
                Self::of(&REFERENCE_TAKEN, error).with_errors(vec![place])
            }
            // The committer has logged why.
            PlaceError::Busy => Self::of(&types::OVERLOADED, error).with_retry_after(RETRY_AFTER),
            PlaceError::Store => Self::of(&types::UNAVAILABLE, error).with_retry_after(RETRY_AFTER),
        }
    }
}

/// Each line, and beside that what a program can read: what the products cost now.
fn price_changed(refusal: &Refusal, others: &[OtherPrice]) -> Problem {
    #[derive(Serialize)]
    struct Price<'a> {
        sku: &'a Sku,
        unit_price: Money,
    }
    let error = |other: &OtherPrice| {
        FieldError::new(format!("/lines/{}/unit_price", other.line), format_args!("is {} now", other.unit_price))
    };
    let prices: Vec<Price<'_>> =
        others.iter().map(|other| Price { sku: &other.sku, unit_price: other.unit_price }).collect();
    Problem::of(&PRICE_CHANGED, refusal).with_errors(others.iter().map(error).collect()).with("prices", &prices)
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

//! The problems this API answers with.

use std::{error::Error, time::Duration};

use contracts::{Money, Sku};
use serde::Serialize;
use service::postgres::is_away;
use web::{
    problem::{FieldError, Problem, types},
    problem_types,
};

use crate::{
    cancel::CancelError,
    order::{OtherPrice, Refusal},
    place::PlaceError,
};

problem_types! {
    pub(crate) INVALID_ORDER = "invalid_order", UNPROCESSABLE_ENTITY, "The order cannot be taken";
    pub(crate) UNKNOWN_SKU = "unknown_sku", UNPROCESSABLE_ENTITY, "There is no such product";
    pub(crate) PRICE_CHANGED = "price_changed", CONFLICT, "The price is another one by now";
    pub(crate) REFERENCE_TAKEN = "reference_taken", CONFLICT, "Another order has this reference";
    pub(crate) KEY_REUSED =
        "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The idempotency key belongs to another request";
    pub(crate) ORDER_NOT_FOUND = "order_not_found", NOT_FOUND, "There is no such order";
    pub(crate) ORDER_SHIPPED = "order_shipped", CONFLICT, "The order is on its way";
    pub(crate) SAGA_NOT_FOUND = "saga_not_found", NOT_FOUND, "There is no such saga";
    pub(crate) SAGA_NOT_PARKED = "saga_not_parked", CONFLICT, "The saga is not parked";
    pub(crate) CUSTOMERS_ONLY = "customers_only", FORBIDDEN, "Only a customer can do this";
}

/// When a client may try again if the fault is ours.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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
            PlaceError::TooManyOpen => Self::of(&types::RATE_LIMITED, error).with_retry_after(RETRY_AFTER),
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
            CancelError::Store(_) | CancelError::Save(_) | CancelError::Advance(_) => failed(&error),
        }
    }
}

/// What became of a query.
pub(crate) fn store(error: sqlx::Error) -> Problem {
    failed(&error)
}

/// The database is away or busy, or the fault is ours.
pub(crate) fn failed(error: &(dyn Error + 'static)) -> Problem {
    if is_away(error) { Problem::unavailable(error, RETRY_AFTER) } else { Problem::internal(error) }
}

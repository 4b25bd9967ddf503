//! The problems of this API alone, and what becomes a problem. Those every API has are in [`web::problem::types`].

use std::time::Duration;

use axum::http::StatusCode;
use contracts::{OrderId, Sku};
use web::problem::{FieldError, Problem, ProblemType, types};

use crate::{catalogue::WrongField, receive::ReceiveError, store::StoreError};

/// No product has this SKU.
pub(crate) static UNKNOWN_SKU: ProblemType =
    ProblemType { slug: "unknown_sku", status: StatusCode::NOT_FOUND, title: "There is no such product" };

/// No command about this order has come.
pub(crate) static UNKNOWN_ORDER: ProblemType =
    ProblemType { slug: "unknown_order", status: StatusCode::NOT_FOUND, title: "Nothing is known of this order" };

/// The key names another receipt.
pub(crate) static IDEMPOTENCY_KEY_REUSED: ProblemType = ProblemType {
    slug: "idempotency_key_reused",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The idempotency key was used for another request",
};

/// When a client whom we could not serve may ask again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn unknown_sku(sku: &Sku) -> Problem {
    Problem::of(&UNKNOWN_SKU, format_args!("There is no product {sku}."))
}

pub(crate) fn unknown_order(order: OrderId) -> Problem {
    Problem::of(&UNKNOWN_ORDER, format_args!("No command about order {order} has come."))
}

pub(crate) fn wrong_product(wrong: Vec<WrongField>) -> Problem {
    let errors = wrong.into_iter().map(|wrong| FieldError::new(wrong.pointer, wrong.detail)).collect();
    Problem::of(&types::INVALID_BODY, "No product can be like this.").with_errors(errors)
}

pub(crate) fn store(error: StoreError) -> Problem {
    of_store(&error)
}

pub(crate) fn receive(error: ReceiveError) -> Problem {
    match &error {
        ReceiveError::UnknownSku(sku) => unknown_sku(sku),
        ReceiveError::KeyReused => {
            Problem::of(&IDEMPOTENCY_KEY_REUSED, "Take a new key, or send the request as it was the first time.")
        }
        ReceiveError::Store(error) => of_store(error),
        ReceiveError::Stopped => Problem::unavailable(&error, ASK_AGAIN),
    }
}

fn of_store(error: &StoreError) -> Problem {
    if error.is_conflict() || error.is_away() {
        Problem::unavailable(error, ASK_AGAIN)
    } else {
        Problem::internal(error)
    }
}

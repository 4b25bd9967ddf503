//! The problems of this API alone. Those every API has are in [`web::problem::types`].

use std::time::Duration;

use axum::http::StatusCode;
use contracts::{CustomerId, OrderId};
use web::problem::{FieldError, Problem, ProblemType, types};

use crate::invoice::Number;
use crate::refund::RefundError;
use crate::store::customers;
use crate::webhook::Refused;

/// No command about this order has come, or it is another customer's.
pub(crate) static UNKNOWN_PAYMENT: ProblemType =
    ProblemType { slug: "unknown_payment", status: StatusCode::NOT_FOUND, title: "There is no such payment" };

/// Nothing of this payment waits for an operator.
pub(crate) static NOT_PARKED: ProblemType =
    ProblemType { slug: "not_parked", status: StatusCode::CONFLICT, title: "The payment is not parked" };

/// Nothing was taken that could be returned.
pub(crate) static NOT_CAPTURED: ProblemType =
    ProblemType { slug: "not_captured", status: StatusCode::CONFLICT, title: "The payment is not captured" };

/// More than is left of what was captured.
pub(crate) static REFUND_TOO_LARGE: ProblemType =
    ProblemType { slug: "refund_too_large", status: StatusCode::CONFLICT, title: "The refund is too large" };

/// No invoice is issued that a credit note could correct.
pub(crate) static NOT_INVOICED: ProblemType =
    ProblemType { slug: "not_invoiced", status: StatusCode::CONFLICT, title: "The order is not invoiced" };

/// Nobody has stated who the customer is, or it is another one.
pub(crate) static UNKNOWN_CUSTOMER: ProblemType =
    ProblemType { slug: "unknown_customer", status: StatusCode::NOT_FOUND, title: "There is no such customer" };

/// Something of a customer's name and address is wrong.
pub(crate) static INVALID_CUSTOMER: ProblemType = ProblemType {
    slug: "invalid_customer",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The customer is not valid",
};

/// An invoice may still have to name the customer.
pub(crate) static ORDERS_ON_THEIR_WAY: ProblemType =
    ProblemType { slug: "orders_on_their_way", status: StatusCode::CONFLICT, title: "Orders are on their way" };

/// No invoice has that number, or it is another customer's.
pub(crate) static UNKNOWN_INVOICE: ProblemType =
    ProblemType { slug: "unknown_invoice", status: StatusCode::NOT_FOUND, title: "There is no such invoice" };

/// A refund of nothing.
pub(crate) static INVALID_REFUND: ProblemType =
    ProblemType { slug: "invalid_refund", status: StatusCode::UNPROCESSABLE_ENTITY, title: "The refund is not valid" };

/// The key belongs to another request.
pub(crate) static IDEMPOTENCY_KEY_REUSED: ProblemType = ProblemType {
    slug: "idempotency_key_reused",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The idempotency key was used for another request",
};

/// Nobody we know vouches for it.
pub(crate) static INVALID_SIGNATURE: ProblemType =
    ProblemType { slug: "invalid_signature", status: StatusCode::UNAUTHORIZED, title: "The signature is not valid" };

/// When a client whom we could not serve may ask again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn unknown_payment(order: OrderId) -> Problem {
    Problem::of(&UNKNOWN_PAYMENT, format_args!("There is no payment for order {order}."))
}

pub(crate) fn unknown_customer(customer: CustomerId) -> Problem {
    Problem::of(&UNKNOWN_CUSTOMER, format_args!("Nothing is known of customer {customer}."))
}

pub(crate) fn invalid_customer(errors: Vec<FieldError>) -> Problem {
    Problem::of(&INVALID_CUSTOMER, "Name, address or what else is stated is not valid.").with_errors(errors)
}

pub(crate) fn orders_on_their_way(customer: CustomerId, orders: i64) -> Problem {
    let detail = format!("{orders} orders of customer {customer} are on their way and may yet be invoiced. Ask again.");
    Problem::of(&ORDERS_ON_THEIR_WAY, detail).with_retry_after(ASK_AGAIN)
}

pub(crate) fn unknown_invoice(number: Number) -> Problem {
    Problem::of(&UNKNOWN_INVOICE, format_args!("There is no invoice {number}."))
}

/// No secret was set that could tell webhooks of the provider from others.
pub(crate) fn no_webhooks() -> Problem {
    Problem::of(&types::NOT_FOUND, "This installation takes no webhooks.")
}

pub(crate) fn webhook(refused: &Refused) -> Problem {
    match refused {
        // What is wrong with it would help only to forge a better one.
        Refused::Signature(_) => Problem::of(&INVALID_SIGNATURE, refused),
        Refused::Unreadable(_) => Problem::of(&types::BAD_REQUEST, refused),
    }
}

pub(crate) fn not_parked(order: OrderId) -> Problem {
    Problem::of(&NOT_PARKED, format_args!("Nothing of the payment for order {order} waits for an operator."))
}

/// What became of a query: the database is away or busy, or the fault is ours.
pub(crate) fn store(error: sqlx::Error) -> Problem {
    let away = matches!(
        error,
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed
    );
    if away || customers::is_busy(&error) { Problem::unavailable(&error, ASK_AGAIN) } else { Problem::internal(&error) }
}

pub(crate) fn refund(error: &RefundError) -> Problem {
    let kind = match error {
        RefundError::NotCaptured => &NOT_CAPTURED,
        RefundError::TooMuch { .. } => &REFUND_TOO_LARGE,
        RefundError::NotInvoiced => &NOT_INVOICED,
        RefundError::NotPositive => &INVALID_REFUND,
        RefundError::KeyReused(_) => &IDEMPOTENCY_KEY_REUSED,
    };
    Problem::of(kind, error)
}

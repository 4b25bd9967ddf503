//! The problems of this API alone. Those every API has are in [`web::problem::types`].

use std::time::Duration;

use contracts::{CustomerId, OrderId};
use service::postgres::is_away;
use web::problem::{FieldError, Problem, types};
use web::problem_types;

use crate::invoice::Number;
use crate::refund::RefundError;
use crate::webhook::Refused;

problem_types! {
    /// No command about this order has come, or it is another customer's.
    pub(crate) PAYMENT_NOT_FOUND = "payment_not_found", NOT_FOUND, "There is no such payment";

    /// Nothing of this payment waits for an operator.
    pub(crate) NOT_PARKED = "not_parked", CONFLICT, "The payment is not parked";

    /// Nothing was taken that could be returned.
    pub(crate) NOT_CAPTURED = "not_captured", CONFLICT, "The payment is not captured";

    /// More than is left of what was captured.
    pub(crate) REFUND_TOO_LARGE = "refund_too_large", CONFLICT, "The refund is too large";

    /// No invoice is issued that a credit note could correct.
    pub(crate) NOT_INVOICED = "not_invoiced", CONFLICT, "The order is not invoiced";

    /// Nobody has stated who the customer is, or it is another one.
    pub(crate) CUSTOMER_NOT_FOUND = "customer_not_found", NOT_FOUND, "There is no such customer";

    /// Something of a customer's name and address is wrong.
    pub(crate) INVALID_CUSTOMER = "invalid_customer", UNPROCESSABLE_ENTITY, "The customer is not valid";

    /// An invoice may still have to name the customer.
    pub(crate) ORDERS_ON_THEIR_WAY = "orders_on_their_way", CONFLICT, "Orders are on their way";

    /// No invoice has that number, or it is another customer's.
    pub(crate) INVOICE_NOT_FOUND = "invoice_not_found", NOT_FOUND, "There is no such invoice";

    /// A refund of nothing, or in another currency than the payment.
    pub(crate) INVALID_REFUND = "invalid_refund", UNPROCESSABLE_ENTITY, "The refund is not valid";

    /// The key belongs to another request.
    pub(crate) IDEMPOTENCY_KEY_REUSED =
        "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";

    /// Nobody we know vouches for it.
    pub(crate) INVALID_SIGNATURE = "invalid_signature", UNAUTHORIZED, "The signature is not valid";
}

/// When a client whom we could not serve may ask again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn payment_not_found(order: OrderId) -> Problem {
    Problem::of(&PAYMENT_NOT_FOUND, format_args!("There is no payment for order {order}."))
}

pub(crate) fn customer_not_found(customer: CustomerId) -> Problem {
    Problem::of(&CUSTOMER_NOT_FOUND, format_args!("Nothing is known of customer {customer}."))
}

pub(crate) fn invalid_customer(errors: Vec<FieldError>) -> Problem {
    Problem::of(&INVALID_CUSTOMER, "Name, address or what else is stated is not valid.").with_errors(errors)
}

pub(crate) fn orders_on_their_way(customer: CustomerId, orders: i64) -> Problem {
    let detail = format!("{orders} orders of customer {customer} are on their way and may yet be invoiced. Ask again.");
    Problem::of(&ORDERS_ON_THEIR_WAY, detail).with_retry_after(ASK_AGAIN)
}

pub(crate) fn invoice_not_found(number: Number) -> Problem {
    Problem::of(&INVOICE_NOT_FOUND, format_args!("There is no invoice {number}."))
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
    if is_away(&error) { Problem::unavailable(&error, ASK_AGAIN) } else { Problem::internal(&error) }
}

pub(crate) fn refund(error: &RefundError) -> Problem {
    let kind = match error {
        RefundError::NotCaptured => &NOT_CAPTURED,
        RefundError::TooMuch { .. } => &REFUND_TOO_LARGE,
        RefundError::NotInvoiced => &NOT_INVOICED,
        RefundError::NotPositive | RefundError::OtherCurrency(_) => &INVALID_REFUND,
        RefundError::KeyReused(_) => &IDEMPOTENCY_KEY_REUSED,
    };
    Problem::of(kind, error)
}

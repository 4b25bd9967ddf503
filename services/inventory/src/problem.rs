//! The problems of this API alone, and what becomes a problem. Those every API has are in [`web::problem::types`].

use std::time::Duration;

use contracts::{OrderId, Sku, Warehouse};
use web::{
    problem::{FieldError, Problem, types},
    problem_types,
};

use crate::{
    catalogue::WrongField, hold::NotShipped, receive::NoProduct, request::RequestError, ship::Dispatch,
    store::StoreError,
};

problem_types! {
    /// No product has this SKU.
    pub(crate) PRODUCT_NOT_FOUND = "product_not_found", NOT_FOUND, "There is no such product";

    /// No command about this order has come.
    pub(crate) ORDER_NOT_FOUND = "order_not_found", NOT_FOUND, "Nothing is known of this order";

    /// Pieces cannot come into this warehouse.
    pub(crate) UNKNOWN_WAREHOUSE = "unknown_warehouse", UNPROCESSABLE_ENTITY, "There is no such warehouse";

    /// The order is not confirmed, or never will be: nothing of it may leave.
    pub(crate) NOT_ALLOCATED = "not_allocated", CONFLICT, "Nothing is allocated to this order";

    /// The order was cancelled, and its pieces are back in stock.
    pub(crate) RELEASED = "released", CONFLICT, "The stock of this order was released";

    /// Everything has left.
    pub(crate) ALREADY_SHIPPED = "already_shipped", CONFLICT, "All of this order is shipped";

    /// What shall leave does not lie there for the order.
    pub(crate) NOT_IN_WAREHOUSE = "not_in_warehouse", CONFLICT, "This is not in the warehouse for the order";

    /// The key names another receipt, or another shipment.
    pub(crate) IDEMPOTENCY_KEY_REUSED =
        "idempotency_key_reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";
}

/// When a client whom we could not serve may ask again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn product_not_found(sku: &Sku) -> Problem {
    Problem::of(&PRODUCT_NOT_FOUND, format_args!("There is no product {sku}."))
}

pub(crate) fn order_not_found(order: OrderId) -> Problem {
    Problem::of(&ORDER_NOT_FOUND, format_args!("No command about order {order} has come."))
}

pub(crate) fn wrong_product(wrong: Vec<WrongField>) -> Problem {
    let errors = wrong.into_iter().map(|wrong| FieldError::new(wrong.pointer, wrong.detail)).collect();
    Problem::of(&types::INVALID_BODY, "No product can be like this.").with_errors(errors)
}

pub(crate) fn store(error: StoreError) -> Problem {
    of_store(&error)
}

pub(crate) fn unknown_warehouse(code: &Warehouse, known: &[Warehouse]) -> Problem {
    let known: Vec<&str> = known.iter().map(Warehouse::as_str).collect();
    Problem::of(&UNKNOWN_WAREHOUSE, format_args!("There is no warehouse {code}, but {}.", known.join(", ")))
}

pub(crate) fn receive(error: RequestError<NoProduct>) -> Problem {
    request(error, |NoProduct(sku)| product_not_found(&sku))
}

/// Why `dispatch` was not shipped.
pub(crate) fn ship(error: RequestError<NotShipped>, dispatch: &Dispatch) -> Problem {
    let Dispatch { order, warehouse, .. } = dispatch;
    request(error, |refusal| match refusal {
        NotShipped::UnknownOrder => order_not_found(*order),
        NotShipped::NotAllocated(state) => {
            Problem::of(&NOT_ALLOCATED, format_args!("The hold of order {order} is {state}, not allocated."))
        }
        NotShipped::Released => Problem::of(&RELEASED, format_args!("Order {order} gets nothing any more.")),
        NotShipped::Shipped => Problem::of(&ALREADY_SHIPPED, format_args!("All of order {order} has left.")),
        NotShipped::NotThere(None) => {
            Problem::of(&NOT_IN_WAREHOUSE, format_args!("Nothing lies in {warehouse} for order {order}."))
        }
        NotShipped::NotThere(Some(sku)) => {
            Problem::of(&NOT_IN_WAREHOUSE, format_args!("Less of {sku} lies in {warehouse} for order {order}."))
        }
    })
}

fn request<R: std::fmt::Debug>(error: RequestError<R>, refused: impl FnOnce(R) -> Problem) -> Problem {
    match error {
        RequestError::Refused(refusal) => refused(refusal),
        RequestError::KeyReused => {
            Problem::of(&IDEMPOTENCY_KEY_REUSED, "Take a new key, or send the request as it was the first time.")
        }
        RequestError::Store(error) => of_store(&error),
        RequestError::Stopped => Problem::unavailable(&error, ASK_AGAIN),
    }
}

fn of_store(error: &StoreError) -> Problem {
    if error.is_conflict() || error.is_away() {
        Problem::unavailable(error, ASK_AGAIN)
    } else {
        Problem::internal(error)
    }
}

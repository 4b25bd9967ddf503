//! Who customers are: stated by themselves, shown to themselves and to operators, and forgotten when they wish so.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use contracts::CustomerId;
use web::access::Principal;
use web::extract::{Json, Path};
use web::problem::Problem;

use super::Api;
use crate::customer::Customer;
use crate::problem;
use crate::store::customers::{self, Erased};

/// States who a customer is, or corrects it. Invoices that are issued stay as they are.
pub(super) async fn put(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<CustomerId>,
    Json(customer): Json<Customer>,
) -> Result<Response, Problem> {
    require(principal, id)?;
    let customer = customer.check().map_err(problem::invalid_customer)?;
    let new = customers::put(&api.pool, id, &customer, api.clock.now()).await.map_err(problem::store)?;
    Ok(if new {
        (StatusCode::CREATED, [(LOCATION, format!("/v1/customers/{id}"))], Json(customer)).into_response()
    } else {
        Json(customer).into_response()
    })
}

/// Shows who a customer is.
pub(super) async fn show(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<CustomerId>,
) -> Result<Json<Customer>, Problem> {
    require(principal, id)?;
    let customer = customers::find(&api.pool, id).await.map_err(problem::store)?;
    customer.map(Json).ok_or_else(|| problem::unknown_customer(id))
}

/// Forgets who a customer is. Their invoices stay, for the law wants them kept; their orders know an id that says nothing.
pub(super) async fn erase(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<CustomerId>,
) -> Result<StatusCode, Problem> {
    require(principal, id)?;
    // In a task of its own: a client that hangs up must not leave a lock.
    let erased = api.work.clone().spawn(async move { customers::erase(&api.pool, id).await });
    match erased.await.map_err(|error| Problem::internal(&error))?.map_err(problem::store)? {
        Erased::Now => {
            tracing::info!(customer.id = %id, "Name and address of a customer were erased.");
            Ok(StatusCode::NO_CONTENT)
        }
        Erased::Before => Ok(StatusCode::NO_CONTENT),
        Erased::NotYet { orders } => Err(problem::orders_on_their_way(id, orders)),
    }
}

/// Whether the caller is that customer, is nobody else's business.
fn require(principal: Principal, id: CustomerId) -> Result<(), Problem> {
    match principal {
        Principal::Operator => Ok(()),
        Principal::Customer(own) if own == id => Ok(()),
        Principal::Customer(_) => Err(problem::unknown_customer(id)),
    }
}

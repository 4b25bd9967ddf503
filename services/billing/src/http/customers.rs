//! Who customers are: stated by themselves, shown to themselves and to operators, and forgotten when they wish so.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::Response;
use contracts::CustomerId;
use service::tasks::to_its_end;
use web::access::Principal;
use web::condition::Condition;
use web::extract::{Json, Path};
use web::problem::Problem;

use super::Api;
use crate::customer::Customer;
use crate::problem;
use crate::store::customers::{self, Erased, Put};

/// States who a customer is, or corrects it; to correct it, `If-Match` must say which state. Invoices that are issued stay
/// as they are.
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}",
    params(("customer" = CustomerId, Path, description = "The customer."), Condition),
    request_body(content = Customer, example = json!({
        "name": "Ada Lovelace", "address": ["12 St James's Square", "London"], "country": "GB", "email": "ada@example.org"
    })),
    responses((status = 200, description = "It is like this now.", body = Customer,
               headers(("ETag" = String, description = "Its state."))),
              (status = 201, description = "It was not known before.", body = Customer,
               headers(("ETag" = String, description = "Its state."), ("Location" = String, description = "Its address."))))
)]
pub(super) async fn put(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<CustomerId>,
    condition: Condition,
    Json(customer): Json<Customer>,
) -> Result<Response, Problem> {
    require(principal, id)?;
    let customer = customer.check().map_err(problem::invalid_customer)?;
    // A client that hangs up must not leave a transaction open.
    let put = to_its_end(async move {
        let put = customers::put(&api.pool, id, &customer, &condition, api.clock.now()).await;
        (put, customer)
    });
    let (put, customer) = put.await;
    let tag = customer.tag();
    match put.map_err(problem::store)? {
        Put::New => {
            let location = [(LOCATION, format!("/v1/customers/{id}"))];
            Ok(tag.beside((StatusCode::CREATED, location, Json(customer))))
        }
        Put::Known => Ok(tag.beside(Json(customer))),
        Put::Unmet(unmet) => Err(unmet.into()),
    }
}

/// Shows who a customer is.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}",
    params(("customer" = CustomerId, Path, description = "The customer."), Condition),
    responses((status = 200, description = "Who it is.", body = Customer,
               headers(("ETag" = String, description = "Its state."))),
              (status = 304, description = "It is as the client has it."))
)]
pub(super) async fn show(
    State(api): State<Api>,
    principal: Principal,
    condition: Condition,
    Path(id): Path<CustomerId>,
) -> Result<Response, Problem> {
    require(principal, id)?;
    let customer = customers::find(&api.pool, id).await.map_err(problem::store)?;
    let customer = customer.ok_or_else(|| problem::customer_not_found(id))?;
    Ok(condition.show(&customer.tag(), Json(customer)))
}

/// Forgets who a customer is. Their invoices stay, for the law wants them kept; their orders know an id that says nothing,
/// and soon no reference that they gave them.
#[utoipa::path(
    delete,
    path = "/v1/customers/{customer}",
    params(("customer" = CustomerId, Path, description = "The customer.")),
    responses((status = 204, description = "Nothing is known of them any more."))
)]
pub(super) async fn erase(
    State(api): State<Api>,
    principal: Principal,
    Path(id): Path<CustomerId>,
) -> Result<StatusCode, Problem> {
    require(principal, id)?;
    // A client that hangs up must not leave a lock.
    let erased = to_its_end(async move { customers::erase(&api.pool, id, api.clock.now()).await }).await;
    match erased.map_err(problem::store)? {
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
        Principal::Customer(_) => Err(problem::customer_not_found(id)),
    }
}

//! The HTTP API: place an order, look at it as it is and was, cancel it.

mod events;
mod list;
mod step;
mod view;

pub(crate) use list::readable;

use std::{num::NonZeroU32, time::Duration};

use axum::{
    Router,
    extract::{FromRef, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use contracts::{Money, OrderId, Quantity, Sku, billing::PaymentToken, order::CancelReason};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::tasks::to_its_end;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use web::{
    access::{Principal, Verifier},
    condition::{Condition, Tag},
    extract::{IdempotencyKey, Json, Path, Prefer, Query},
    openapi,
    problem::{Problem, types},
    trace::Traceparent,
};

use crate::{
    App, cancel,
    history::Moment,
    http::view::OrderView,
    order::{Cart, CartLine, Order, Status, StatusName},
    parked,
    place::{PlaceError, Placed, Wish},
    problem, rebuild,
    reference::Reference,
    republish, store,
};

/// Every route of this service, and its description.
pub(crate) fn routes(app: App) -> Router {
    let (router, document) = openapi::split(api());
    router.with_state(app).merge(openapi::routes(document))
}

fn api() -> OpenApiRouter<App> {
    openapi::api("Orders", "Takes orders, and shows them as they are and were.", problem::ALL)
        .routes(routes!(place_order, list::orders))
        .routes(routes!(show_order))
        .routes(routes!(cancel_order))
        .routes(routes!(events::list))
        .routes(routes!(republish::order))
        .routes(routes!(rebuild::orders))
        .routes(routes!(parked::list))
        .routes(routes!(parked::resume))
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlaceOrder {
    /// Each SKU once.
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<Line>,
    payment_token: PaymentToken,
    /// What the customer calls the order. No two of theirs are called the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Reference>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WantedLine)]
struct Line {
    sku: Sku,
    quantity: Quantity,
    /// The price of a piece that the customer saw. At another nothing is ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_price: Option<Money>,
}

/// Places an order. A repetition with the same key gets the first answer, also while there is room for no other order. If
/// that cannot be looked up just then, it is refused for want of room as a new one is, and worth another try.
#[utoipa::path(
    post,
    path = "/v1/orders",
    params(IdempotencyKey, Prefer),
    request_body(content = PlaceOrder, example = json!({
        "lines": [{ "sku": "MUG-BLUE-01", "quantity": 2, "unit_price": { "amount": 1290, "currency": "EUR" } }],
        "payment_token": "tok_ok", "reference": "PO-17"
    })),
    responses((status = 202, description = "Placed. Whether it is confirmed shows later, or at once with `Prefer`.",
               body = Accepted, headers(("Location" = String, description = "The order's address."),
               ("Idempotency-Replayed" = String, description = "`true` if this is the answer of an earlier request."),
               ("Preference-Applied" = String, description = "How long was waited, if that was wished."))))
)]
async fn place_order(
    State(app): State<App>,
    principal: Principal,
    key: IdempotencyKey,
    prefer: Prefer,
    Json(request): Json<PlaceOrder>,
) -> Result<Response, Problem> {
    let placed = app.committer.place(wish(&principal, key, request)?).await?;
    let (Placed::Now(id) | Placed::Before(id)) = placed;
    let settled = match prefer.wait {
        Some(at_most) => settled(&app, placed, at_most).await,
        None => None,
    };
    let body = settled.map_or_else(|| Accepted::pending(id), |order| Accepted::from(&order));
    let mut response = (StatusCode::ACCEPTED, prefer.applied(), Json(body)).into_response();
    if let Placed::Before(_) = placed {
        response = IdempotencyKey::replayed(response);
    }
    response.headers_mut().insert(header::LOCATION, ascii(&format!("/v1/orders/{id}")));
    Ok(response)
}

/// The order once it has settled; `None` if it has not in that time. One that was placed before may have long since.
///
/// It is placed, whatever became of it: that it cannot be read is for the log, and told to whoever asks how it stands.
async fn settled(app: &App, placed: Placed, at_most: Duration) -> Option<Order> {
    if let Placed::Before(id) = placed
        && let Ok(order) = load(app, id).await
        && order.status != Status::Pending
    {
        return Some(order);
    }
    let (Placed::Now(id) | Placed::Before(id)) = placed;
    app.settled.wait(id, at_most).await.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "an order that is awaited is said to be pending");
        None
    })
}

/// Which state of an order is asked for: as it is now if neither is given.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Past {
    /// RFC 3339. One that is still to come shows what there is now.
    as_of: Option<Timestamp>,
    /// The number of the last event that counts.
    #[param(value_type = Option<u32>, minimum = 1)]
    version: Option<NonZeroU32>,
}

/// Shows an order as it is now or as it was, to its customer or to an operator.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}",
    params(("id" = OrderId, Path, description = "The order."), Past, Prefer, Condition),
    responses((status = 200, description = "The order.", body = OrderView,
               headers(("ETag" = String, description = "Its state."),
               ("Preference-Applied" = String, description = "How long was waited, if that was wished."))),
              (status = 304, description = "It is as the client has it."))
)]
async fn show_order(
    State(app): State<App>,
    principal: Principal,
    prefer: Prefer,
    condition: Condition,
    Query(past): Query<Past>,
    Path(id): Path<OrderId>,
) -> Result<Response, Problem> {
    let order = find(&app, &principal, id).await?;
    let moment = match past {
        Past { as_of: Some(_), version: Some(_) } => {
            return Err(Problem::of(&types::INVALID_QUERY, "as_of and version say two things; give one of them"));
        }
        Past { as_of: Some(time), version: None } => Some(Moment::AsOf(time)),
        Past { as_of: None, version: Some(version) } => Some(Moment::Version(version.get())),
        Past { as_of: None, version: None } => None,
    };
    if let Some(moment) = moment {
        // What has been does not change: there is nothing to wait for.
        return Ok(shown(&condition, view::at(&app, id, moment).await?));
    }
    let order = match prefer.wait {
        Some(at_most) if order.status == Status::Pending => {
            let settled = app.settled.wait(id, at_most).await.map_err(|error| Problem::internal(&error))?;
            settled.unwrap_or(order)
        }
        _ => order,
    };
    Ok((prefer.applied(), shown(&condition, view::now(&app, order).await?)).into_response())
}

/// The version alone does not tell how an order is seen: that somebody wants it cancelled is no event of it.
fn shown(condition: &Condition, view: OrderView) -> Response {
    condition.show(&Tag::of_content(&view), Json(view))
}

/// Has an order cancelled, if it still can be. It is when all is undone; to ask again is harmless.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/cancellation",
    params(("id" = OrderId, Path, description = "The order.")),
    responses((status = 202, description = "It is cancelled, or will be.", body = OrderView))
)]
async fn cancel_order(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<OrderId>,
) -> Result<(StatusCode, Json<OrderView>), Problem> {
    find(&app, &principal, id).await?;
    // A client that hangs up must not leave a transaction open.
    let shared = app.clone();
    to_its_end(async move { cancel::cancel(&shared, id).await }).await?;
    let order = find(&app, &principal, id).await?;
    Ok((StatusCode::ACCEPTED, Json(view::now(&app, order).await?)))
}

/// The order, if `principal` may see it; another customer's looks like none at all.
async fn find(app: &App, principal: &Principal, id: OrderId) -> Result<Order, Problem> {
    let order = load(app, id).await?;
    match principal {
        Principal::Operator => Ok(order),
        Principal::Customer(customer) if *customer == order.customer => Ok(order),
        Principal::Customer(_) => Err(not_found(id)),
    }
}

async fn load(app: &App, id: OrderId) -> Result<Order, Problem> {
    let mut conn = app.db.acquire().await.map_err(problem::store)?;
    let found = store::orders::all(&mut conn, &[id]).await.map_err(problem::store)?.pop();
    found.ok_or_else(|| not_found(id))
}

fn wish(principal: &Principal, key: IdempotencyKey, request: PlaceOrder) -> Result<Wish, Problem> {
    let Principal::Customer(customer) = *principal else {
        return Err(Problem::of(&problem::CUSTOMERS_ONLY, "an operator cannot place orders"));
    };
    let meaning = serde_json::to_vec(&request).expect("a request is a plain struct, which is always JSON");
    let line = |Line { sku, quantity, unit_price }| CartLine { sku, quantity, unit_price };
    let lines = request.lines.into_iter().map(line).collect();
    Ok(Wish {
        customer,
        key: key.as_str().to_owned(),
        fingerprint: Sha256::digest(meaning).into(),
        cart: Cart::new(lines).map_err(PlaceError::from)?,
        token: request.payment_token,
        reference: request.reference,
        cause: Traceparent::here(),
        refused: None,
    })
}

/// The answer to a placed order. Without `Prefer: wait` it is the same at every repetition.
#[derive(Debug, Serialize, ToSchema)]
struct Accepted {
    id: OrderId,
    version: u32,
    status: StatusName,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<CancelReason>,
}

impl Accepted {
    fn pending(id: OrderId) -> Self {
        Self { id, version: 1, status: StatusName::Pending, cancel_reason: None }
    }
}

impl From<&Order> for Accepted {
    fn from(order: &Order) -> Self {
        let Order { id, version, status, .. } = order;
        Self { id: *id, version: *version, status: status.name(), cancel_reason: status.cancel_reason().cloned() }
    }
}

pub(crate) fn not_found(id: OrderId) -> Problem {
    Problem::of(&problem::ORDER_NOT_FOUND, format!("there is no order {id}"))
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("an id or a number is ASCII")
}

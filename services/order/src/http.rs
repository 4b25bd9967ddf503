//! The HTTP API: place an order, look at it as it is and was, cancel it.

mod events;
mod view;

use std::num::NonZeroU32;

use axum::{
    Router,
    extract::{FromRef, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use contracts::{OrderId, Quantity, Sku, billing::PaymentToken, order::CancelReason};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::task::TaskTracker;
use web::{
    access::{Principal, Verifier},
    extract::{IdempotencyKey, Json, Path, Prefer, Query},
    problem::{Problem, types},
};

use crate::{
    App, cancel,
    history::Moment,
    http::view::OrderView,
    order::{Cart, Order, Status},
    parked,
    place::{PlaceError, Placed, Wish},
    problem, rebuild, republish, store,
};

/// Every route of this service.
pub(crate) fn routes(app: App) -> Router {
    Router::new()
        .route("/v1/orders", post(place_order))
        .route("/v1/orders/{id}", get(show_order))
        .route("/v1/orders/{id}/cancellation", post(cancel_order))
        .route("/v1/orders/{id}/events", get(events::list))
        .route("/v1/orders/{id}/republish", post(republish::order))
        .route("/v1/orders/rebuild", post(rebuild::orders))
        .route("/v1/sagas/parked", get(parked::list))
        .route("/v1/sagas/{id}/resume", post(parked::resume))
        .with_state(app)
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PlaceOrder {
    lines: Vec<Line>,
    payment_token: PaymentToken,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sku: Sku,
    quantity: Quantity,
}

/// Places an order. A repetition with the same key gets the first answer.
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
        Some(at_most) => app.settled.wait(id, at_most).await,
        None => None,
    };
    let body = settled.map_or_else(|| Accepted::pending(id), |order| Accepted::from(&order));
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, ascii(&format!("/v1/orders/{id}")));
    if let Placed::Before(_) = placed {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    if let Some(at_most) = prefer.wait {
        headers.insert("preference-applied", ascii(&format!("wait={}", at_most.as_secs())));
    }
    Ok(response)
}

/// Which state of an order is asked for: as it is now if neither is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    /// RFC 3339. One that is still to come shows what there is now.
    as_of: Option<Timestamp>,
    version: Option<NonZeroU32>,
}

/// Shows an order as it is now or as it was, to its customer or to an operator.
async fn show_order(
    State(app): State<App>,
    principal: Principal,
    prefer: Prefer,
    Query(past): Query<Past>,
    Path(id): Path<OrderId>,
) -> Result<Json<OrderView>, Problem> {
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
        return view::at(&app, id, moment).await.map(Json);
    }
    let order = match prefer.wait {
        Some(at_most) if order.status == Status::Pending => app.settled.wait(id, at_most).await.unwrap_or(order),
        _ => order,
    };
    view::now(&app, order).await.map(Json)
}

/// Has an order cancelled, if it still can be. It is when all is undone; to ask again is harmless.
async fn cancel_order(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<OrderId>,
) -> Result<(StatusCode, Json<OrderView>), Problem> {
    find(&app, &principal, id).await?;
    // In a task of its own: a client that hangs up must not leave a transaction open.
    let work = TaskTracker::new().spawn({
        let app = app.clone();
        async move { cancel::cancel(&app, id).await }
    });
    work.await.map_err(|error| Problem::internal(&error))??;
    let order = find(&app, &principal, id).await?;
    Ok((StatusCode::ACCEPTED, Json(view::now(&app, order).await?)))
}

/// The order, if `principal` may see it; another customer's looks like none at all.
async fn find(app: &App, principal: &Principal, id: OrderId) -> Result<Order, Problem> {
    let not_found = || not_found(id);
    let mut conn = app.db.acquire().await.map_err(|error| unavailable(&error))?;
    let order =
        store::orders::all(&mut conn, &[id]).await.map_err(|error| unavailable(&error))?.pop().ok_or_else(not_found)?;
    match principal {
        Principal::Operator => Ok(order),
        Principal::Customer(customer) if *customer == order.customer => Ok(order),
        Principal::Customer(_) => Err(not_found()),
    }
}

fn wish(principal: &Principal, key: IdempotencyKey, request: PlaceOrder) -> Result<Wish, Problem> {
    let Principal::Customer(customer) = *principal else {
        return Err(Problem::of(&problem::CUSTOMERS_ONLY, "an operator cannot place orders"));
    };
    let meaning = serde_json::to_vec(&request).expect("a request is a plain struct, which is always JSON");
    let lines = request.lines.into_iter().map(|line| (line.sku, line.quantity)).collect();
    Ok(Wish {
        customer,
        key: key.as_str().to_owned(),
        fingerprint: Sha256::digest(meaning).into(),
        cart: Cart::new(lines).map_err(PlaceError::from)?,
        token: request.payment_token,
    })
}

/// The answer to a placed order. Without `Prefer: wait` it is the same at every repetition.
#[derive(Debug, Serialize)]
struct Accepted {
    id: OrderId,
    version: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<CancelReason>,
}

impl Accepted {
    fn pending(id: OrderId) -> Self {
        Self { id, version: 1, status: Status::Pending.as_str(), cancel_reason: None }
    }
}

impl From<&Order> for Accepted {
    fn from(order: &Order) -> Self {
        let Order { id, version, status, .. } = order;
        Self { id: *id, version: *version, status: status.as_str(), cancel_reason: status.cancel_reason().cloned() }
    }
}

pub(crate) fn not_found(id: OrderId) -> Problem {
    Problem::of(&problem::ORDER_NOT_FOUND, format!("there is no order {id}"))
}

pub(crate) fn unavailable(error: &sqlx::Error) -> Problem {
    Problem::unavailable(error, problem::RETRY_AFTER)
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("an id or a number is ASCII")
}

//! Returning some of what was captured. The request is answered once it is stored; the provider is asked by the worker.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use contracts::vat::Taxed;
use contracts::{Money, OrderId};
use serde::{Deserialize, Serialize};
use service::crash_point;
use service::tasks::to_its_end;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use web::access::Operator;
use web::extract::{IdempotencyKey, Json, Path, Query};
use web::openapi;
use web::page::{List, Page};
use web::problem::Problem;

use super::Api;
use crate::changes::Changes;
use crate::problem;
use crate::refund::{Refund, RefundState, Requested};
use crate::store::{invoices, payments, refunds};

/// How much to return.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WantedRefund)]
pub(super) struct Request {
    #[schema(schema_with = wanted)]
    amount: Money,
}

fn wanted() -> RefOr<Schema> {
    openapi::money(1, i64::MAX, "At most what is left of the payment, in its currency.")
}

/// A refund as it was asked for: the same whenever the request is repeated.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedRefund)]
struct Accepted {
    order: OrderId,
    number: u32,
    amount: Money,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refund)]
pub(super) struct View {
    number: u32,
    amount: Money,
    taxes: Vec<Taxed>,
    #[schema(inline)]
    state: StateView,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StateView {
    Open,
    Refunded,
    Refused,
}

/// Takes in a refund.
#[utoipa::path(
    post,
    path = "/v1/payments/{order}/refunds",
    params(("order" = OrderId, Path, description = "The order that was paid for."), IdempotencyKey),
    request_body(content = Request, example = json!({ "amount": { "amount": 100, "currency": "EUR" } })),
    responses((status = 202, description = "It is asked for.", body = Accepted,
               headers(("Location" = String, description = "Where to see what became of it."),
               ("Idempotency-Replayed" = String, description = "`true` if this is the answer of an earlier request."))))
)]
pub(super) async fn request(
    State(api): State<Api>,
    _: Operator,
    Path(order): Path<OrderId>,
    key: IdempotencyKey,
    Json(request): Json<Request>,
) -> Result<Response, Problem> {
    // A client that hangs up must not leave a transaction open.
    let requested = to_its_end(async move { take_in(&api, order, key.as_str(), request.amount).await }).await?;
    let accepted = |Refund { number, amount, .. }: Refund| {
        let location = format!("/v1/payments/{order}/refunds");
        (StatusCode::ACCEPTED, [(LOCATION, location)], Json(Accepted { order, number, amount }))
    };
    Ok(match requested {
        Requested::New(refund) => accepted(refund).into_response(),
        Requested::Known(refund) => IdempotencyKey::replayed(accepted(refund)),
    })
}

async fn take_in(api: &Api, order: OrderId, key: &str, amount: Money) -> Result<Requested, Problem> {
    let mut tx = api.pool.begin().await.map_err(problem::store)?;
    let locked = payments::lock(&mut tx, [order]).await.map_err(problem::store)?;
    let payment = locked.get(&order).filter(|payment| !payment.commands.is_empty());
    let payment = payment.ok_or_else(|| problem::payment_not_found(order))?;
    let invoiced = invoices::is_issued(&mut *tx, order).await.map_err(problem::store)?;
    let refund = match Refund::request(payment, invoiced, key, amount).map_err(|error| problem::refund(&error))? {
        known @ Requested::Known(_) => return Ok(known),
        Requested::New(refund) => refund,
    };
    let mut changes = Changes::default();
    changes.requested(&refund);
    let opened = changes.write(&mut tx, &locked, api.desk.lease(), api.clock.now()).await.map_err(problem::store)?;
    crash_point("billing.refund.writing");
    tx.commit().await.map_err(problem::store)?;
    crash_point("billing.refund.written");
    api.desk.hand_over(opened);
    Ok(Requested::New(refund))
}

/// The refunds of a payment, and what became of each.
#[utoipa::path(
    get,
    path = "/v1/payments/{order}/refunds",
    params(("order" = OrderId, Path, description = "The order that is paid for."), Page<u32>),
    responses((status = 200, description = "A page of the list, the first request first.", body = List<View>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    _: Operator,
    Query(part): Query<Page<u32>>,
    Path(order): Path<OrderId>,
) -> Result<Json<List<View>>, Problem> {
    payments::find(&api.pool, order).await.map_err(problem::store)?.ok_or_else(|| problem::payment_not_found(order))?;
    let refunds = refunds::of_orders(&api.pool, &[order]).await.map_err(problem::store)?;
    Ok(Json(List::within(refunds, part, |refund| refund.number, View::from)))
}

impl From<Refund> for View {
    fn from(refund: Refund) -> Self {
        let Refund { number, amount, taxes, state, .. } = refund;
        let (state, decline_code) = match state {
            RefundState::Open => (StateView::Open, None),
            RefundState::Refunded => (StateView::Refunded, None),
            RefundState::Refused { decline_code } => (StateView::Refused, Some(decline_code)),
        };
        Self { number, amount, taxes, state, decline_code }
    }
}

//! Invoices and credit notes: as the JSON that is stored, byte for byte, or as the page that people print.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use contracts::OrderId;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use web::access::Principal;
use web::condition::{Condition, Tag};
use web::extract::{Json, Path, Query};
use web::openapi;
use web::page::{Cursor, List, Page};
use web::problem::Problem;

use super::Api;
use crate::invoice::{Invoice, Number, Series};
use crate::store::invoices::{self, StoredInvoice};
use crate::store::payments;
use crate::{page, problem};

/// One invoice or credit note.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InvoiceSummary)]
pub(super) struct View {
    number: Number,
    #[schema(schema_with = kinds)]
    kind: &'static str,
    order: OrderId,
    issued_at: Timestamp,
    /// Of a credit note: what it corrects.
    #[serde(skip_serializing_if = "Option::is_none")]
    corrects: Option<Number>,
    /// What is paid, VAT included.
    total: contracts::Money,
    /// SHA-256 of the invoice's bytes, in hexadecimal digits.
    sha256: String,
}

fn kinds() -> RefOr<Schema> {
    openapi::words([Series::Invoice, Series::CreditNote].map(Series::name))
}

/// An invoice or a credit note; as a page to who prefers that.
#[utoipa::path(
    get,
    path = "/v1/invoices/{number}",
    params(("number" = Number, Path, description = "Its number."), Condition),
    responses((status = 200, description = "The invoice: as JSON, byte for byte as it is stored, or as a page.",
               content((Invoice = "application/json"), (String = "text/html")),
               headers(("ETag" = String, description = "SHA-256 of its bytes."))),
              (status = 304, description = "It is as the client has it."))
)]
pub(super) async fn show(
    State(api): State<Api>,
    principal: Principal,
    condition: Condition,
    Path(number): Path<Number>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let stored = invoices::find(&api.pool, number).await.map_err(problem::store)?;
    let stored =
        stored.filter(|stored| may_see(principal, stored)).ok_or_else(|| problem::invoice_not_found(number))?;
    let wants_page = wants_page(&headers);
    // The tag of the JSON is the hash of its bytes; the page is another form, so it has another tag.
    let tag = Tag::of_digest(&stored.hash, if wants_page { "-page" } else { "" });
    let shown = if wants_page {
        let page = page::render(&read(&stored)?);
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        ];
        (headers, page).into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], stored.facts).into_response()
    };
    Ok(([(VARY, "accept")], condition.show(&tag, shown)).into_response())
}

/// The invoice of an order, then its credit notes as they were issued. Empty as long as none is.
#[utoipa::path(
    get,
    path = "/v1/orders/{order}/invoices",
    params(("order" = OrderId, Path, description = "The order."), Page<Number>),
    responses((status = 200, description = "A page of the list.", body = List<View>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    principal: Principal,
    Query(part): Query<Page<Number>>,
    Path(order): Path<OrderId>,
) -> Result<Json<List<View>>, Problem> {
    let payment = payments::find(&api.pool, order).await.map_err(problem::store)?;
    let visible = payment.filter(|stored| match principal {
        Principal::Operator => true,
        Principal::Customer(customer) => stored.payment.is_of(customer),
    });
    visible.ok_or_else(|| problem::payment_not_found(order))?;
    let stored = invoices::list(&api.pool, order).await.map_err(problem::store)?;
    let views: Result<Vec<View>, Problem> = stored.iter().map(View::of).collect();
    Ok(Json(List::within(views?, part, |view| view.number, |view| view)))
}

/// A customer's own invoices and credit notes, or, for an operator, everybody's.
#[utoipa::path(
    get,
    path = "/v1/invoices",
    params(Page<Number>),
    responses((status = 200, description = "A page of the list: invoices and then credit notes, of each the latest first.",
               body = List<View>))
)]
pub(super) async fn page(
    State(api): State<Api>,
    principal: Principal,
    Query(Page { limit, cursor }): Query<Page<Number>>,
) -> Result<Json<List<View>>, Problem> {
    let customer = match principal {
        Principal::Customer(customer) => Some(customer),
        Principal::Operator => None,
    };
    let before = cursor.map(|Cursor(number)| number);
    let mut conn = api.pool.acquire().await.map_err(problem::store)?;
    let found = invoices::page(&mut conn, customer, before, limit.and_one()).await.map_err(problem::store)?;
    let views: Result<Vec<View>, Problem> = found.iter().map(View::of).collect();
    Ok(Json(List::of(views?, limit, |view| view.number, |view| view)))
}

/// To whom an invoice belongs is nobody else's business.
fn may_see(principal: Principal, stored: &StoredInvoice) -> bool {
    match principal {
        Principal::Operator => true,
        Principal::Customer(customer) => stored.customer == Some(customer),
    }
}

/// Whether the first of the two types that is accepted is that of a page.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).map(|one| one.split(';').next().unwrap_or(one).trim());
    types.find(|one| matches!(*one, "text/html" | "application/json" | "application/*" | "*/*")) == Some("text/html")
}

fn read(stored: &StoredInvoice) -> Result<Invoice, Problem> {
    serde_json::from_str(&stored.facts).map_err(|error| Problem::internal(&error))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl View {
    fn of(stored: &StoredInvoice) -> Result<Self, Problem> {
        let Invoice { number, order, issued_at, corrects, currency, total, .. } = read(stored)?;
        let (kind, sha256) = (stored.number.series.name(), hexadecimal(&stored.hash));
        let total = contracts::Money::new(total.gross, currency);
        Ok(Self { number, kind, order, issued_at, corrects, total, sha256 })
    }
}

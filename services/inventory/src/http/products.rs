//! `/v1/products`.

use axum::{
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use contracts::{Money, Sku};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use web::{
    access::Operator,
    extract::{Json, Path, Query},
    problem::Problem,
};

use crate::{
    App,
    catalogue::{Details, Offer, Product},
    offer, problem, store,
};

/// The whole state of a product, as an operator wants it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutProduct {
    name: String,
    description: String,
    category: String,
    price: Money,
    /// Unit: hundredths of a percent.
    vat_rate: u32,
}

#[derive(Serialize)]
pub(super) struct ProductView {
    sku: Sku,
    version: u32,
    name: String,
    description: String,
    category: String,
    price: Money,
    vat_rate: u32,
    at: Timestamp,
}

/// Which part of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    limit: Limit,
    /// The `next_cursor` of the page before.
    cursor: Option<Sku>,
}

/// Products on one page: 1 to 200.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
struct Limit(u32);

/// A part of the list, and how to ask for the next.
#[derive(Serialize)]
pub(super) struct ProductList {
    data: Vec<ProductView>,
    has_more: bool,
    next_cursor: Option<Sku>,
}

/// Creates the product, or changes it. Its version grows only if something changed.
pub(super) async fn put(
    State(app): State<App>,
    Operator: Operator,
    Path(sku): Path<Sku>,
    Json(request): Json<PutProduct>,
) -> Result<Response, Problem> {
    let details = Details::from(request).check().map_err(problem::wrong_product)?;
    Ok(match offer::offer(&app, &sku, &details).await.map_err(problem::store)? {
        Offer::New(product) => {
            let location = [(LOCATION, format!("/v1/products/{sku}"))];
            (StatusCode::CREATED, location, Json(ProductView::from(product))).into_response()
        }
        Offer::Changed(product) | Offer::Same(product) => Json(ProductView::from(product)).into_response(),
    })
}

/// One product.
pub(super) async fn show(State(app): State<App>, Path(sku): Path<Sku>) -> Result<Json<ProductView>, Problem> {
    let product = store::product::find(&app.db, &sku).await.map_err(problem::store)?;
    product.map(|product| Json(product.into())).ok_or_else(|| problem::unknown_sku(&sku))
}

/// Products, ordered by SKU.
pub(super) async fn list(State(app): State<App>, Query(page): Query<Page>) -> Result<Json<ProductList>, Problem> {
    let Page { limit: Limit(limit), cursor } = page;
    // One more than asked for tells whether there are more.
    let mut products = store::product::page(&app.db, cursor.as_ref(), limit + 1).await.map_err(problem::store)?;
    let has_more = products.len() > limit as usize;
    products.truncate(limit as usize);
    let next_cursor = products.last().filter(|_| has_more).map(|last| last.sku.clone());
    let data = products.into_iter().map(ProductView::from).collect();
    Ok(Json(ProductList { data, has_more, next_cursor }))
}

impl Limit {
    const MAX: u32 = 200;
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, String> {
        if (1..=Self::MAX).contains(&limit) { Ok(Self(limit)) } else { Err(format!("limit is 1 to {}", Self::MAX)) }
    }
}

impl From<PutProduct> for Details {
    fn from(request: PutProduct) -> Self {
        let PutProduct { name, description, category, price, vat_rate } = request;
        Self { name, description, category, price, vat_rate }
    }
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        let Product { sku, version, details, at } = product;
        let Details { name, description, category, price, vat_rate } = details;
        Self { sku, version, name, description, category, price, vat_rate, at }
    }
}

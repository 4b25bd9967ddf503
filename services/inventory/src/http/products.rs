//! `/v1/products`.

use axum::{
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::Response,
};
use contracts::{Money, Sku};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};
use web::{
    access::Operator,
    condition::Condition,
    extract::{Json, Path, Query},
    openapi,
    page::{Cursor, List, Page},
    problem::Problem,
};

use crate::{
    App,
    catalogue::{Details, Offer, Product},
    offer, problem, store,
};

/// The whole state of a product, as an operator wants it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductDetails)]
pub(super) struct PutProduct {
    /// Not blank, and like the other texts without a character that nobody sees.
    #[schema(min_length = 1, max_length = 200, example = "Enamel mug, blue")]
    name: String,
    #[schema(max_length = 2_000, example = "Half a litre, survives the fall.")]
    description: String,
    /// The shelf it stands on.
    #[schema(min_length = 1, max_length = 60, example = "Kitchen")]
    category: String,
    #[schema(schema_with = price)]
    price: Money,
    /// Unit: hundredths of a percent.
    #[schema(maximum = 10_000, example = 1900)]
    vat_rate: u32,
}

fn price() -> RefOr<Schema> {
    openapi::money(1, Details::PRICE_MAX, "Of one piece, VAT included.")
}

#[derive(Serialize, ToSchema)]
#[schema(as = Product)]
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

/// Creates the product, or changes it. Its version grows only if something changed. To change one, `If-Match` must say
/// which state of it.
#[utoipa::path(
    put,
    path = "/v1/products/{sku}",
    params(("sku" = Sku, Path, description = "The product."), Condition),
    request_body(content = PutProduct, example = json!({
        "name": "Enamel mug, blue", "description": "Half a litre, survives the fall.", "category": "Kitchen",
        "price": { "amount": 1290, "currency": "EUR" }, "vat_rate": 1900
    })),
    responses((status = 200, description = "It is like this now.", body = ProductView,
               headers(("ETag" = String, description = "Its state."))),
              (status = 201, description = "It is created.", body = ProductView,
               headers(("ETag" = String, description = "Its state."), ("Location" = String, description = "Its address."))))
)]
pub(super) async fn put(
    State(app): State<App>,
    Operator: Operator,
    Path(sku): Path<Sku>,
    condition: Condition,
    Json(request): Json<PutProduct>,
) -> Result<Response, Problem> {
    let details = Details::from(request).check().map_err(problem::wrong_product)?;
    let (product, is_new) = match offer::offer(&app, &sku, &details, &condition).await.map_err(problem::store)? {
        Offer::New(product) => (product, true),
        Offer::Changed(product) | Offer::Same(product) => (product, false),
        Offer::Unmet(unmet) => return Err(unmet.into()),
    };
    let (tag, view) = (product.tag(), Json(ProductView::from(product)));
    let location = [(LOCATION, format!("/v1/products/{sku}"))];
    Ok(if is_new { tag.beside((StatusCode::CREATED, location, view)) } else { tag.beside(view) })
}

/// One product.
#[utoipa::path(
    get,
    path = "/v1/products/{sku}",
    params(("sku" = Sku, Path, description = "The product."), Condition),
    responses((status = 200, description = "The product.", body = ProductView,
               headers(("ETag" = String, description = "Its state."))),
              (status = 304, description = "It is as the client has it.")),
    security(())
)]
pub(super) async fn show(
    State(app): State<App>,
    condition: Condition,
    Path(sku): Path<Sku>,
) -> Result<Response, Problem> {
    let product = store::product::find(&app.db, &sku).await.map_err(problem::store)?;
    let product = product.ok_or_else(|| problem::product_not_found(&sku))?;
    Ok(condition.show(&product.tag(), Json(ProductView::from(product))))
}

/// Products, ordered by SKU.
#[utoipa::path(
    get,
    path = "/v1/products",
    params(Page<Sku>),
    responses((status = 200, description = "A page of the list.", body = List<ProductView>)),
    security(())
)]
pub(super) async fn list(
    State(app): State<App>,
    Query(Page { limit, cursor }): Query<Page<Sku>>,
) -> Result<Json<List<ProductView>>, Problem> {
    let after = cursor.map(|Cursor(sku)| sku);
    let found = store::product::page(&app.db, after.as_ref(), limit.and_one()).await.map_err(problem::store)?;
    Ok(Json(List::of(found, limit, |product| product.sku.clone(), ProductView::from)))
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

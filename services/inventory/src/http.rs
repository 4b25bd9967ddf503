//! The HTTP API.

mod holds;
mod products;
mod republish;
mod shipments;
mod stock;

use axum::{
    Router,
    routing::{get, post},
};

use crate::App;

/// Every route, by who may use it: products everybody, stock any principal, the rest operators.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/v1/products", get(products::list))
        .route("/v1/products/{sku}", get(products::show).put(products::put))
        .route("/v1/stock/{sku}", get(stock::show))
        .route("/v1/stock/{sku}/receipts", post(stock::receive))
        .route("/v1/shipments", post(shipments::ship))
        .route("/v1/holds/{order}", get(holds::show))
        .route("/v1/holds/{order}/republish", post(republish::hold))
        .route("/v1/products/{sku}/republish", post(republish::product))
        .with_state(app)
}

//! The HTTP API.

mod holds;
mod products;
mod republish;
mod shipments;
mod stock;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};
use web::openapi;

use crate::{App, problem};

/// Every route, and its description.
pub fn router(app: App) -> Router {
    let (router, document) = openapi::split(api());
    router.with_state(app).merge(openapi::routes(document))
}

/// By who may use it: products everybody, stock any principal, the rest operators.
fn api() -> OpenApiRouter<App> {
    openapi::api("Inventory", "Products and their prices, stock in warehouses, and what leaves them.", problem::ALL)
        .routes(routes!(products::list))
        .routes(routes!(products::show, products::put))
        .routes(routes!(stock::show))
        .routes(routes!(stock::receive))
        .routes(routes!(shipments::ship))
        .routes(routes!(holds::show))
        .routes(routes!(republish::hold))
        .routes(routes!(republish::product))
}

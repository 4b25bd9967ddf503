//! `/v1/stock`.

use axum::{extract::State, http::StatusCode, response::Response};
use contracts::{Sku, Warehouse};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use web::{
    access::{Operator, Principal},
    extract::{IdempotencyKey, Json, Path, Query},
    problem::Problem,
};

use crate::{
    App, problem,
    receive::{Delivery, Pieces, Receipt},
    request::RequestId,
    stock::{self, Level, Levels},
    store,
};

/// As of when.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AsOf {
    /// Now if it does not say.
    as_of: Option<Timestamp>,
}

/// How much there is of one SKU, all warehouses together, and in each that it was ever in.
#[derive(Serialize, ToSchema)]
#[schema(as = Stock)]
pub(super) struct StockView {
    sku: Sku,
    #[serde(flatten)]
    total: LevelView,
    warehouses: Vec<WarehouseView>,
    /// Since when it is like this: asked as of then, the answer is this one for ever. Missing as long as it never was in
    /// a warehouse.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Level)]
struct LevelView {
    on_hand: i64,
    held: i64,
    available: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WarehouseStock)]
struct WarehouseView {
    warehouse: Warehouse,
    #[serde(flatten)]
    level: LevelView,
}

/// Pieces that came in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceivePieces {
    warehouse: Warehouse,
    pieces: Pieces,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(super) struct ReceiptView {
    sku: Sku,
    warehouse: Warehouse,
    pieces: Pieces,
    at: Timestamp,
}

/// How much there is of one SKU, or was at some time. Before anything came in there was nothing.
#[utoipa::path(
    get,
    path = "/v1/stock/{sku}",
    params(("sku" = Sku, Path, description = "The product."), AsOf),
    responses((status = 200, description = "How much there is.", body = StockView))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Principal,
    Path(sku): Path<Sku>,
    Query(AsOf { as_of }): Query<AsOf>,
) -> Result<Json<StockView>, Problem> {
    let now = store::stock::levels(&app.db, &sku).await.map_err(problem::store)?;
    let now = now.ok_or_else(|| problem::product_not_found(&sku))?;
    let levels = match as_of {
        Some(as_of) if as_of < now.at => {
            store::movement::levels_at(&app.db, &sku, as_of).await.map_err(problem::store)?
        }
        Some(_) | None => Some(now),
    };
    Ok(Json(StockView::of(sku, levels)))
}

/// Books pieces that came in. Repeating a request with the same key returns the first answer.
#[utoipa::path(
    post,
    path = "/v1/stock/{sku}/receipts",
    params(("sku" = Sku, Path, description = "The product."), IdempotencyKey),
    request_body(content = ReceivePieces, example = json!({ "warehouse": "HAMBURG", "pieces": 100 })),
    responses((status = 201, description = "They are in stock.", body = ReceiptView,
               headers(("Idempotency-Replayed" = String,
                        description = "`true` if this is the answer of an earlier request."))))
)]
pub(super) async fn receive(
    State(app): State<App>,
    Operator: Operator,
    Path(sku): Path<Sku>,
    key: IdempotencyKey,
    Json(request): Json<ReceivePieces>,
) -> Result<Response, Problem> {
    let ReceivePieces { warehouse, pieces } = request;
    if !app.warehouses.contains(&warehouse) {
        return Err(problem::unknown_warehouse(&warehouse, &app.warehouses));
    }
    let delivery = Delivery { id: RequestId::of_operator(key.as_str()), sku, warehouse, pieces };
    let received = app.writer.receive(delivery).await.map_err(problem::receive)?;
    Ok(received.answer(|receipt| (StatusCode::CREATED, Json(ReceiptView::from(receipt)))))
}

impl StockView {
    fn of(sku: Sku, levels: Option<Levels>) -> Self {
        let at = levels.as_ref().filter(|levels| !levels.warehouses.is_empty()).map(|levels| levels.at);
        let warehouses = levels.map(|levels| levels.warehouses).unwrap_or_default();
        let total = stock::total(&warehouses).into();
        let warehouse = |(warehouse, level): (Warehouse, Level)| WarehouseView { warehouse, level: level.into() };
        Self { sku, total, warehouses: warehouses.into_iter().map(warehouse).collect(), at }
    }
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        let Receipt { id: _, sku, warehouse, pieces, at } = receipt;
        Self { sku, warehouse, pieces, at }
    }
}

impl From<Level> for LevelView {
    fn from(level: Level) -> Self {
        Self { on_hand: level.on_hand, held: level.held, available: level.available() }
    }
}

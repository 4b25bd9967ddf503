//! `/v1/stock`.

use axum::{extract::State, http::StatusCode};
use contracts::Sku;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use web::{
    access::{Operator, Principal},
    extract::{IdempotencyKey, Json, Path},
    problem::Problem,
};

use crate::{
    App, problem,
    receive::{Delivery, Pieces, ReceiptId},
    store,
};

#[derive(Serialize)]
pub(super) struct StockView {
    sku: Sku,
    on_hand: i64,
    held: i64,
    available: i64,
}

/// Pieces that came in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceivePieces {
    pieces: Pieces,
}

#[derive(Serialize)]
pub(super) struct ReceiptView {
    sku: Sku,
    pieces: Pieces,
    at: Timestamp,
}

/// How much there is of one SKU.
pub(super) async fn show(
    State(app): State<App>,
    _: Principal,
    Path(sku): Path<Sku>,
) -> Result<Json<StockView>, Problem> {
    let level = store::stock::level(&app.db, &sku).await.map_err(problem::store)?;
    let level = level.ok_or_else(|| problem::unknown_sku(&sku))?;
    Ok(Json(StockView { sku, on_hand: level.on_hand, held: level.held, available: level.available() }))
}

/// Books pieces that came in. Repeating a request with the same key returns the first answer.
pub(super) async fn receive(
    State(app): State<App>,
    Operator: Operator,
    Path(sku): Path<Sku>,
    key: IdempotencyKey,
    Json(request): Json<ReceivePieces>,
) -> Result<(StatusCode, Json<ReceiptView>), Problem> {
    let delivery = Delivery { id: ReceiptId::of_operator(key.as_str()), sku, pieces: request.pieces };
    let receipt = app.writer.receive(delivery).await.map_err(problem::receive)?;
    let view = ReceiptView { sku: receipt.sku, pieces: receipt.pieces, at: receipt.at };
    Ok((StatusCode::CREATED, Json(view)))
}

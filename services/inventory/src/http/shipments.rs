//! `/v1/shipments`.

use std::collections::BTreeSet;

use axum::{extract::State, http::StatusCode, response::Response};
use contracts::{OrderId, ShipmentId, Warehouse, inventory::StockLine};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use web::{
    access::Operator,
    extract::{IdempotencyKey, Json},
    problem::Problem,
};

use crate::{
    App, problem,
    request::RequestId,
    ship::{Dispatch, Shipment},
};

/// Pieces that leave a warehouse.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShipPieces {
    order: OrderId,
    warehouse: Warehouse,
    /// All that lies there for the order if it does not say.
    #[schema(value_type = Option<Vec<StockLine>>, min_items = 1, max_items = 100)]
    lines: Option<Lines>,
}

/// 1 to 100 lines, each SKU once.
#[derive(Deserialize)]
#[serde(try_from = "Vec<StockLine>")]
struct Lines(Vec<StockLine>);

#[derive(Serialize, ToSchema)]
#[schema(as = Shipment)]
pub(super) struct ShipmentView {
    shipment: ShipmentId,
    order: OrderId,
    warehouse: Warehouse,
    lines: Vec<StockLine>,
    complete: bool,
    at: Timestamp,
}

/// Ships what is allocated, whole or in part. Repeating a request with the same key returns the first answer.
#[utoipa::path(
    post,
    path = "/v1/shipments",
    params(IdempotencyKey),
    request_body(content = ShipPieces, example = json!({
        "order": "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01", "warehouse": "HAMBURG",
        "lines": [{ "sku": "MUG-BLUE-01", "quantity": 2 }]
    })),
    responses((status = 201, description = "They have left.", body = ShipmentView,
               headers(("Idempotency-Replayed" = String,
                        description = "`true` if this is the answer of an earlier request."))))
)]
pub(super) async fn ship(
    State(app): State<App>,
    Operator: Operator,
    key: IdempotencyKey,
    Json(request): Json<ShipPieces>,
) -> Result<Response, Problem> {
    let ShipPieces { order, warehouse, lines } = request;
    let lines = lines.map(|Lines(lines)| lines);
    let dispatch = Dispatch { id: RequestId::of_operator(key.as_str()), order, warehouse, lines };
    let shipped = app.writer.ship(dispatch.clone()).await;
    let shipped = shipped.map_err(|error| problem::ship(error, &dispatch))?;
    Ok(shipped.answer(|shipment| (StatusCode::CREATED, Json(ShipmentView::from(shipment)))))
}

impl Lines {
    const MAX: usize = 100;
}

impl TryFrom<Vec<StockLine>> for Lines {
    type Error = String;

    fn try_from(lines: Vec<StockLine>) -> Result<Self, String> {
        let skus: BTreeSet<_> = lines.iter().map(|line| &line.sku).collect();
        let fits = (1..=Self::MAX).contains(&lines.len()) && skus.len() == lines.len();
        if fits { Ok(Self(lines)) } else { Err(format!("must be 1 to {} lines, each SKU once", Self::MAX)) }
    }
}

impl From<Shipment> for ShipmentView {
    fn from(shipment: Shipment) -> Self {
        let Shipment { id, asked: Dispatch { order, warehouse, .. }, lines, complete, at } = shipment;
        Self { shipment: id, order, warehouse, lines, complete, at }
    }
}

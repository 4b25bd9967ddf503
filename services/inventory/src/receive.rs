//! Pieces come into a warehouse: a use case of the stock writer.

use std::collections::{BTreeSet, HashMap};

use contracts::{Sku, Warehouse};
use jiff::Timestamp;
use messaging::mongo::Transaction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use web::trace::Traceparent;

use crate::{
    request::{Done, Outcome, Request, RequestError, RequestId},
    stock::Stock,
    store::{self, StoreError},
};

/// Pieces that shall come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: RequestId,
    pub(crate) sku: Sku,
    pub(crate) warehouse: Warehouse,
    pub(crate) pieces: Pieces,
}

/// Pieces that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) id: RequestId,
    pub(crate) sku: Sku,
    pub(crate) warehouse: Warehouse,
    pub(crate) pieces: Pieces,
    pub(crate) at: Timestamp,
}

/// How many pieces come in at once: 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schema(value_type = u32, minimum = 1, maximum = 1_000_000)]
pub(crate) struct Pieces(u32);

/// The number is too small or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {}", Pieces::MAX)]
pub(crate) struct NotPieces;

impl Pieces {
    const MAX: u32 = 1_000_000;

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Pieces {
    type Error = NotPieces;

    fn try_from(pieces: u32) -> Result<Self, NotPieces> {
        if (1..=Self::MAX).contains(&pieces) { Ok(Self(pieces)) } else { Err(NotPieces) }
    }
}

impl From<Pieces> for u32 {
    fn from(pieces: Pieces) -> Self {
        pieces.0
    }
}

/// There is no product with this SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoProduct(pub(crate) Sku);

impl Request for Delivery {
    type Booked = Receipt;
    type Refusal = NoProduct;

    async fn book(
        tx: &mut Transaction,
        deliveries: &[Self],
        _: &[Traceparent],
        now: Timestamp,
    ) -> Result<Vec<Outcome<Self>>, StoreError> {
        let ids: Vec<&RequestId> = deliveries.iter().map(|delivery| &delivery.id).collect();
        let mut booked = store::receipt::load(tx, &ids).await?;
        let skus: BTreeSet<Sku> = deliveries.iter().map(|delivery| delivery.sku.clone()).collect();
        let mut stock = store::stock::load(tx, &skus).await?;
        let (outcomes, new) = receive(deliveries, &mut booked, &mut stock, now);
        store::stock::write(tx, &stock, now).await?;
        store::receipt::insert(tx, &new).await?;
        Ok(outcomes)
    }
}

/// The outcome of each delivery, and the receipts that are new. Pure.
fn receive(
    deliveries: &[Delivery],
    booked: &mut HashMap<RequestId, Receipt>,
    stock: &mut Stock,
    now: Timestamp,
) -> (Vec<Outcome<Delivery>>, Vec<Receipt>) {
    let mut new = Vec::new();
    let mut outcome = |delivery: &Delivery| {
        let Delivery { id, sku, warehouse, pieces } = delivery.clone();
        if let Some(before) = booked.get(&id) {
            let same = (&before.sku, &before.warehouse, before.pieces) == (&sku, &warehouse, pieces);
            return if same { Ok(Done::Before(before.clone())) } else { Err(RequestError::KeyReused) };
        }
        let receipt = Receipt { id: id.clone(), sku, warehouse, pieces, at: now };
        stock.receive(&receipt).map_err(|_unknown| RequestError::Refused(NoProduct(receipt.sku.clone())))?;
        booked.insert(id, receipt.clone());
        new.push(receipt.clone());
        Ok(Done::Now(receipt))
    };
    let outcomes = deliveries.iter().map(&mut outcome).collect();
    (outcomes, new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stock::{Level, tests::levels};

    fn delivery(key: &str, sku: &str, warehouse: &str, pieces: u32) -> Delivery {
        let pieces = pieces.try_into().unwrap();
        let (sku, warehouse) = (sku.parse().unwrap(), warehouse.parse().unwrap());
        Delivery { id: RequestId::of_operator(key), sku, warehouse, pieces }
    }

    #[test]
    fn a_key_books_once_also_within_one_transaction() {
        let mug: Sku = "MUG".parse().unwrap();
        let mut stock: Stock = [(mug.clone(), levels(&[("LYON", 1, 1)]))].into_iter().collect();
        let deliveries = [
            delivery("a", "MUG", "LYON", 5),
            delivery("a", "MUG", "LYON", 5),
            delivery("a", "MUG", "LYON", 6),
            delivery("a", "MUG", "MILAN", 5),
            delivery("a", "CUP", "LYON", 5),
            delivery("b", "CUP", "LYON", 1),
            delivery("c", "MUG", "MILAN", 2),
        ];
        let (outcomes, new) = receive(&deliveries, &mut HashMap::new(), &mut stock, Timestamp::UNIX_EPOCH);
        let said: Vec<&str> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Ok(Done::Now(_)) => "booked",
                Ok(Done::Before(_)) => "booked before",
                Err(RequestError::KeyReused) => "key reused",
                Err(RequestError::Refused(NoProduct(_))) => "unknown",
                Err(RequestError::Store(_) | RequestError::Stopped) => "failed",
            })
            .collect();
        let reused = "key reused";
        assert_eq!(said, ["booked", "booked before", reused, reused, reused, "unknown", "booked"]);
        assert_eq!(new.len(), 2);
        assert_eq!(stock.level_in(&mug, "LYON"), Level { on_hand: 6, held: 1 });
        assert_eq!(stock.level_in(&mug, "MILAN"), Level { on_hand: 2, held: 0 });
    }
}

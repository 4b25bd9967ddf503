//! Pieces come into the warehouse: a use case of the stock writer, which books all receipts that wait in one
//! transaction.
//!
//! The client's idempotency key is the natural key of the receipt, so a request repeated after any crash changes
//! nothing, however late it comes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use contracts::Sku;
use jiff::Timestamp;
use messaging::mongo::Transaction;
use serde::{Deserialize, Serialize};

use crate::{
    stock::Stock,
    store::{self, StoreError},
};

/// Pieces that shall come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: ReceiptId,
    pub(crate) sku: Sku,
    pub(crate) pieces: Pieces,
}

/// Pieces that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) id: ReceiptId,
    pub(crate) sku: Sku,
    pub(crate) pieces: Pieces,
    pub(crate) at: Timestamp,
}

/// Names a receipt: who sent it, and the key they gave it. So one principal's keys never meet another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReceiptId(Box<str>);

impl ReceiptId {
    /// The receipt the operator calls `key`.
    pub(crate) fn of_operator(key: &str) -> Self {
        Self(format!("operator/{key}").into())
    }

    /// As it was stored.
    pub(crate) fn stored(id: String) -> Self {
        Self(id.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many pieces come in at once: 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
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

/// Why a delivery was not booked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("there is no product {0}")]
    UnknownSku(Sku),
    #[error("the key was used for another receipt")]
    KeyReused,
    /// The receipts of one transaction share its failure.
    #[error("the receipt could not be booked")]
    Store(#[source] Arc<StoreError>),
    #[error("the stock writer has stopped")]
    Stopped,
}

/// Books all of `deliveries` in `tx`, and says of each what came of it.
///
/// # Errors
/// [`StoreError`]; then nothing may be committed.
pub(crate) async fn receive(
    tx: &mut Transaction,
    deliveries: &[Delivery],
    now: Timestamp,
) -> Result<Vec<Result<Receipt, ReceiveError>>, StoreError> {
    let ids: Vec<&ReceiptId> = deliveries.iter().map(|delivery| &delivery.id).collect();
    let mut booked = store::movement::load(tx, &ids).await?;
    let skus: BTreeSet<Sku> = deliveries.iter().map(|delivery| delivery.sku.clone()).collect();
    let mut stock = store::stock::load(tx, &skus).await?;
    let (outcomes, new) = book(deliveries, &mut booked, &mut stock, now);
    store::stock::write(tx, &stock).await?;
    store::movement::insert(tx, &new).await?;
    Ok(outcomes)
}

type Booked = (Vec<Result<Receipt, ReceiveError>>, Vec<Receipt>);

/// The outcome of each delivery, and the receipts that are new. Pure.
fn book(
    deliveries: &[Delivery],
    booked: &mut HashMap<ReceiptId, Receipt>,
    stock: &mut Stock,
    now: Timestamp,
) -> Booked {
    let mut new = Vec::new();
    let mut outcome = |delivery: &Delivery| {
        let Delivery { id, sku, pieces } = delivery.clone();
        match booked.get(&id) {
            Some(receipt) if receipt.sku == sku && receipt.pieces == pieces => return Ok(receipt.clone()),
            Some(_) => return Err(ReceiveError::KeyReused),
            None => {}
        }
        stock.receive(&sku, pieces.get()).map_err(|_unknown| ReceiveError::UnknownSku(sku.clone()))?;
        let receipt = Receipt { id: id.clone(), sku, pieces, at: now };
        booked.insert(id, receipt.clone());
        new.push(receipt.clone());
        Ok(receipt)
    };
    let outcomes = deliveries.iter().map(&mut outcome).collect();
    (outcomes, new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stock::Level;

    fn delivery(key: &str, sku: &str, pieces: u32) -> Delivery {
        let pieces = pieces.try_into().unwrap();
        Delivery { id: ReceiptId::of_operator(key), sku: sku.parse().unwrap(), pieces }
    }

    #[test]
    fn a_key_books_once_also_within_one_transaction() {
        let mug: Sku = "MUG".parse().unwrap();
        let mut stock: Stock = [(mug.clone(), Level { on_hand: 1, held: 1 })].into_iter().collect();
        let deliveries = [
            delivery("a", "MUG", 5),
            delivery("a", "MUG", 5),
            delivery("a", "MUG", 6),
            delivery("a", "CUP", 5),
            delivery("b", "CUP", 1),
            delivery("c", "MUG", 2),
        ];
        let (outcomes, new) = book(&deliveries, &mut HashMap::new(), &mut stock, Timestamp::UNIX_EPOCH);
        let said: Vec<&str> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Ok(_) => "booked",
                Err(ReceiveError::KeyReused) => "key reused",
                Err(ReceiveError::UnknownSku(_)) => "unknown",
                Err(ReceiveError::Store(_) | ReceiveError::Stopped) => "failed",
            })
            .collect();
        assert_eq!(said, ["booked", "booked", "key reused", "key reused", "unknown", "booked"]);
        assert_eq!(new.len(), 2);
        assert_eq!(stock.level(&mug), Some(Level { on_hand: 8, held: 1 }));
    }
}

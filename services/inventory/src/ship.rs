//! Pieces leave a warehouse: a use case of the stock writer.

use std::collections::{BTreeSet, HashMap};

use contracts::{
    OrderId, ShipmentId, Sku, Warehouse,
    inventory::{InventoryEvent, StockLine},
};
use jiff::Timestamp;
use messaging::{Outgoing, mongo::Transaction};
use service::message::outgoing;
use web::trace::Traceparent;

use crate::{
    decide::Holds,
    hold::{Hold, Left, NotShipped},
    request::{Done, Outcome, Request, RequestError, RequestId},
    stock::{BrokenBooks, Stock},
    store::{self, StoreError},
};

/// Pieces that shall leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatch {
    pub(crate) id: RequestId,
    pub(crate) order: OrderId,
    pub(crate) warehouse: Warehouse,
    /// What, each SKU once; all that lies there for the order if it does not say.
    pub(crate) lines: Option<Vec<StockLine>>,
}

/// Pieces that left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shipment {
    pub(crate) id: ShipmentId,
    /// Its lines are those that were asked for, if any were.
    pub(crate) asked: Dispatch,
    /// What left.
    pub(crate) lines: Vec<StockLine>,
    /// Whether it was the last of its order.
    pub(crate) complete: bool,
    pub(crate) at: Timestamp,
}

impl Request for Dispatch {
    type Booked = Shipment;
    type Refusal = NotShipped;

    async fn book(
        tx: &mut Transaction,
        dispatches: &[Self],
        causes: &[Traceparent],
        now: Timestamp,
    ) -> Result<Vec<Outcome<Self>>, StoreError> {
        let ids: Vec<&RequestId> = dispatches.iter().map(|dispatch| &dispatch.id).collect();
        let mut shipped = store::shipment::load(tx, &ids).await?;
        let orders = dispatches.iter().map(|dispatch| dispatch.order).collect();
        let mut holds = store::hold::load(tx, &orders).await?;
        let skus: BTreeSet<Sku> = holds.all().flat_map(Hold::skus).cloned().collect();
        let mut stock = store::stock::load(tx, &skus).await?;
        let (outcomes, new) = ship(dispatches, &mut shipped, &mut holds, &mut stock, now)?;
        store::stock::write(tx, &stock, now).await?;
        store::hold::write(tx, &holds).await?;
        store::shipment::insert(tx, &new).await?;
        let caused = |shipment: &Shipment| {
            let asked = dispatches.iter().zip(causes).find(|(dispatch, _)| dispatch.id == shipment.asked.id);
            let cause = asked.map_or_else(Traceparent::here, |(_, cause)| *cause);
            cause.sync_scope(|| outgoing(&shipment.event()))
        };
        let messages: Vec<Outgoing> = new.iter().map(caused).collect();
        tx.put(&messages).await?;
        Ok(outcomes)
    }
}

/// The outcome of each dispatch, and the shipments that are new. Pure.
fn ship(
    dispatches: &[Dispatch],
    shipped: &mut HashMap<RequestId, Shipment>,
    holds: &mut Holds,
    stock: &mut Stock,
    now: Timestamp,
) -> Result<(Vec<Outcome<Dispatch>>, Vec<Shipment>), BrokenBooks> {
    let (mut outcomes, mut new) = (Vec::with_capacity(dispatches.len()), Vec::new());
    for dispatch in dispatches {
        outcomes.push(match shipped.get(&dispatch.id) {
            Some(before) if before.asked == *dispatch => Ok(Done::Before(before.clone())),
            Some(_) => Err(RequestError::KeyReused),
            None => match holds.ship(dispatch, stock, now)? {
                Ok(Left { lines, complete }) => {
                    let shipment =
                        Shipment { id: ShipmentId::mint(), asked: dispatch.clone(), lines, complete, at: now };
                    shipped.insert(dispatch.id.clone(), shipment.clone());
                    new.push(shipment.clone());
                    Ok(Done::Now(shipment))
                }
                Err(refusal) => Err(RequestError::Refused(refusal)),
            },
        });
    }
    Ok((outcomes, new))
}

impl Shipment {
    /// What the others learn of it; the same however often it goes out.
    pub(crate) fn event(&self) -> InventoryEvent {
        InventoryEvent::StockShipped {
            shipment: self.id,
            order: self.asked.order,
            warehouse: self.asked.warehouse.clone(),
            lines: self.lines.clone(),
            complete: self.complete,
            at: self.at,
        }
    }
}

#[cfg(test)]
mod tests;

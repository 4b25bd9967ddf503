//! What arrives on `order.events`: a confirmed order is invoiced; a cancelled one is closed, must hold nothing, and is
//! credited with what is left of its invoice. All else needs nothing of billing, and is not even taken in.
//!
//! | event | closed | captured, or gone back | else |
//! |---|---|---|---|
//! | confirmed | - | invoice, if there is none | impossible |
//! | cancelled | - | closes; credit note, if there is an invoice | closes |
//!
//! `-` changes nothing. What is held when it is closed is let go, and counted as `late_cleanup`.
//!
//! The lines of an invoice were told with the authorization, which billing reads anyway. So no event is taken in, and no
//! row written, to keep them: an order costs two rows for its papers, the invoice and the id of `OrderConfirmed`.

use std::collections::{BTreeMap, BTreeSet};

use contracts::OrderId;
use contracts::order::OrderEvent;
use messaging::{HandleError, Record};
use service::message::cause;

use crate::changes::Changes;
use crate::fault::Fault;
use crate::invoice::{Party, Sale, is_due};
use crate::payment::Payment;
use crate::store::invoices::Candidate;

/// The beginnings of the names, whatever their versions, of what changes nothing here.
const NOTHING: [&str; 3] = ["order.placed.", "order.shipped.", "order.cancellation-refused."];

/// Whether the record must be taken in.
pub(crate) fn matters(record: &Record) -> bool {
    !NOTHING.iter().any(|kind| record.kind.starts_with(kind))
}

/// The orders that are confirmed by `events`.
pub(crate) fn confirmed(events: &[(&Record, &OrderEvent)]) -> Vec<OrderId> {
    let order = |event: &OrderEvent| if let OrderEvent::Confirmed { order, .. } = event { Some(*order) } else { None };
    events.iter().filter_map(|(_, event)| order(event)).collect()
}

/// The orders that are cancelled by `events`: their payments are to be locked.
pub(crate) fn cancelled(events: &[(&Record, &OrderEvent)]) -> Vec<OrderId> {
    let order = |event: &OrderEvent| if let OrderEvent::Cancelled { order, .. } = event { Some(*order) } else { None };
    events.iter().filter_map(|(_, event)| order(event)).collect()
}

/// Takes in `events`, in their order, where `candidates` are the payments of those that confirm.
pub(crate) fn receive(
    events: &[(&Record, &OrderEvent)],
    mut candidates: BTreeMap<OrderId, Candidate>,
    locked: &mut BTreeMap<OrderId, Payment>,
    seller: &Party,
    changes: &mut Changes<'_>,
    now: jiff::Timestamp,
) -> Result<(), HandleError> {
    let mut closed = BTreeSet::new();
    for (record, event) in events {
        match event {
            OrderEvent::Confirmed { order, at, .. } if !closed.contains(order) => {
                let sale = invoice(*order, candidates.get_mut(order), seller, *at);
                let sale = sale.map_err(|fault| HandleError::this_message(record.id, fault))?;
                changes.sold(sale);
            }
            OrderEvent::Cancelled { order, .. } => {
                closed.insert(*order);
                let Some(payment) = locked.get_mut(order) else { continue };
                if let Some(end) = payment.close(now) {
                    cause(record).sync_scope(|| changes.closed(payment, end));
                }
            }
            OrderEvent::Confirmed { .. }
            | OrderEvent::Placed { .. }
            | OrderEvent::Shipped { .. }
            | OrderEvent::CancellationRefused { .. } => {}
        }
    }
    Ok(())
}

/// What is to be invoiced; none if nothing is.
fn invoice(
    order: OrderId,
    candidate: Option<&mut Candidate>,
    seller: &Party,
    at: jiff::Timestamp,
) -> Result<Option<Sale>, Fault> {
    let none = || Fault::NotPaid { order, state: crate::state::State::None };
    let Candidate { state, closed, invoiced, terms, buyer } = candidate.ok_or_else(none)?;
    if !is_due(order, *state, *closed, *invoiced)? {
        return Ok(None);
    }
    // A repetition in this batch finds it invoiced.
    *invoiced = true;
    let terms = terms.take().ok_or(Fault::NotPaid { order, state: *state })?;
    let customer = terms.customer();
    let buyer = buyer.take().ok_or(Fault::UnknownCustomer { order, customer })?;
    Ok(Some(Sale { order, seller: seller.clone(), buyer: buyer.into(), at, terms }))
}

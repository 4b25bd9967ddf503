//! Somebody wants an order cancelled. What that comes to is on one page: [`cancellation`](crate::cancellation).

use contracts::OrderId;
use messaging::HandleError;

use crate::{
    App,
    cancellation::{Wanted, wanted},
    sagas::{AdvanceError, Moves, Progress},
    store,
};

/// Why an order is not cancelled. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CancelError {
    #[error("there is no order {0}")]
    NoOrder(OrderId),
    #[error("something of order {0} is shipped already")]
    TooLate(OrderId),
    #[error("the cancellation could not be stored")]
    Store(#[from] sqlx::Error),
    #[error("the cancellation could not be stored")]
    Save(#[from] HandleError),
    #[error("the checkout of the order cannot be told")]
    Advance(#[from] AdvanceError),
}

/// Has the order cancelled, if it still can be; it is when its saga has ended. To want it twice is to want it once.
pub(crate) async fn cancel(app: &App, id: OrderId) -> Result<(), CancelError> {
    let mut tx = app.db.begin().await?;
    let checkout = store::sagas::lock_checkout(&mut tx, id).await?;
    let (now, checkout) = checkout.ok_or(CancelError::NoOrder(id))?;
    let order = store::orders::lock(&mut tx, &[id]).await?.remove(&id).ok_or(CancelError::NoOrder(id))?;
    let progress = match wanted(&order, store::sagas::has_cancellation(&mut tx, id).await?) {
        Wanted::ByCheckout => {
            let saga = checkout.id();
            let mut progress = Progress::of(vec![checkout]);
            progress.advance(saga, Moves::CancelRequested, now)?;
            progress
        }
        Wanted::ByCancellation => {
            let mut progress = Progress::default();
            progress.cancel(id, now);
            progress
        }
        Wanted::Already => return Ok(()),
        Wanted::TooLate => return Err(CancelError::TooLate(id)),
    };
    Ok(progress.commit(app, tx, now).await?)
}

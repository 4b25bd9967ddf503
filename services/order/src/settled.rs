//! Clients that wait for their order to settle (`Prefer: wait`).
//!
//! An order settled by this instance is announced at once. One settled by another instance is found by asking the
//! database for all awaited orders together, now and then: slower, and just as certain.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contracts::OrderId;
use service::work::Work;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    App,
    order::{Order, Status},
    store::{self, orders::Found},
};

/// How often the database is asked for orders that other instances have settled.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Who waits for which order.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    waiting: Mutex<Waiting>,
}

type Waiting = HashMap<OrderId, Vec<oneshot::Sender<Result<Order, Unreadable>>>>;

/// Nobody can say whether the order has settled.
#[derive(Debug, Clone, thiserror::Error)]
#[error("order {order} cannot be read")]
pub(crate) struct Unreadable {
    order: OrderId,
    source: Arc<sqlx::Error>,
}

impl Settled {
    /// The order once it has settled; `None` if that takes longer than `at_most`.
    pub(crate) async fn wait(&self, order: OrderId, at_most: Duration) -> Result<Option<Order>, Unreadable> {
        let (sender, settled) = oneshot::channel();
        self.lock().entry(order).or_default().push(sender);
        match timeout(at_most, settled).await {
            Ok(Ok(order)) => order.map(Some),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    /// Tells those who wait for one of `orders` that it has settled.
    pub(crate) fn announce(&self, orders: Vec<Order>) {
        let mut waiting = self.lock();
        for order in orders {
            tell(&mut waiting, order.id, &Ok(order));
        }
    }

    /// Tells those who wait for the order that it cannot be read, and why: they would wait in vain.
    fn give_up(&self, order: OrderId, error: sqlx::Error) {
        tell(&mut self.lock(), order, &Err(Unreadable { order, source: Arc::new(error) }));
    }

    /// The orders somebody still waits for.
    fn awaited(&self) -> Vec<OrderId> {
        let mut waiting = self.lock();
        waiting.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        waiting.keys().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(waiting: &mut Waiting, order: OrderId, what: &Result<Order, Unreadable>) {
    for sender in waiting.remove(&order).unwrap_or_default() {
        sender.send(what.clone()).ok(); // It may have stopped waiting.
    }
}

/// Asks for what other instances have settled, until `stop`.
pub(crate) async fn run(app: App, work: Work, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_some() {
        if let Err(error) = work.unit(ask(&app)).await? {
            tracing::warn!(error = &error as &dyn std::error::Error, "awaited orders could not be looked up");
        }
    }
    Ok(())
}

/// Asks once, with one query for all. Of an order that cannot be read only those hear who wait for it.
pub(crate) async fn ask(app: &App) -> sqlx::Result<()> {
    let awaited = app.settled.awaited();
    if awaited.is_empty() {
        return Ok(());
    }
    let mut conn = app.db.acquire().await?;
    let mut settled = Vec::new();
    for Found { id, order } in store::orders::each(&mut conn, &awaited).await? {
        match order {
            Ok(order) if order.status == Status::Pending => {}
            Ok(order) => settled.push(order),
            Err(error) => app.settled.give_up(id, error),
        }
    }
    app.settled.announce(settled);
    Ok(())
}

//! Clients that wait for their order to settle (`Prefer: wait`).
//!
//! An order settled by this instance is announced at once. One settled by another instance is found by asking the
//! database for all awaited orders together, now and then: slower, and just as certain.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use contracts::OrderId;
use service::{postgres::is_unreadable, work::Work};
use sqlx::PgConnection;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    App,
    order::{Order, Status},
    store,
};

/// How often the database is asked for orders that other instances have settled.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Who waits for which order.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    waiting: Mutex<HashMap<OrderId, Vec<oneshot::Sender<Order>>>>,
}

impl Settled {
    /// The order once it has settled; `None` if that takes longer than `at_most`.
    pub(crate) async fn wait(&self, order: OrderId, at_most: Duration) -> Option<Order> {
        let (sender, settled) = oneshot::channel();
        self.lock().entry(order).or_default().push(sender);
        timeout(at_most, settled).await.ok()?.ok()
    }

    /// Tells those who wait for one of `orders` that it has settled.
    pub(crate) fn announce(&self, orders: Vec<Order>) {
        let mut waiting = self.lock();
        for order in orders {
            for sender in waiting.remove(&order.id).unwrap_or_default() {
                sender.send(order.clone()).ok(); // It may have stopped waiting.
            }
        }
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

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OrderId, Vec<oneshot::Sender<Order>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

pub(crate) async fn ask(app: &App) -> sqlx::Result<()> {
    let awaited = app.settled.awaited();
    if awaited.is_empty() {
        return Ok(());
    }
    let mut conn = app.db.acquire().await?;
    let orders = look_up(&mut conn, &awaited).await?;
    app.settled.announce(orders.into_iter().filter(|order| order.status != Status::Pending).collect());
    Ok(())
}

/// The awaited orders as they are now. One that cannot be read is left out: nobody else waits for it.
async fn look_up(conn: &mut PgConnection, awaited: &[OrderId]) -> sqlx::Result<Vec<Order>> {
    match store::orders::all(conn, awaited).await {
        Err(error) if is_unreadable(&error) => {}
        all => return all,
    }
    let mut orders = Vec::with_capacity(awaited.len());
    for order in awaited {
        match store::orders::all(conn, &[*order]).await {
            Ok(found) => orders.extend(found),
            Err(error) if is_unreadable(&error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(order.id = %order, error, "an order that is awaited cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(orders)
}

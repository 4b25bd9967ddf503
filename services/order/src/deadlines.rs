//! Time moves sagas too: past a deadline they turn, and what they wait for they ask again.

use std::time::Duration;

use messaging::HandleError;
use service::work::Work;
use tokio_util::sync::CancellationToken;
use web::trace::Traceparent;

use crate::{
    App,
    sagas::{AnySaga, Moves, Progress},
    store::{self, sagas::Due},
};

/// How often the database is asked for sagas that are due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The most sagas in one transaction.
const BATCH: i64 = 256;

/// Wakes sagas as they fall due, until `stop`. Any instance may: each takes what no other has locked.
pub(crate) async fn run(app: App, work: Work, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        match work.unit(wake_due(&app)).await? {
            Ok(0) => {}
            Ok(woken) => tracing::info!(sagas = woken, "sagas were woken: an answer is late"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "sagas could not be woken"),
        }
    }
    Ok(())
}

/// Wakes the sagas that are due, by the clock of the database. Gives back how many.
pub(crate) async fn wake_due(app: &App) -> Result<usize, HandleError> {
    let mut tx = app.db.begin().await?;
    let Some(Due { now, sagas, unreadable }) = store::sagas::lock_due(&mut tx, BATCH).await? else { return Ok(0) };
    if !unreadable.is_empty() {
        // Or they would be the first in every scan, and in the end fill it.
        store::sagas::put_off(&mut tx, &unreadable).await?;
    }
    let ids: Vec<_> = sagas.iter().map(AnySaga::id).collect();
    let mut progress = Progress::of(sagas);
    for id in &ids {
        // Time is nobody's request: what it causes is a trace of its own.
        let woken = Traceparent::mint().sync_scope(|| progress.advance(*id, Moves::Woken, now));
        woken.map_err(|error| HandleError::Ours(error.into()))?;
    }
    progress.commit(app, tx, now).await?;
    Ok(ids.len())
}

//! Idempotency keys are forgotten a day after their request: by then no client repeats it.

use std::time::Duration;

use service::work::{Stuck, Work};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{App, store};

/// How long a key is known at least.
pub(crate) const KEPT: Duration = Duration::from_hours(24);
/// How often old keys are looked for.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// The most keys in one transaction.
const BATCH: i64 = 10_000;

/// Forgets old keys, again and again, until `stop`. Any instance may: each takes what no other has locked.
pub(crate) async fn run(app: App, work: Work, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        match old_keys(&app.db, &work).await? {
            Ok(0) => {}
            Ok(keys) => tracing::debug!(keys, "idempotency keys of yesterday are forgotten"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "old keys could not be forgotten"),
        }
    }
    Ok(())
}

/// Forgets all keys that are older than [`KEPT`], by the clock of the database. Gives their number. Of many each transaction
/// has the time of a unit.
pub(crate) async fn old_keys(db: &PgPool, work: &Work) -> Result<sqlx::Result<u64>, Stuck> {
    let mut forgotten = 0;
    loop {
        let gone = match work.unit(store::keys::forget(db, KEPT, BATCH)).await? {
            Ok(gone) => gone,
            Err(error) => return Ok(Err(error)),
        };
        forgotten += gone;
        if gone < BATCH.unsigned_abs() {
            return Ok(Ok(forgotten));
        }
    }
}

//! What operators see of payments: how many wait for one of them.

use std::time::Duration;

use metrics::gauge;
use service::work::Work;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::store::intents;

/// How often the parked payments are counted. Few intents are open at once, so each look costs little.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Counts the parked payments, again and again, until `stop`. While the database is away, nothing is known of them.
pub(crate) async fn run(pool: PgPool, work: Work, stop: CancellationToken) -> anyhow::Result<()> {
    let parked = gauge!("billing_payments_parked");
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        match work.unit(intents::count_parked(&pool)).await? {
            Ok(count) => parked.set(count as f64),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "The parked payments could not be counted.");
            }
        }
    }
    Ok(())
}

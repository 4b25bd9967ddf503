//! The connections of a service to its PostgreSQL.

use std::time::Duration;

use anyhow::Context;
use sqlx::{PgPool, postgres::PgPoolOptions};

/// How long to look for the database before a batch or a request fails.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A pool of so many connections to the database at `url`, of which one is open; the others follow.
///
/// # Errors
/// If `url` is none, or the database cannot be reached within [`PATIENCE`].
pub async fn pool(url: &str, connections: u32) -> anyhow::Result<PgPool> {
    let pool = PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false) // It would cost a round trip each time; a broken connection fails its batch, which is tried again.
        .connect_lazy(url)
        .context("the database's URL is none")?;
    // One is enough to begin with. All at once would have to be there in the time that one may take.
    drop(pool.acquire().await.context("the database cannot be reached")?);
    Ok(pool)
}

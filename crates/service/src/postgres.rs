//! The connections of a service to its PostgreSQL.

use std::{error::Error, time::Duration};

use anyhow::Context;
use messaging::HandleError;
use sqlx::{Connection, PgPool, error::DatabaseError, postgres::PgPoolOptions};
use tokio::time::timeout;

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
        // Whoever gave up waiting gives back a connection with an answer still to come. Of one that never comes the pool would
        // wait for the end, and with it whoever wants that place. Where nothing is to come this costs nothing.
        .after_release(|connection, _| {
            let answered = timeout(PATIENCE, connection.flush());
            Box::pin(async { answered.await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true) })
        })
        .test_before_acquire(false) // It would cost a round trip each time; a broken connection fails its batch, which is tried again.
        .connect_lazy(url)
        .context("the database's URL is none")?;
    // One is enough to begin with. All at once would have to be there in the time that one may take.
    drop(pool.acquire().await.context("the database cannot be reached")?);
    Ok(pool)
}

/// Whether `error`, or what it comes of, is one of the database that is away or busy: later the same will do.
pub fn is_away(error: &(dyn Error + 'static)) -> bool {
    anyhow::Chain::new(error).filter_map(|error| error.downcast_ref()).any(|error: &sqlx::Error| {
        let lost = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                // What came over this connection makes no sense. Another one is opened.
                | sqlx::Error::Protocol(_)
                | sqlx::Error::BeginFailed
        );
        lost || error.as_database_error().is_some_and(will_do_later)
    })
}

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn will_do_later(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    let later = [
        "08",    // The connection failed.
        "25P03", // Idle in its transaction for too long.
        "25P04", // In its transaction for too long.
        "40",    // Lost a deadlock or a conflict.
        "53",    // Short of memory, disk or connections.
        "55P03", // Waited for a lock for too long.
        "57",    // The database stops, starts, or was told to give up.
    ];
    later.iter().any(|class| code.starts_with(class))
}

/// Whether `error` says that what is stored, or a column of it, cannot be read: written by another version of the service, or
/// by hand.
pub fn is_unreadable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
}

/// Whose fault `error` is. A row that cannot be read is as it is at the next try, and no other order's business: so it
/// counts as the fault of who needs it, who is found by halves and parked with the reason, and all others go on.
pub fn fault(error: sqlx::Error) -> HandleError {
    if is_unreadable(&error) { HandleError::Message(error.into()) } else { error.into() }
}

//! The parts that live in Postgres. Schema: `schema.sql`.
#![expect(
    clippy::disallowed_methods,
    reason = "a library has no database to check its queries against when it is built"
)]

pub mod inbox;
mod measure;
mod offsets;
pub mod outbox;
pub mod parked;
mod pgoutput;
mod progress;
pub mod prune;
pub mod relay;
mod relay_config;
mod visible;

use std::{io, time::Duration};

use sqlx::Connection as _;
use tokio::time::timeout;

pub use offsets::Offsets;

/// How long the answer to a short question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the database answers to a short question; an error if it takes too long, for over a connection that was forgotten
/// no answer ever comes.
async fn answered<T>(asked: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(PATIENCE, asked).await.unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// Whether the database answers. Of the connections that a restart of the database has broken, none counts.
pub async fn answers(pool: sqlx::PgPool) -> bool {
    for _ in 0..=pool.size() {
        if let Ok(mut connection) = pool.acquire().await
            && connection.ping().await.is_ok()
        {
            return true;
        }
    }
    false
}

/// The slot of Postgres' log for the relay of the database of `pool`. A slot belongs to a database, its name to the whole
/// server, and has at most 63 characters.
pub fn slot(pool: &sqlx::PgPool) -> String {
    let options = pool.connect_options();
    let database = options.get_database().unwrap_or("postgres");
    // Of a long name the end, where names differ.
    let begin = database.ceil_char_boundary(database.len().saturating_sub(63 - "outbox_".len()));
    format!("outbox_{}", &database[begin..])
}

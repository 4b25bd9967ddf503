//! Looks now and then at what the relay's database can tell an operator.

use std::convert::Infallible;

use metrics::gauge;
use sqlx::PgPool;
use tokio::time::sleep;

use crate::{
    broker::chain,
    meters::{LOOK_EVERY, RelayMeters},
    postgres::answered,
};

/// Tells how much of the log the database keeps for `slot`, how old the outbox is, and how many keys are parked. One cheap
/// query every few seconds.
pub(super) async fn keep_measuring(pool: &PgPool, slot: &str, meters: &RelayMeters) -> Infallible {
    let retained = gauge!("messaging_retained_wal_bytes", "slot" => slot.to_owned());
    loop {
        match look(pool, slot).await {
            Ok((bytes, now, parked)) => {
                retained.set(bytes as f64);
                meters.parked_keys.set(parked as f64);
                meters.tell_age(now);
            }
            Err(error) => tracing::debug!(slot, error = %chain(&error), "the slot cannot be looked at"),
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The bytes of the log behind the slot's beginning (0 without a slot), the time in microseconds since 1970, and the number
/// of parked keys.
async fn look(pool: &PgPool, slot: &str) -> sqlx::Result<(i64, i64, i64)> {
    let asked = sqlx::query_as(
        "-- measure::look
         select coalesce((select (pg_current_wal_lsn() - restart_lsn)::bigint from pg_replication_slots
                          where slot_name = $1), 0),
                (extract(epoch from clock_timestamp()) * 1000000)::bigint,
                (select count(distinct (topic, key)) from parked_message)",
    )
    .bind(slot)
    .fetch_one(pool);
    answered(asked).await
}

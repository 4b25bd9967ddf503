//! Idempotency keys.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use contracts::{CustomerId, OrderId};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{place::Wish, store::unreadable};

/// Takes each wish's key for its order, and gives back the orders that got theirs. Waits for a running holder of a key.
pub(crate) async fn claim(tx: &mut PgConnection, wishes: &[(&Wish, OrderId)]) -> sqlx::Result<HashSet<OrderId>> {
    let customers: Vec<Uuid> = wishes.iter().map(|(wish, _)| wish.customer.as_uuid()).collect();
    let keys: Vec<String> = wishes.iter().map(|(wish, _)| wish.key.clone()).collect();
    let fingerprints: Vec<Vec<u8>> = wishes.iter().map(|(wish, _)| wish.fingerprint.to_vec()).collect();
    let orders: Vec<Uuid> = wishes.iter().map(|(_, order)| order.as_uuid()).collect();
    // Sorted, so that two instances with the same keys wait for each other and do not deadlock.
    let claimed = sqlx::query_scalar!(
        "-- keys::claim
         insert into idempotency_key (customer_id, key, fingerprint, order_id)
         select customer_id, key, fingerprint, order_id
         from unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[]) as wish (customer_id, key, fingerprint, order_id)
         order by customer_id, key, order_id
         on conflict do nothing
         returning order_id",
        &customers,
        &keys,
        &fingerprints,
        &orders,
    )
    .fetch_all(tx)
    .await?;
    Ok(claimed.into_iter().map(OrderId::from).collect())
}

/// Gives up the keys of `wishes`, which the same transaction has claimed for them.
pub(crate) async fn release(tx: &mut PgConnection, wishes: &[(&Wish, OrderId)]) -> sqlx::Result<()> {
    if wishes.is_empty() {
        return Ok(());
    }
    let customers: Vec<Uuid> = wishes.iter().map(|(wish, _)| wish.customer.as_uuid()).collect();
    let keys: Vec<String> = wishes.iter().map(|(wish, _)| wish.key.clone()).collect();
    sqlx::query!(
        "-- keys::release
         delete from idempotency_key using unnest($1::uuid[], $2::text[]) as wish (customer_id, key)
         where idempotency_key.customer_id = wish.customer_id and idempotency_key.key = wish.key",
        &customers,
        &keys,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets keys that were claimed longer than `kept` ago, `at_most` so many. Gives their number.
pub(crate) async fn forget(conn: impl PgExecutor<'_>, kept: Duration, at_most: i64) -> sqlx::Result<u64> {
    let kept = i64::try_from(kept.as_secs()).map_err(unreadable)?;
    // Who is at it already does the work; two at the same keys would wait for each other.
    let gone = sqlx::query!(
        "-- keys::forget
         delete from idempotency_key where (customer_id, key) in (
             select customer_id, key from idempotency_key where created_at < now() - $1::bigint * interval '1 second'
             order by created_at limit $2 for update skip locked)",
        kept,
        at_most,
    )
    .execute(conn)
    .await?;
    Ok(gone.rows_affected())
}

/// The order and the fingerprint of the request that took each wish's key first.
pub(crate) async fn taken(
    tx: &mut PgConnection,
    wishes: &[&Wish],
) -> sqlx::Result<HashMap<(CustomerId, String), (OrderId, [u8; 32])>> {
    if wishes.is_empty() {
        return Ok(HashMap::new());
    }
    let customers: Vec<Uuid> = wishes.iter().map(|wish| wish.customer.as_uuid()).collect();
    let keys: Vec<String> = wishes.iter().map(|wish| wish.key.clone()).collect();
    let rows = sqlx::query!(
        "-- keys::taken
         select customer_id, key, fingerprint, order_id
         from idempotency_key
         join unnest($1::uuid[], $2::text[]) as wish (customer_id, key) using (customer_id, key)",
        &customers,
        &keys,
    )
    .fetch_all(tx)
    .await?;
    let entry = |row: Row| {
        let fingerprint = row.3.try_into().unwrap_or([0; 32]); // Only ever written with 32 bytes.
        ((row.0.into(), row.1), (row.2.into(), fingerprint))
    };
    Ok(rows.into_iter().map(|row| entry((row.customer_id, row.key, row.order_id, row.fingerprint))).collect())
}

type Row = (Uuid, String, Uuid, Vec<u8>);

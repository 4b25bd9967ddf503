//! Idempotency keys.

use std::collections::{HashMap, HashSet};

use contracts::{CustomerId, OrderId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::place::Wish;

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

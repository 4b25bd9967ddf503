//! Folds written anew. A page of streams at a time; what is in `orders` is not read, only compared by the database.

use contracts::OrderId;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    order::Order,
    store::orders::{int, json},
};

/// The next streams after that of `after`, in the order of their ids.
pub(crate) async fn streams(tx: &mut PgConnection, after: Uuid, at_most: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "-- rebuild::streams
         select distinct order_id from order_events where order_id > $1 order by order_id limit $2",
        after,
        at_most,
    )
    .fetch_all(tx)
    .await
}

/// Locks the orders with these ids, so that nothing happens to them; one that has no row yet is left out.
pub(crate) async fn lock(tx: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        "-- rebuild::lock
        select id from orders where id = any($1) order by id for update",
        ids,
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

/// The events of these streams as they are stored, in the order of order and version.
pub(crate) async fn events(tx: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, String)>> {
    let rows = sqlx::query!(
        r#"-- rebuild::events
         select order_id, data::text as "data!" from order_events where order_id = any($1) order by order_id, version"#,
        ids,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.order_id, row.data)).collect())
}

/// Makes `orders` what they shall be, and gives back those that were not.
pub(crate) async fn put(tx: &mut PgConnection, orders: &[Order]) -> sqlx::Result<Vec<OrderId>> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id.as_uuid()).collect();
    let customers: Vec<Uuid> = orders.iter().map(|order| order.customer.as_uuid()).collect();
    let statuses: Vec<&str> = orders.iter().map(|order| order.status.name().as_str()).collect();
    let reasons: Vec<Option<String>> = orders.iter().map(|order| order.status.cancel_reason().map(json)).collect();
    let versions: Vec<i32> = orders.iter().map(|order| int(order.version)).collect::<sqlx::Result<_>>()?;
    let lines: Vec<String> = orders.iter().map(|order| json(&order.lines)).collect();
    let amounts: Vec<i64> = orders.iter().map(|order| order.total.amount).collect();
    let currencies: Vec<&str> = orders.iter().map(|order| order.total.currency.code()).collect();
    let shipments: Vec<String> = orders.iter().map(|order| json(&order.shipments)).collect();
    let refused: Vec<bool> = orders.iter().map(|order| order.cancellation_refused).collect();
    let placed: Vec<jiff_sqlx::Timestamp> = orders.iter().map(|order| order.placed_at.to_sqlx()).collect();
    let updated: Vec<jiff_sqlx::Timestamp> = orders.iter().map(|order| order.updated_at.to_sqlx()).collect();
    let differed = sqlx::query_scalar!(
        "-- rebuild::put
         insert into orders (id, customer_id, status, cancel_reason, version, lines, total_amount, total_currency,
                             shipments, cancellation_refused, placed_at, updated_at)
         select id, customer_id, status, reason::json, version, lines::json, amount, currency,
                shipments::json, refused, placed_at, updated_at
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::bigint[], $8::text[],
                     $9::text[], $10::bool[], $11::timestamptz[], $12::timestamptz[])
              as folded (id, customer_id, status, reason, version, lines, amount, currency,
                         shipments, refused, placed_at, updated_at)
         on conflict (id) do update
         set customer_id = excluded.customer_id, status = excluded.status, cancel_reason = excluded.cancel_reason,
             version = excluded.version, lines = excluded.lines, total_amount = excluded.total_amount,
             total_currency = excluded.total_currency, shipments = excluded.shipments,
             cancellation_refused = excluded.cancellation_refused, placed_at = excluded.placed_at,
             updated_at = excluded.updated_at
         where (orders.customer_id, orders.status, orders.cancel_reason::text, orders.version, orders.lines::text,
                orders.total_amount, orders.total_currency, orders.shipments::text, orders.cancellation_refused,
                orders.placed_at, orders.updated_at)
               is distinct from
               (excluded.customer_id, excluded.status, excluded.cancel_reason::text, excluded.version,
                excluded.lines::text, excluded.total_amount, excluded.total_currency, excluded.shipments::text,
                excluded.cancellation_refused, excluded.placed_at, excluded.updated_at)
         returning id",
        &ids,
        &customers,
        &statuses as &[&str],
        &reasons as &[Option<String>],
        &versions,
        &lines,
        &amounts,
        &currencies as &[&str],
        &shipments,
        &refused,
        &placed as &[jiff_sqlx::Timestamp],
        &updated as &[jiff_sqlx::Timestamp],
    )
    .fetch_all(tx)
    .await?;
    Ok(differed.into_iter().map(OrderId::from).collect())
}

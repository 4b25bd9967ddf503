//! What customers call their orders.

use std::collections::HashSet;

use contracts::{CustomerId, OrderId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{place::Wish, reference::Reference, store::unreadable};

/// Takes each wish's reference for its order, and gives back the orders that got theirs. Waits for whoever is just taking
/// the same.
pub(crate) async fn claim(tx: &mut PgConnection, wishes: &[(&Wish, OrderId)]) -> sqlx::Result<HashSet<OrderId>> {
    if wishes.is_empty() {
        return Ok(HashSet::new());
    }
    let customers: Vec<Uuid> = wishes.iter().map(|(wish, _)| wish.customer.as_uuid()).collect();
    let references: Vec<String> =
        wishes.iter().map(|(wish, _)| wish.reference.as_ref().map_or("", Reference::as_str).to_owned()).collect();
    let orders: Vec<Uuid> = wishes.iter().map(|(_, order)| order.as_uuid()).collect();
    // Sorted, as keys are.
    let claimed = sqlx::query_scalar!(
        "-- references::claim
         insert into order_reference (customer_id, reference, order_id)
         select customer_id, reference, order_id
         from unnest($1::uuid[], $2::text[], $3::uuid[]) as wish (customer_id, reference, order_id)
         order by customer_id, reference, order_id
         on conflict do nothing
         returning order_id",
        &customers,
        &references,
        &orders,
    )
    .fetch_all(tx)
    .await?;
    Ok(claimed.into_iter().map(OrderId::from).collect())
}

/// Forgets what these customers called the orders that they had placed by then, by clocks that differ by less than a
/// minute.
pub(crate) async fn forget(tx: &mut PgConnection, erased: &[(CustomerId, Timestamp)]) -> sqlx::Result<()> {
    if erased.is_empty() {
        return Ok(());
    }
    let customers: Vec<Uuid> = erased.iter().map(|(customer, _)| customer.as_uuid()).collect();
    let ats: Vec<jiff_sqlx::Timestamp> = erased.iter().map(|(_, at)| at.to_sqlx()).collect();
    sqlx::query!(
        "-- references::forget
         delete from order_reference named
         using orders, unnest($1::uuid[], $2::timestamptz[]) as erased (customer_id, at)
         where named.customer_id = erased.customer_id and orders.id = named.order_id
           and orders.placed_at <= erased.at + interval '1 minute'",
        &customers,
        &ats as &[jiff_sqlx::Timestamp],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What each of these orders is called, each for itself; those without a reference are left out.
pub(crate) async fn of_orders(
    conn: &mut PgConnection,
    orders: &[OrderId],
) -> sqlx::Result<Vec<(OrderId, sqlx::Result<Reference>)>> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.as_uuid()).collect();
    let rows = sqlx::query!(
        "-- references::of_orders
         select order_id, reference from order_reference where order_id = any($1)",
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.order_id.into(), row.reference.try_into().map_err(unreadable))).collect())
}

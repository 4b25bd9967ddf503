//! The rows of customers.

use std::collections::BTreeSet;

use contracts::CustomerId;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::customer::Customer;

/// Those of `customers` that have a name and an address. Whoever is among them stays until the transaction ends: see
/// [`erase`].
pub(crate) async fn known(
    conn: &mut PgConnection,
    customers: BTreeSet<CustomerId>,
) -> sqlx::Result<BTreeSet<CustomerId>> {
    if customers.is_empty() {
        return Ok(customers);
    }
    let ids: Vec<Uuid> = customers.iter().map(|customer| customer.as_uuid()).collect();
    let known = sqlx::query_scalar!(
        "-- customers::known
        select id from customer where id = any($1)",
        &ids,
    );
    Ok(known.fetch_all(conn).await?.into_iter().map(CustomerId::from).collect())
}

/// Puts down who `id` is. Gives back whether that is new.
pub(crate) async fn put(
    conn: impl PgExecutor<'_>,
    id: CustomerId,
    customer: &Customer,
    now: Timestamp,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"-- customers::put
        insert into customer (id, name, address, country, email, vat_id, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $7, $7)
        on conflict (id) do update set
            name = excluded.name, address = excluded.address, country = excluded.country, email = excluded.email,
            vat_id = excluded.vat_id, updated_at = excluded.updated_at
        returning xmax = 0 as "new!""#,
        id.as_uuid(),
        customer.name,
        &customer.address,
        customer.country,
        customer.email,
        customer.vat_id,
        now.to_sqlx(),
    )
    .fetch_one(conn)
    .await
}

/// Who `id` is.
pub(crate) async fn find(conn: impl PgExecutor<'_>, id: CustomerId) -> sqlx::Result<Option<Customer>> {
    sqlx::query_as!(
        Customer,
        "-- customers::find
        select name, address, country, email, vat_id from customer where id = $1",
        id.as_uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// What became of the wish to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Erased {
    /// Nothing is known of them any more, but for what the law wants kept: their invoices.
    Now,
    /// Nothing was known.
    Before,
    /// So many orders of theirs are on their way and may yet be invoiced.
    NotYet {
        /// How many.
        orders: i64,
    },
}

/// Whether what was to be locked was not had in time (SQLSTATE 55P03).
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55P03"))
}

/// Forgets who `id` is, unless an invoice may still have to say so. Fails if another transaction looks at customers for
/// longer than the lock is waited for: see [`is_busy`].
pub(crate) async fn erase(pool: &PgPool, id: CustomerId) -> sqlx::Result<Erased> {
    let mut tx = pool.begin().await?;
    // No transaction that has found the customer is open now, so each of their payments can be seen. Erasures are few;
    // a lock per row would cost every order.
    //
    // Whoever orders waits behind this lock, also while it is waited for itself; so that is not for long.
    let patience = sqlx::query!(
        "-- customers::erase: patience
        set local lock_timeout = '2s'"
    );
    patience.execute(&mut *tx).await?;
    let locked = sqlx::query!(
        "-- customers::erase: nobody else
        lock table customer in access exclusive mode"
    );
    locked.execute(&mut *tx).await?;
    let orders = sqlx::query_scalar!(
        r#"-- customers::erase: what is on its way
        select count(*) as "orders!" from payment
        where customer_id = $1 and not closed and state not in ('refused', 'voided')
          and not exists (select from invoice where invoice.order_id = payment.order_id and kind = 'invoice')"#,
        id.as_uuid(),
    );
    let orders = orders.fetch_one(&mut *tx).await?;
    if orders > 0 {
        return Ok(Erased::NotYet { orders });
    }
    let gone = sqlx::query!(
        "-- customers::erase
        delete from customer where id = $1",
        id.as_uuid(),
    );
    let gone = gone.execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(if gone > 0 { Erased::Now } else { Erased::Before })
}

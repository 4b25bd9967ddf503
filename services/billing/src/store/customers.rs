//! The rows of customers.

use std::collections::BTreeSet;

use contracts::CustomerId;
use contracts::billing::BillingEvent;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use messaging::postgres::outbox;
use service::message::outgoing;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;
use web::condition::{Condition, Unmet};

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

/// What became of the wish to put down who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// Nothing was known of them.
    New,
    /// It is put down now, or was before.
    Known,
    /// They are put down otherwise than in the state that was to be changed.
    Unmet(Unmet),
}

/// Puts down who `id` is, if `condition` allows it.
pub(crate) async fn put(
    pool: &PgPool,
    id: CustomerId,
    customer: &Customer,
    condition: &Condition,
    now: Timestamp,
) -> sqlx::Result<Put> {
    let mut tx = pool.begin().await?;
    let before = match lock(&mut tx, id).await? {
        None if condition.allows_creation().is_err() => return Ok(Put::Unmet(Unmet::OtherState)),
        None if insert(&mut tx, id, customer, now).await? => {
            tx.commit().await?;
            return Ok(Put::New);
        }
        // Somebody was first, and has committed by now.
        None => lock(&mut tx, id).await?,
        known => known,
    };
    let Some(before) = before else {
        // And is forgotten again. Whoever wants to be known may say so again.
        return Ok(Put::Unmet(Unmet::OtherState));
    };
    let (is_same, tag) = (before == *customer, before.tag());
    let allowed = if is_same { condition.allows_no_change(&tag) } else { condition.allows_change(&tag) };
    if let Err(unmet) = allowed {
        return Ok(Put::Unmet(unmet));
    }
    if !is_same {
        update(&mut tx, id, customer, now).await?;
    }
    tx.commit().await?;
    Ok(Put::Known)
}

/// Who `id` is. Nobody changes it until the transaction ends.
async fn lock(conn: &mut PgConnection, id: CustomerId) -> sqlx::Result<Option<Customer>> {
    sqlx::query_as!(
        Customer,
        "-- customers::lock
        select name, address, country, email, vat_id from customer where id = $1 for update",
        id.as_uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Whether that is new. Waits for whoever is just putting down the same.
async fn insert(conn: &mut PgConnection, id: CustomerId, customer: &Customer, now: Timestamp) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "-- customers::insert
        insert into customer (id, name, address, country, email, vat_id, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $7, $7) on conflict (id) do nothing",
        id.as_uuid(),
        customer.name,
        &customer.address,
        customer.country,
        customer.email,
        customer.vat_id,
        now.to_sqlx(),
    );
    Ok(inserted.execute(conn).await?.rows_affected() == 1)
}

async fn update(conn: &mut PgConnection, id: CustomerId, customer: &Customer, now: Timestamp) -> sqlx::Result<()> {
    let updated = sqlx::query!(
        "-- customers::update
        update customer set name = $2, address = $3, country = $4, email = $5, vat_id = $6, updated_at = $7
        where id = $1",
        id.as_uuid(),
        customer.name,
        &customer.address,
        customer.country,
        customer.email,
        customer.vat_id,
        now.to_sqlx(),
    );
    updated.execute(conn).await?;
    Ok(())
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

/// Forgets who `id` is, unless an invoice may still have to say so, and has whoever else keeps what they have written do
/// the same: also if nothing was known here. Fails if another transaction looks at customers for
/// longer than the lock is waited for.
pub(crate) async fn erase(pool: &PgPool, id: CustomerId, now: Timestamp) -> sqlx::Result<Erased> {
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
    outbox::put(&mut tx, &[outgoing(&BillingEvent::CustomerErased { customer: id, at: now })]).await?;
    tx.commit().await?;
    Ok(if gone > 0 { Erased::Now } else { Erased::Before })
}

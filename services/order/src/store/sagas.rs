//! Sagas and their log.

use std::collections::HashMap;

use contracts::{CustomerId, OrderId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    parked::Parked,
    sagas::{AnySaga, Logged},
    store::{Stored, unreadable},
};

/// Adds sagas that have begun.
pub(crate) async fn insert(tx: &mut PgConnection, sagas: &[AnySaga]) -> sqlx::Result<()> {
    if sagas.is_empty() {
        return Ok(());
    }
    let Columns { ids, kinds, orders, states, instances, wake_ats } = Columns::of(sagas.iter());
    sqlx::query!(
        "-- sagas::insert
         insert into saga (id, kind, order_id, state, instance, wake_at)
         select id, kind, order_id, state, instance::json, wake_at
         from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[])
              as begun (id, kind, order_id, state, instance, wake_at)",
        &ids,
        &kinds as &[&str],
        &orders,
        &states as &[&str],
        &instances,
        &wake_ats as &[Option<jiff_sqlx::Timestamp>],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes locked sagas back. A look at one that is planned for earlier than it now needs stays planned, and will find
/// nothing due: so most updates move nothing that is indexed.
pub(crate) async fn update(tx: &mut PgConnection, sagas: impl ExactSizeIterator<Item = &AnySaga>) -> sqlx::Result<()> {
    if sagas.len() == 0 {
        return Ok(());
    }
    let Columns { ids, states, instances, wake_ats, .. } = Columns::of(sagas);
    sqlx::query!(
        "-- sagas::update
         update saga
         set state = moved.state, instance = moved.instance::json,
             wake_at = case when saga.wake_at between now() and moved.wake_at then saga.wake_at else moved.wake_at end
         from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) as moved (id, state, instance, wake_at)
         where saga.id = moved.id",
        &ids,
        &states as &[&str],
        &instances,
        &wake_ats as &[Option<jiff_sqlx::Timestamp>],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Appends to the sagas' logs.
pub(crate) async fn log(tx: &mut PgConnection, transitions: &[Logged], at: Timestamp) -> sqlx::Result<()> {
    if transitions.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = transitions.iter().map(|logged| logged.saga).collect();
    let numbers = transitions.iter().map(|logged| i32::try_from(logged.seq).map_err(unreadable));
    let numbers: Vec<i32> = numbers.collect::<sqlx::Result<_>>()?;
    let entries: Vec<&str> = transitions.iter().map(|logged| logged.entries.as_str()).collect();
    sqlx::query!(
        "-- sagas::log
         insert into saga_log (saga_id, seq, entries, at)
         select saga_id, seq, entries::json, $4
         from unnest($1::uuid[], $2::int[], $3::text[]) as transition (saga_id, seq, entries)",
        &ids,
        &numbers,
        &entries as &[&str],
        at.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The time by the database's clock, and the sagas with these ids, locked, in the order of their ids. One that cannot be
/// read back is left out: it shall not hold up the others.
pub(crate) async fn lock(tx: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<(Timestamp, Vec<AnySaga>)> {
    // The time comes in any case, so that nobody has to ask for it: a row for each saga, or one without a saga.
    let rows = sqlx::query!(
        r#"-- sagas::lock
         select now() as "now!: jiff_sqlx::Timestamp", locked.kind as "kind?", locked.instance::text as "instance?"
         from (select) as once
              left join (select kind, instance from saga where id = any($1) order by id for update) as locked on true"#,
        ids,
    )
    .fetch_all(tx)
    .await?;
    let now = rows.first().map(|row| Timestamp::from(row.now)).ok_or_else(|| unreadable("no time"))?;
    let read = |(kind, instance): (String, String)| match AnySaga::read(&kind, &instance) {
        Ok(saga) => Some(saga),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a saga that was answered cannot be read");
            None
        }
    };
    Ok((now, rows.into_iter().filter_map(|row| read(row.kind.zip(row.instance)?)).collect()))
}

/// The time by the database's clock, and the checkout of an order, locked; `None` without one. Whoever begins a
/// cancellation holds this lock, so an order gets one at most.
pub(crate) async fn lock_checkout(tx: &mut PgConnection, order: OrderId) -> sqlx::Result<Option<(Timestamp, AnySaga)>> {
    let row = sqlx::query!(
        r#"-- sagas::lock_checkout
         select now() as "now!: jiff_sqlx::Timestamp", kind, instance::text as "instance!"
         from saga where order_id = $1 and kind = 'checkout' for update"#,
        order.as_uuid(),
    )
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let saga = AnySaga::read(&row.kind, &row.instance).map_err(unreadable)?;
    Ok(Some((row.now.into(), saga)))
}

/// Whether a cancellation of the order has begun. Holds as long as its checkout is locked.
pub(crate) async fn has_cancellation(tx: &mut PgConnection, order: OrderId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"-- sagas::has_cancellation
         select exists (select from saga where order_id = $1 and kind = 'cancellation') as "begun!""#,
        order.as_uuid(),
    )
    .fetch_one(tx)
    .await
}

/// Sagas that are due, locked.
pub(crate) struct Due {
    /// The time by the database's clock.
    pub(crate) now: Timestamp,
    pub(crate) sagas: Vec<AnySaga>,
    /// Those that cannot be read back.
    pub(crate) unreadable: Vec<Uuid>,
}

/// The sagas that are due by the database's clock; `None` if there are none. Those another instance has are left out.
pub(crate) async fn lock_due(tx: &mut PgConnection, at_most: i64) -> sqlx::Result<Option<Due>> {
    let rows = sqlx::query!(
        r#"-- sagas::lock_due
         select now() as "now!: jiff_sqlx::Timestamp", id, kind, instance::text as "instance!"
         from saga where wake_at <= now() order by wake_at limit $1 for update skip locked"#,
        at_most,
    )
    .fetch_all(tx)
    .await?;
    let Some(now) = rows.first().map(|row| Timestamp::from(row.now)) else { return Ok(None) };
    let mut due = Due { now, sagas: Vec::with_capacity(rows.len()), unreadable: Vec::new() };
    for row in rows {
        match AnySaga::read(&row.kind, &row.instance) {
            Ok(saga) => due.sagas.push(saga),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(saga.id = %row.id, error, "a saga that is due cannot be read and is left out");
                due.unreadable.push(row.id);
            }
        }
    }
    Ok(Some(due))
}

/// Looks at these sagas again in a minute.
pub(crate) async fn put_off(tx: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        "-- sagas::put_off
         update saga set wake_at = now() + interval '1 minute' where id = any($1)",
        ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The parked sagas behind `after`, by their ids and so by their age. Of one that cannot be read there is the id only.
pub(crate) async fn parked(
    conn: &mut PgConnection,
    after: Uuid,
    at_most: u32,
) -> sqlx::Result<Vec<(Uuid, Option<Parked>)>> {
    let rows = sqlx::query!(
        r#"-- sagas::parked
         select id, kind, instance::text as "instance!",
                (select max(at) from saga_log where saga_id = saga.id) as "since: Stored<jiff_sqlx::Timestamp>"
         from saga where state = 'parked' and id > $1 order by id limit $2"#,
        after,
        i64::from(at_most),
    )
    .fetch_all(conn)
    .await?;
    let read = |id: Uuid, kind: &str, instance: &str, since: Option<Stored<jiff_sqlx::Timestamp>>| {
        let saga = AnySaga::read(kind, instance).map_err(unreadable)?;
        let (step, reason) = saga.parked().ok_or_else(|| unreadable("its instance is not parked"))?;
        let since = since.ok_or_else(|| unreadable("nothing is logged of it"))?.read("since")?.into();
        Ok(Parked { saga: id, kind: saga.kind(), order: saga.order(), step: step.to_owned(), reason, since })
    };
    let or_log = |id: Uuid, parked: sqlx::Result<Parked>| match parked {
        Ok(parked) => (id, Some(parked)),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(saga.id = %id, error, "a saga that is parked cannot be read and is left out");
            (id, None)
        }
    };
    Ok(rows.into_iter().map(|row| or_log(row.id, read(row.id, &row.kind, &row.instance, row.since))).collect())
}

/// How many sagas there are that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Those that wait for something.
    pub(crate) open: i64,
    /// Those that wait for an operator.
    pub(crate) parked: i64,
}

/// Counts them; the open ones up to `at_most`.
pub(crate) async fn count(conn: &mut PgConnection, at_most: i64) -> sqlx::Result<Counts> {
    sqlx::query_as!(
        Counts,
        r#"-- sagas::count
         select (select count(*) from (select from saga where wake_at is not null limit $1) as waiting) as "open!",
                (select count(*) from saga where state = 'parked') as "parked!""#,
        at_most,
    )
    .fetch_one(conn)
    .await
}

/// Counts the open ones by whose order they are about, of `at_most`. Each is looked up by itself, for there are few beside
/// all that ever were.
pub(crate) async fn count_by_customer(conn: &mut PgConnection, at_most: i64) -> sqlx::Result<HashMap<CustomerId, i64>> {
    let rows = sqlx::query!(
        r#"-- sagas::count_by_customer
         select customer_id as "customer_id!", count(*) as "open!"
         from (select (select customer_id from orders where orders.id = saga.order_id) as customer_id
               from saga where wake_at is not null limit $1) as waiting
         where customer_id is not null group by customer_id"#,
        at_most,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.customer_id.into(), row.open)).collect())
}

#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    kinds: Vec<&'static str>,
    orders: Vec<Uuid>,
    states: Vec<&'static str>,
    instances: Vec<String>,
    wake_ats: Vec<Option<jiff_sqlx::Timestamp>>,
}

impl Columns {
    fn of<'s>(sagas: impl Iterator<Item = &'s AnySaga>) -> Self {
        let mut columns = Self::default();
        for saga in sagas.map(AnySaga::stored) {
            columns.ids.push(saga.id);
            columns.kinds.push(saga.kind);
            columns.orders.push(saga.order.as_uuid());
            columns.states.push(saga.state);
            columns.instances.push(saga.instance);
            columns.wake_ats.push(saga.wake_at.map(|at| at.to_sqlx()));
        }
        columns
    }
}

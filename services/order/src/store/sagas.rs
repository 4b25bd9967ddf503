//! Sagas and their log.

use contracts::order::CancelReason;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use saga::{Ended, Instance, LogEntry, Phase};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{checkout::Checkout, store::unreadable};

/// Adds sagas that have begun.
pub(crate) async fn insert(tx: &mut PgConnection, sagas: &[Instance<Checkout>]) -> sqlx::Result<()> {
    if sagas.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = sagas.iter().map(|saga| saga.data.order().as_uuid()).collect();
    let Columns { ids, states, instances, wake_ats } = Columns::of(sagas.iter());
    sqlx::query!(
        "-- sagas::insert
         insert into saga (id, kind, order_id, state, instance, wake_at)
         select id, 'checkout', order_id, state, instance::json, wake_at
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
              as begun (id, order_id, state, instance, wake_at)",
        &ids,
        &orders,
        &states,
        &instances,
        &wake_ats as &[Option<jiff_sqlx::Timestamp>],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes locked sagas back. A look at one that is planned for earlier than it now needs stays planned, and will find
/// nothing due: so most updates move nothing that is indexed.
pub(crate) async fn update(
    tx: &mut PgConnection,
    sagas: impl ExactSizeIterator<Item = &Instance<Checkout>>,
) -> sqlx::Result<()> {
    if sagas.len() == 0 {
        return Ok(());
    }
    let Columns { ids, states, instances, wake_ats } = Columns::of(sagas);
    sqlx::query!(
        "-- sagas::update
         update saga
         set state = moved.state, instance = moved.instance::json,
             wake_at = case when saga.wake_at between now() and moved.wake_at then saga.wake_at else moved.wake_at end
         from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) as moved (id, state, instance, wake_at)
         where saga.id = moved.id",
        &ids,
        &states,
        &instances,
        &wake_ats as &[Option<jiff_sqlx::Timestamp>],
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Appends to the sagas' logs: for each transition, its saga and its entries, of which there is at least one.
pub(crate) async fn log(
    tx: &mut PgConnection,
    transitions: &[(Uuid, Vec<LogEntry<CancelReason>>)],
    at: Timestamp,
) -> sqlx::Result<()> {
    if transitions.is_empty() {
        return Ok(());
    }
    let (mut ids, mut numbers, mut entries) = (vec![], vec![], vec![]);
    for (saga, logged) in transitions {
        let Some(first) = logged.first() else { continue };
        ids.push(*saga);
        numbers.push(i32::try_from(first.seq).map_err(unreadable)?);
        entries.push(json(logged));
    }
    sqlx::query!(
        "-- sagas::log
         insert into saga_log (saga_id, seq, entries, at)
         select saga_id, seq, entries::json, $4
         from unnest($1::uuid[], $2::int[], $3::text[]) as transition (saga_id, seq, entries)",
        &ids,
        &numbers,
        &entries,
        at.to_sqlx() as jiff_sqlx::Timestamp,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The time by the database's clock, and the sagas with these ids, locked, in the order of their ids. One that cannot be
/// read back is left out: it shall not hold up the others.
pub(crate) async fn lock(tx: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<(Timestamp, Vec<Instance<Checkout>>)> {
    // The time comes in any case, so that nobody has to ask for it: a row for each saga, or one without a saga.
    let rows = sqlx::query!(
        r#"-- sagas::lock
         select now() as "now!: jiff_sqlx::Timestamp", locked.instance::text as "instance?"
         from (select) as once
              left join (select instance from saga where id = any($1) order by id for update) as locked on true"#,
        ids,
    )
    .fetch_all(tx)
    .await?;
    let now = rows.first().map(|row| Timestamp::from(row.now)).ok_or_else(|| unreadable("no time"))?;
    let read = |instance: String| match serde_json::from_str(&instance) {
        Ok(saga) => Some(saga),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a saga that was answered cannot be read");
            None
        }
    };
    Ok((now, rows.into_iter().filter_map(|row| read(row.instance?)).collect()))
}

/// Sagas that are due, locked.
pub(crate) struct Due {
    /// The time by the database's clock.
    pub(crate) now: Timestamp,
    pub(crate) sagas: Vec<Instance<Checkout>>,
    /// Those that cannot be read back.
    pub(crate) unreadable: Vec<Uuid>,
}

/// The sagas that are due by the database's clock; `None` if there are none. Those another instance has are left out.
pub(crate) async fn lock_due(tx: &mut PgConnection, at_most: i64) -> sqlx::Result<Option<Due>> {
    let rows = sqlx::query!(
        r#"-- sagas::lock_due
         select now() as "now!: jiff_sqlx::Timestamp", id, instance::text as "instance!"
         from saga where wake_at <= now() order by wake_at limit $1 for update skip locked"#,
        at_most,
    )
    .fetch_all(tx)
    .await?;
    let Some(now) = rows.first().map(|row| Timestamp::from(row.now)) else { return Ok(None) };
    let mut due = Due { now, sagas: Vec::with_capacity(rows.len()), unreadable: Vec::new() };
    for row in rows {
        match serde_json::from_str(&row.instance) {
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

/// The word for how far a saga is.
fn state(saga: &Instance<Checkout>) -> &'static str {
    match saga.phase() {
        Phase::Begun | Phase::AtPivot | Phase::PastPivot | Phase::Unwinding(_) => "running",
        Phase::Parked { .. } => "parked",
        Phase::Ended(Ended::Completed) => "completed",
        Phase::Ended(Ended::Unwound(_)) => "unwound",
    }
}

struct Columns {
    ids: Vec<Uuid>,
    states: Vec<String>,
    instances: Vec<String>,
    wake_ats: Vec<Option<jiff_sqlx::Timestamp>>,
}

impl Columns {
    fn of<'s>(sagas: impl Iterator<Item = &'s Instance<Checkout>>) -> Self {
        let mut columns = Self { ids: vec![], states: vec![], instances: vec![], wake_ats: vec![] };
        for saga in sagas {
            columns.ids.push(saga.id);
            columns.states.push(state(saga).to_owned());
            columns.instances.push(json(saga));
            columns.wake_ats.push(saga.wake_at().map(|at| at.to_sqlx()));
        }
        columns
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a saga is a plain struct, which is always JSON")
}

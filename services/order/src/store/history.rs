//! What was written down about one order.

use contracts::OrderId;
use jiff::Timestamp;
use saga::LogEntry;
use sqlx::{PgConnection, types::Json};

use crate::sagas::Refusal;

/// The logs of an order's sagas.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) checkout: Vec<LogEntry<Refusal>>,
    pub(crate) cancellation: Vec<LogEntry<Refusal>>,
}

/// When somebody first wanted the order cancelled in time, if anybody did.
pub(crate) async fn cancel_requested_at(conn: &mut PgConnection, order: OrderId) -> sqlx::Result<Option<Timestamp>> {
    let first = sqlx::query_scalar!(
        r#"-- history::cancel_requested_at
         select min(saga_log.at) as "at: jiff_sqlx::Timestamp"
         from saga join saga_log on saga_log.saga_id = saga.id
         where saga.order_id = $1
           and (saga.kind = 'cancellation' or saga_log.entries::text like '%"word":"cancel_requested"%')"#,
        order.as_uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(first.map(Timestamp::from))
}

/// What happened to the order's sagas.
pub(crate) async fn logs(conn: &mut PgConnection, order: OrderId) -> sqlx::Result<Logs> {
    let rows = sqlx::query!(
        r#"-- history::logs
         select saga.kind, saga_log.entries as "entries: Json<Vec<LogEntry<Refusal>>>"
         from saga join saga_log on saga_log.saga_id = saga.id
         where saga.order_id = $1 order by saga_log.saga_id, saga_log.seq"#,
        order.as_uuid(),
    )
    .fetch_all(conn)
    .await?;
    let mut logs = Logs::default();
    for row in rows {
        let log = if row.kind == "cancellation" { &mut logs.cancellation } else { &mut logs.checkout };
        log.extend(row.entries.0);
    }
    Ok(logs)
}

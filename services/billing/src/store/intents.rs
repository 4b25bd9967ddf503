//! The open intents.

use std::time::Duration;

use contracts::billing::PaymentToken;
use contracts::{Money, OrderId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{millis, money, unreadable};
use crate::intent::Intent;
use crate::provider::{Act, Operation, Outcome, ProviderKey, Unclear};

/// Takes away what was settled, writing down what the provider said of it, and puts down what was opened: in one
/// statement. The opened are taken, and due for others after
/// `lease`; those that are parked are due for nobody.
pub(crate) async fn replace(
    conn: &mut PgConnection,
    settled: &[(&Intent, &Outcome)],
    opened: &[Intent],
    lease: Duration,
    now: Timestamp,
) -> sqlx::Result<()> {
    if settled.is_empty() && opened.is_empty() {
        return Ok(());
    }
    let (gone, new) = (Keys::of(settled.iter().map(|(intent, _)| *intent)), Keys::of(opened));
    let done = Amounts::of(settled.iter().map(|(_, outcome)| outcome.amount()));
    let codes: Vec<Option<&str>> = settled.iter().map(|(_, outcome)| outcome.decline_code()).collect();
    let acts = || opened.iter().map(|intent| &intent.request.act);
    let asked = Amounts::of(acts().map(amount));
    let parked: Vec<Option<&str>> = opened.iter().map(|intent| intent.parked.as_deref()).collect();
    let tokens: Vec<Option<&str>> = acts().map(|act| token(act).map(PaymentToken::expose)).collect();
    sqlx::query!(
        "-- intents::replace
        with settled as (
            delete from intent using unnest($1::uuid[], $2::text[], $13::int[]) as gone (order_id, operation, attempt)
            where intent.order_id = gone.order_id and intent.operation = gone.operation
              and intent.attempt = gone.attempt
        ), said as (
            insert into payment_outcome (order_id, operation, attempt, at, amount, currency, decline_code)
            select order_id, operation, attempt, $6, amount, currency, decline_code
            from unnest($1::uuid[], $2::text[], $13::int[], $3::bigint[], $4::text[], $5::text[])
                 as said (order_id, operation, attempt, amount, currency, decline_code)
        )
        insert into intent (order_id, operation, attempt, amount, currency, token, tries, parked, next_try_at)
        select order_id, operation, attempt, amount, currency, token, 1, parked,
               case when parked is null then now() + $12::bigint * interval '1 millisecond' end
        from unnest($7::uuid[], $8::text[], $14::int[], $9::bigint[], $10::text[], $11::text[], $15::text[])
             as opened (order_id, operation, attempt, amount, currency, token, parked)",
        &gone.orders,
        &gone.operations as _,
        &done.amounts as _,
        &done.currencies as _,
        &codes as _,
        now.to_sqlx(),
        &new.orders,
        &new.operations as _,
        &asked.amounts as _,
        &asked.currencies as _,
        &tokens as _,
        millis(lease),
        &gone.attempts,
        &new.attempts,
        &parked as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up to `limit` intents that are due, the longest due first. They are due again after `lease`. What cannot be
/// read is logged and left out.
pub(crate) async fn take_due(conn: impl PgExecutor<'_>, limit: usize, lease: Duration) -> sqlx::Result<Vec<Intent>> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- intents::take_due
        update intent
        set tries = tries + 1, next_try_at = now() + $2::bigint * interval '1 millisecond'
        where (order_id, operation, attempt) in (
            select order_id, operation, attempt from intent where next_try_at <= now()
            order by next_try_at limit $1 for update skip locked
        )
        returning order_id, operation, attempt, amount, currency, token, tries"#,
        i64::try_from(limit).unwrap_or(i64::MAX),
        millis(lease),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| row.intent().inspect_err(skipped).ok()).collect())
}

/// One row that cannot be read must not hold back the others. It is due again after its lease, and said again.
fn skipped(error: &sqlx::Error) {
    tracing::error!(error = error as &dyn std::error::Error, "A due intent cannot be read and is left out.");
}

/// Makes these intents due after their delay, if they are still open and not parked. Gives back how often each was turned
/// away in a row by now. Their payments are locked.
pub(crate) async fn try_later(conn: &mut PgConnection, later: &[(&Intent, Unclear)]) -> sqlx::Result<Vec<u32>> {
    let mut times = vec![0; later.len()];
    if later.is_empty() {
        return Ok(times);
    }
    let keys = Keys::of(later.iter().map(|(intent, _)| *intent));
    let delays: Vec<i64> = later.iter().map(|(intent, _)| millis(intent.delay())).collect();
    let turned: Vec<bool> = later.iter().map(|(_, why)| matches!(why, Unclear::TurnedAway { .. })).collect();
    let put_off = sqlx::query!(
        r#"-- intents::try_later
        update intent set next_try_at = now() + later.delay * interval '1 millisecond',
                          turned_away = case when later.turned then intent.turned_away + 1 else 0 end
        from unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[], $5::bool[]) with ordinality
             as later (order_id, operation, delay, attempt, turned, place)
        where intent.order_id = later.order_id and intent.operation = later.operation
          and intent.attempt = later.attempt and intent.next_try_at is not null
        returning later.place as "place!", intent.turned_away"#,
        &keys.orders,
        &keys.operations as _,
        &delays,
        &keys.attempts,
        &turned,
    );
    for row in put_off.fetch_all(conn).await? {
        let place = usize::try_from(row.place - 1).ok().and_then(|place| times.get_mut(place));
        *place.expect("a row is of what was asked for") = row.turned_away.unsigned_abs();
    }
    Ok(times)
}

/// Parks these intents, if they are still open, each with its reason: nobody takes them until an operator says so. Their
/// payments are locked.
pub(crate) async fn park(conn: &mut PgConnection, parked: &[(&Intent, String)]) -> sqlx::Result<()> {
    if parked.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(parked.iter().map(|(intent, _)| *intent));
    let reasons: Vec<&str> = parked.iter().map(|(_, reason)| reason.as_str()).collect();
    sqlx::query!(
        "-- intents::park
        update intent set next_try_at = null, parked = now.reason
        from unnest($1::uuid[], $2::text[], $3::text[], $4::int[]) as now (order_id, operation, reason, attempt)
        where intent.order_id = now.order_id and intent.operation = now.operation and intent.attempt = now.attempt",
        &keys.orders,
        &keys.operations as _,
        &reasons as _,
        &keys.attempts,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the parked intents of `order` due now, as if they had never been turned away. Gives back how many there were.
pub(crate) async fn resume(conn: impl PgExecutor<'_>, order: OrderId) -> sqlx::Result<u64> {
    let resumed = sqlx::query!(
        "-- intents::resume
        update intent set next_try_at = now(), parked = null, turned_away = 0
        where order_id = $1 and parked is not null",
        order.as_uuid(),
    )
    .execute(conn)
    .await?;
    Ok(resumed.rows_affected())
}

/// Makes this intent due now, if it is open, not parked, and due later. Gives back whether it was.
pub(crate) async fn due_now(
    conn: impl PgExecutor<'_>,
    order: OrderId,
    operation: &str,
    attempt: i32,
) -> sqlx::Result<bool> {
    let moved = sqlx::query!(
        "-- intents::due_now
        update intent set next_try_at = now()
        where order_id = $1 and operation = $2 and attempt = $3 and next_try_at > now()",
        order.as_uuid(),
        operation,
        attempt,
    )
    .execute(conn)
    .await?;
    Ok(moved.rows_affected() > 0)
}

/// An open intent as the row has it.
#[derive(Debug)]
pub(crate) struct StoredIntent {
    pub(crate) operation: String,
    pub(crate) key: String,
    pub(crate) tries: i32,
    /// None while it is parked.
    pub(crate) next_try_at: Option<Timestamp>,
    /// Why an operator must look.
    pub(crate) parked: Option<String>,
}

/// The open intents of `order`.
pub(crate) async fn of_order(conn: impl PgExecutor<'_>, order: OrderId) -> sqlx::Result<Vec<StoredIntent>> {
    let rows = sqlx::query!(
        "-- intents::of_order
        select operation, attempt, tries, next_try_at, parked from intent where order_id = $1
        order by operation, attempt",
        order.as_uuid(),
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| StoredIntent {
        key: format!("{order}:{}:{}", row.operation, row.attempt),
        operation: row.operation,
        tries: row.tries,
        next_try_at: row.next_try_at.map(|at| at.to_jiff()),
        parked: row.parked,
    });
    Ok(stored.collect())
}

/// An intent that waits for an operator.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) order: OrderId,
    pub(crate) operation: String,
    pub(crate) attempt: i32,
    pub(crate) tries: i32,
    /// Why it waits.
    pub(crate) reason: String,
}

impl Parked {
    /// What the provider knows it by.
    pub(crate) fn key(&self) -> String {
        format!("{}:{}:{}", self.order, self.operation, self.attempt)
    }
}

/// At most `limit` intents that wait for an operator, by their primary key, behind `after`. Few intents are open at once,
/// so none needs to be found by an index.
pub(crate) async fn parked(
    conn: impl PgExecutor<'_>,
    after: Option<(OrderId, String, i32)>,
    limit: u32,
) -> sqlx::Result<Vec<Parked>> {
    let (order, operation, attempt) = after
        .map_or((Uuid::nil(), String::new(), 0), |(order, operation, attempt)| (order.as_uuid(), operation, attempt));
    let rows = sqlx::query!(
        r#"-- intents::parked
        select order_id, operation, attempt, tries, parked as "reason!" from intent
        where parked is not null and (order_id, operation, attempt) > ($1, $2, $3)
        order by order_id, operation, attempt limit $4"#,
        order,
        operation,
        attempt,
        i64::from(limit),
    );
    let rows = rows.fetch_all(conn).await?.into_iter().map(|row| Parked {
        order: row.order_id.into(),
        operation: row.operation,
        attempt: row.attempt,
        tries: row.tries,
        reason: row.reason,
    });
    Ok(rows.collect())
}

/// How many orders have a payment that waits for an operator.
pub(crate) async fn count_parked(conn: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"-- intents::count_parked
        select count(distinct order_id) as "orders!" from intent where parked is not null"#
    )
    .fetch_one(conn)
    .await
}

struct Row {
    order_id: Uuid,
    operation: String,
    attempt: i32,
    amount: Option<i64>,
    currency: Option<String>,
    token: Option<String>,
    tries: i32,
}

impl Row {
    fn intent(self) -> sqlx::Result<Intent> {
        let Self { order_id, tries, .. } = self;
        let order = OrderId::from(order_id);
        let whole = |what| unreadable(order_id, what);
        let said = self.amount.zip(self.currency.as_deref());
        let amount = said.map(|(amount, code)| money(order_id, amount, code)).transpose()?;
        let token = self.token.map(PaymentToken::try_from).transpose().map_err(|_| whole("its token is none"))?;
        let authorization = ProviderKey::of(order, Operation::Authorize);
        let number = u32::try_from(self.attempt).map_err(|_| whole("its attempt is none"))?;
        let act = match (self.operation.as_str(), amount, token) {
            ("authorize", Some(amount), Some(token)) => Act::Authorize { amount, token },
            ("void", _, _) => Act::Void { authorization },
            ("capture", Some(amount), _) => Act::Capture { authorization, amount },
            (Act::REFUND, Some(amount), _) => Act::Refund { authorization, amount, number },
            _ => return Err(whole("it has no whole intent")),
        };
        let tries = u32::try_from(tries).unwrap_or(u32::MAX);
        Ok(Intent { tries, ..Intent::new(order, act) })
    }
}

/// Intents as the columns of their primary key.
#[derive(Default)]
struct Keys {
    orders: Vec<Uuid>,
    operations: Vec<&'static str>,
    attempts: Vec<i32>,
}

impl Keys {
    fn of<'i>(intents: impl IntoIterator<Item = &'i Intent>) -> Self {
        let mut keys = Self::default();
        for Intent { request, .. } in intents {
            keys.orders.push(request.order.as_uuid());
            keys.operations.push(request.act.name());
            keys.attempts.push(i32::try_from(request.act.attempt()).unwrap_or(i32::MAX));
        }
        keys
    }
}

/// Amounts as two columns.
#[derive(Default)]
struct Amounts {
    amounts: Vec<Option<i64>>,
    currencies: Vec<Option<&'static str>>,
}

impl Amounts {
    fn of(all: impl Iterator<Item = Option<Money>>) -> Self {
        let mut columns = Self::default();
        for amount in all {
            columns.amounts.push(amount.map(|amount| amount.amount));
            columns.currencies.push(amount.map(|amount| amount.currency.code()));
        }
        columns
    }
}

fn amount(act: &Act) -> Option<Money> {
    match act {
        Act::Authorize { amount, .. } | Act::Capture { amount, .. } | Act::Refund { amount, .. } => Some(*amount),
        Act::Void { .. } => None,
    }
}

fn token(act: &Act) -> Option<&PaymentToken> {
    match act {
        Act::Authorize { token, .. } => Some(token),
        Act::Void { .. } | Act::Capture { .. } | Act::Refund { .. } => None,
    }
}

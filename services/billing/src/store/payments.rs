//! The rows of payments.

use std::collections::BTreeMap;

use contracts::order::OrderLine;
use contracts::{CustomerId, OrderId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{json, money, refunds, unreadable};
use crate::payment::Payment;
use crate::record::CommandRecord;
use crate::state::State;
use crate::terms::Terms;

/// The payments of `orders`, locked in the order of their ids so that no two transactions wait for each other. An order
/// that has none gets [`Payment::none`], and no lock: who writes its row first is settled by [`save`].
pub(crate) async fn lock(
    conn: &mut PgConnection,
    orders: impl IntoIterator<Item = OrderId>,
) -> sqlx::Result<BTreeMap<OrderId, Payment>> {
    let mut payments: BTreeMap<OrderId, Payment> =
        orders.into_iter().map(|order| (order, Payment::none(order))).collect();
    if payments.is_empty() {
        return Ok(payments);
    }
    let ids: Vec<Uuid> = payments.keys().map(|order| order.as_uuid()).collect();
    let rows = sqlx::query!(
        r#"-- payments::lock
        select order_id, state, customer_id, amount, currency, lines as "lines: Json<Vec<OrderLine>>",
               commands as "commands: Json<Vec<CommandRecord>>", closed, version
        from payment where order_id = any($1) order by order_id for update"#,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in rows {
        let payment = Payment {
            order: row.order_id.into(),
            state: state(row.order_id, &row.state)?,
            terms: terms(row.order_id, row.customer_id, row.amount.zip(row.currency), row.lines)?,
            commands: row.commands.0,
            refunds: Vec::new(),
            closed: row.closed,
            version: row.version,
        };
        payments.insert(payment.order, payment);
    }
    // A statement of its own, once the payments are locked: it sees what whoever had them before has done.
    let captured = payments.values().filter(|payment| payment.state.was_captured()).map(|payment| payment.order);
    for refund in refunds::of_orders(conn, &captured.collect::<Vec<_>>()).await? {
        payments.entry(refund.order).and_modify(|payment| payment.refunds.push(refund));
    }
    Ok(payments)
}

/// Locks the payment of `order` as it stands, whether it can be read or not.
pub(crate) async fn hold(conn: &mut PgConnection, order: OrderId) -> sqlx::Result<()> {
    sqlx::query!(
        "-- payments::hold
        select from payment where order_id = $1 for update",
        order.as_uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Somebody else has written what was about to be written, from a state that nobody is in any more.
#[derive(Debug, thiserror::Error)]
#[error("another transaction was the first to write a payment: this one must read it")]
struct Overtaken;

/// Writes `payments`, which are locked, but for those that have no row yet. Two transactions can have found none, for the
/// commands and the events of an order come on two topics; the second fails, and shall be tried again.
pub(crate) async fn save<'p>(
    conn: &mut PgConnection,
    payments: impl IntoIterator<Item = &'p Payment>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let mut rows = PaymentRows::default();
    for payment in payments {
        rows.push(payment);
    }
    if rows.orders.is_empty() {
        return Ok(());
    }
    let written = sqlx::query!(
        "-- payments::save
        insert into payment as stored
            (order_id, state, customer_id, amount, currency, lines, commands, closed, created_at, updated_at, version)
        select order_id, state, customer_id, amount, currency, lines::json, commands, closed, $7, $7, version + 1
        from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::jsonb[], $8::text[], $9::bool[],
                    $10::int[])
             as p (order_id, state, customer_id, amount, currency, commands, lines, closed, version)
        on conflict (order_id) do update set
            state = excluded.state, commands = excluded.commands, closed = excluded.closed,
            updated_at = excluded.updated_at, version = excluded.version
            where stored.version = excluded.version - 1",
        &rows.orders,
        &rows.states as _,
        &rows.customers as _,
        &rows.amounts as _,
        &rows.currencies as _,
        &rows.commands as _,
        now.to_sqlx(),
        &rows.lines as _,
        &rows.closed,
        &rows.versions,
    );
    let written = written.execute(conn).await?.rows_affected();
    // None of the SQLSTATEs that speak against a message.
    if written == rows.orders.len() as u64 { Ok(()) } else { Err(sqlx::Error::Encode(Overtaken.into())) }
}

/// These payments, which are locked, held something when their orders were cancelled.
pub(crate) async fn mark_late(conn: &mut PgConnection, orders: &[OrderId]) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = orders.iter().map(|order| order.as_uuid()).collect();
    sqlx::query!(
        "-- payments::mark_late
        update payment set late_cleanup = true where order_id = any($1)",
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A payment as its row has it, without its refunds, with what only the row knows.
#[derive(Debug)]
pub(crate) struct StoredPayment {
    pub(crate) payment: Payment,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// The payment of `order`.
pub(crate) async fn find(conn: impl PgExecutor<'_>, order: OrderId) -> sqlx::Result<Option<StoredPayment>> {
    let row = sqlx::query!(
        r#"-- payments::find
        select order_id, state, customer_id, amount, currency, lines as "lines: Json<Vec<OrderLine>>",
               commands as "commands: Json<Vec<CommandRecord>>", closed, created_at, updated_at, version
        from payment where order_id = $1"#,
        order.as_uuid(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let payment = Payment {
        order,
        state: state(row.order_id, &row.state)?,
        terms: terms(row.order_id, row.customer_id, row.amount.zip(row.currency), row.lines)?,
        commands: row.commands.0,
        refunds: Vec::new(),
        closed: row.closed,
        version: row.version,
    };
    Ok(Some(StoredPayment { payment, created_at: row.created_at.to_jiff(), updated_at: row.updated_at.to_jiff() }))
}

/// Payments as the columns of [`save`].
#[derive(Default)]
struct PaymentRows<'p> {
    orders: Vec<Uuid>,
    states: Vec<&'static str>,
    customers: Vec<Option<Uuid>>,
    amounts: Vec<Option<i64>>,
    currencies: Vec<Option<&'static str>>,
    lines: Vec<Option<String>>,
    commands: Vec<Json<&'p [CommandRecord]>>,
    closed: Vec<bool>,
    versions: Vec<i32>,
}

impl<'p> PaymentRows<'p> {
    fn push(&mut self, payment: &'p Payment) {
        self.orders.push(payment.order.as_uuid());
        self.states.push(payment.state.name());
        let terms = payment.terms.as_ref();
        self.customers.push(terms.map(|terms| terms.customer().as_uuid()));
        self.amounts.push(terms.map(|terms| terms.amount().amount));
        self.currencies.push(terms.map(|terms| terms.amount().currency.code()));
        self.lines.push(terms.map(|terms| json(terms.lines())));
        self.commands.push(Json(&payment.commands));
        self.closed.push(payment.closed);
        self.versions.push(payment.version);
    }
}

pub(super) fn state(order: Uuid, name: &str) -> sqlx::Result<State> {
    let known = State::ALL.into_iter().find(|state| state.name() == name);
    known.ok_or_else(|| unreadable(order, "its state is unknown"))
}

pub(super) fn terms(
    order: Uuid,
    customer: Option<Uuid>,
    amount: Option<(i64, String)>,
    lines: Option<Json<Vec<OrderLine>>>,
) -> sqlx::Result<Option<Terms>> {
    let Some(((customer, (amount, currency)), Json(lines))) = customer.zip(amount).zip(lines) else { return Ok(None) };
    let terms = Terms::new(CustomerId::from(customer), money(order, amount, &currency)?, lines);
    terms.map(Some).ok_or_else(|| unreadable(order, "its lines do not add up"))
}

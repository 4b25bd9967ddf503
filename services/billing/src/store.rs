//! All SQL of this service. Functions that change anything take the connection of the transaction they belong to.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::billing::PaymentToken;
use contracts::{Currency, CustomerId, Money, OrderId};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::intent::Intent;
use crate::ledger::LedgerEntry;
use crate::payment::{CommandRecord, Payment, Terms};
use crate::provider::ProviderKey;
use crate::state::State;

/// A row says what no row can: somebody else has written it, or a version that knows more than this one.
#[derive(Debug, thiserror::Error)]
#[error("payment {order} cannot be read: {what}")]
struct Unreadable {
    order: Uuid,
    what: &'static str,
}

/// The payments of `orders`, locked in the order of their ids so that no two transactions wait for each other. An order
/// that has none gets [`Payment::none`]; who may write it first is settled elsewhere, by the lock on the offset.
pub(crate) async fn lock_payments(
    conn: &mut PgConnection,
    orders: impl IntoIterator<Item = OrderId>,
) -> sqlx::Result<BTreeMap<OrderId, Payment>> {
    let mut payments: BTreeMap<OrderId, Payment> =
        orders.into_iter().map(|order| (order, Payment::none(order))).collect();
    let ids: Vec<Uuid> = payments.keys().map(|order| order.as_uuid()).collect();
    let rows = sqlx::query!(
        r#"-- lock_payments
        select order_id, state, customer_id, amount, currency, token, commands as "commands: Json<Vec<CommandRecord>>"
        from payment where order_id = any($1) order by order_id for update"#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let payment = Payment {
            order: row.order_id.into(),
            state: state(row.order_id, &row.state)?,
            terms: terms(row.order_id, row.customer_id, row.amount, row.currency)?,
            token: token(row.order_id, row.token)?,
            commands: row.commands.0,
        };
        payments.insert(payment.order, payment);
    }
    Ok(payments)
}

/// Writes `payments`, which are locked. An intent that is new in the row counts as taken once, and is due for others
/// after `lease`; one that was there stays as it is.
pub(crate) async fn save_payments<'p>(
    conn: &mut PgConnection,
    payments: impl IntoIterator<Item = &'p Payment>,
    lease: Duration,
    now: Timestamp,
) -> sqlx::Result<()> {
    let mut rows = PaymentRows::default();
    for payment in payments {
        rows.push(payment);
    }
    if rows.orders.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- save_payments
        insert into payment as stored
            (order_id, state, customer_id, amount, currency, token, commands, intent_key,
             intent_tries, intent_next_try_at, created_at, updated_at, version)
        select order_id, state, customer_id, amount, currency, token, commands, intent_key,
               case when intent_key is not null then 1 end,
               case when intent_key is not null then now() + $9::bigint * interval '1 millisecond' end,
               $10, $10, 1
        from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::jsonb[], $8::text[])
             as p (order_id, state, customer_id, amount, currency, token, commands, intent_key)
        on conflict (order_id) do update set
            state = excluded.state, customer_id = excluded.customer_id, amount = excluded.amount,
            currency = excluded.currency, token = excluded.token, commands = excluded.commands,
            intent_key = excluded.intent_key,
            intent_tries = case when excluded.intent_key = stored.intent_key
                           then stored.intent_tries else excluded.intent_tries end,
            intent_next_try_at = case when excluded.intent_key = stored.intent_key
                                 then stored.intent_next_try_at else excluded.intent_next_try_at end,
            updated_at = excluded.updated_at, version = stored.version + 1",
        &rows.orders,
        &rows.states as _,
        &rows.customers as _,
        &rows.amounts as _,
        &rows.currencies as _,
        &rows.tokens as _,
        &rows.commands as _,
        &rows.keys as _,
        millis(lease),
        now.to_sqlx(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Books `entries`.
pub(crate) async fn insert_entries(conn: &mut PgConnection, entries: &[LedgerEntry]) -> sqlx::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = entries.iter().map(|_| Uuid::now_v7()).collect();
    let orders: Vec<Uuid> = entries.iter().map(|entry| entry.order.as_uuid()).collect();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.name()).collect();
    let ats: Vec<jiff_sqlx::Timestamp> = entries.iter().map(|entry| entry.at.to_sqlx()).collect();
    sqlx::query!(
        "-- insert_entries
        insert into ledger_entry (id, order_id, kind, at)
        select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])",
        &ids,
        &orders,
        &kinds as _,
        &ats as _,
    )
    .execute(&mut *conn)
    .await?;
    insert_postings(conn, &ids, entries).await
}

async fn insert_postings(conn: &mut PgConnection, ids: &[Uuid], entries: &[LedgerEntry]) -> sqlx::Result<()> {
    let lines = || {
        let entries = ids.iter().zip(entries);
        entries.flat_map(|(id, entry)| (1_i32..).zip(&entry.postings).map(|(line, posting)| (*id, line, posting)))
    };
    let entry_ids: Vec<Uuid> = lines().map(|(id, _, _)| id).collect();
    let numbers: Vec<i32> = lines().map(|(_, line, _)| line).collect();
    let accounts: Vec<&str> = lines().map(|(_, _, posting)| posting.account.name()).collect();
    let amounts: Vec<i64> = lines().map(|(_, _, posting)| posting.amount.amount).collect();
    let currencies: Vec<&str> = lines().map(|(_, _, posting)| posting.amount.currency.code()).collect();
    sqlx::query!(
        "-- insert_postings
        insert into ledger_posting (entry_id, line, account, amount, currency)
        select * from unnest($1::uuid[], $2::int[], $3::text[], $4::bigint[], $5::text[])",
        &entry_ids,
        &numbers,
        &accounts as _,
        &amounts,
        &currencies as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up to `limit` intents that are due, the longest due first. They are due again after `lease`. What cannot be
/// read is logged and left out.
pub(crate) async fn take_due(conn: impl PgExecutor<'_>, limit: usize, lease: Duration) -> sqlx::Result<Vec<Intent>> {
    let rows = sqlx::query!(
        r#"-- take_due
        update payment
        set intent_tries = intent_tries + 1, intent_next_try_at = now() + $2::bigint * interval '1 millisecond'
        where order_id in (
            select order_id from payment where intent_next_try_at <= now()
            order by intent_next_try_at limit $1 for update skip locked
        )
        returning order_id, state, intent_tries as "tries!", amount as "amount!", currency as "currency!", token"#,
        i64::try_from(limit).unwrap_or(i64::MAX),
        millis(lease),
    )
    .fetch_all(conn)
    .await?;
    let intents = rows.into_iter().map(|row| {
        let operation = state(row.order_id, &row.state)?.operation();
        let amount = money(row.order_id, row.amount, &row.currency)?;
        let token = token(row.order_id, row.token)?;
        let tries = u32::try_from(row.tries).unwrap_or(u32::MAX);
        let intent = operation.and_then(|operation| Intent::new(row.order_id.into(), operation, amount, token, tries));
        intent.ok_or_else(|| sqlx::Error::decode(Unreadable { order: row.order_id, what: "it has no whole intent" }))
    });
    Ok(intents.filter_map(|intent| intent.inspect_err(skipped).ok()).collect())
}

/// One row that cannot be read must not hold back the others. It is due again after its lease, and said again.
fn skipped(error: &sqlx::Error) {
    tracing::error!(error = error as &dyn std::error::Error, "A due intent cannot be read and is left out.");
}

/// Makes these intents due after these times, if they are still open. Their payments are locked.
pub(crate) async fn try_later(conn: &mut PgConnection, later: &[(&Intent, Duration)]) -> sqlx::Result<()> {
    if later.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = later.iter().map(|(intent, _)| intent.order.as_uuid()).collect();
    let keys: Vec<String> = later.iter().map(|(intent, _)| intent.request.key.as_str().to_owned()).collect();
    let delays: Vec<i64> = later.iter().map(|(_, delay)| millis(*delay)).collect();
    sqlx::query!(
        "-- try_later
        update payment set intent_next_try_at = now() + later.delay * interval '1 millisecond'
        from unnest($1::uuid[], $2::text[], $3::bigint[]) as later (order_id, key, delay)
        where payment.order_id = later.order_id and payment.intent_key = later.key",
        &orders,
        &keys,
        &delays,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A payment as its row has it, with what only the row knows.
#[derive(Debug)]
pub(crate) struct StoredPayment {
    pub(crate) payment: Payment,
    pub(crate) intent: Option<StoredIntent>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) version: i32,
}

/// The open intent as the row has it.
#[derive(Debug)]
pub(crate) struct StoredIntent {
    pub(crate) key: String,
    pub(crate) tries: i32,
    pub(crate) next_try_at: Timestamp,
}

/// The payment of `order`, without its token.
pub(crate) async fn find_payment(conn: impl PgExecutor<'_>, order: OrderId) -> sqlx::Result<Option<StoredPayment>> {
    let row = sqlx::query!(
        r#"-- find_payment
        select order_id, state, customer_id, amount, currency, commands as "commands: Json<Vec<CommandRecord>>",
               intent_key, intent_tries, intent_next_try_at, created_at, updated_at, version
        from payment where order_id = $1"#,
        order.as_uuid(),
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let intent = row.intent_key.zip(row.intent_tries).zip(row.intent_next_try_at);
    let payment = Payment {
        order,
        state: state(row.order_id, &row.state)?,
        terms: terms(row.order_id, row.customer_id, row.amount, row.currency)?,
        token: None,
        commands: row.commands.0,
    };
    Ok(Some(StoredPayment {
        payment,
        intent: intent.map(|((key, tries), at)| StoredIntent { key, tries, next_try_at: at.to_jiff() }),
        created_at: row.created_at.to_jiff(),
        updated_at: row.updated_at.to_jiff(),
        version: row.version,
    }))
}

/// What one account holds in one currency. Unit: minor units of the currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountBalance {
    pub(crate) account: String,
    pub(crate) currency: String,
    /// The sum of all debits.
    pub(crate) debits: i64,
    /// The sum of all credits, as a positive number.
    pub(crate) credits: i64,
}

/// Every account that has postings, in every currency it has them in.
pub(crate) async fn trial_balance(conn: impl PgExecutor<'_>) -> sqlx::Result<Vec<AccountBalance>> {
    sqlx::query_as!(
        AccountBalance,
        r#"-- trial_balance
        select account, currency,
               coalesce(sum(amount) filter (where amount > 0), 0)::bigint as "debits!",
               coalesce(-sum(amount) filter (where amount < 0), 0)::bigint as "credits!"
        from ledger_posting group by account, currency order by account, currency"#,
    )
    .fetch_all(conn)
    .await
}

/// Payments as the columns of [`save_payments`].
#[derive(Default)]
struct PaymentRows<'p> {
    orders: Vec<Uuid>,
    states: Vec<&'static str>,
    customers: Vec<Option<Uuid>>,
    amounts: Vec<Option<i64>>,
    currencies: Vec<Option<&'static str>>,
    tokens: Vec<Option<&'p str>>,
    commands: Vec<Json<&'p [CommandRecord]>>,
    keys: Vec<Option<String>>,
}

impl<'p> PaymentRows<'p> {
    fn push(&mut self, payment: &'p Payment) {
        let key = payment.state.operation().map(|operation| ProviderKey::of(payment.order, operation));
        self.orders.push(payment.order.as_uuid());
        self.states.push(payment.state.name());
        self.customers.push(payment.terms.map(|terms| terms.customer.as_uuid()));
        self.amounts.push(payment.terms.map(|terms| terms.amount.amount));
        self.currencies.push(payment.terms.map(|terms| terms.amount.currency.code()));
        self.tokens.push(payment.token.as_ref().map(PaymentToken::expose));
        self.commands.push(Json(&payment.commands));
        self.keys.push(key.map(|key| key.as_str().to_owned()));
    }
}

fn state(order: Uuid, name: &str) -> sqlx::Result<State> {
    let known = State::ALL.into_iter().find(|state| state.name() == name);
    known.ok_or_else(|| sqlx::Error::decode(Unreadable { order, what: "its state is unknown" }))
}

fn terms(
    order: Uuid,
    customer: Option<Uuid>,
    amount: Option<i64>,
    currency: Option<String>,
) -> sqlx::Result<Option<Terms>> {
    let Some(((customer, amount), currency)) = customer.zip(amount).zip(currency) else { return Ok(None) };
    Ok(Some(Terms { customer: CustomerId::from(customer), amount: money(order, amount, &currency)? }))
}

fn money(order: Uuid, amount: i64, code: &str) -> sqlx::Result<Money> {
    let currency = Currency::from_code(code);
    let currency =
        currency.ok_or_else(|| sqlx::Error::decode(Unreadable { order, what: "its currency is unknown" }))?;
    Ok(Money::new(amount, currency))
}

fn token(order: Uuid, token: Option<String>) -> sqlx::Result<Option<PaymentToken>> {
    let known = token.map(PaymentToken::try_from).transpose();
    known.map_err(|_| sqlx::Error::decode(Unreadable { order, what: "its token is none" }))
}

/// Unit: milliseconds, as the statements want it.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

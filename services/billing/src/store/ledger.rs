//! The ledger's rows.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use jiff_sqlx::ToSqlx;

use crate::ledger::LedgerEntry;

/// Books `entries`.
pub(crate) async fn insert(conn: &mut PgConnection, entries: &[LedgerEntry]) -> sqlx::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = entries.iter().map(|_| Uuid::now_v7()).collect();
    let orders: Vec<Uuid> = entries.iter().map(|entry| entry.order.as_uuid()).collect();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.name()).collect();
    let ats: Vec<jiff_sqlx::Timestamp> = entries.iter().map(|entry| entry.at.to_sqlx()).collect();
    sqlx::query!(
        "-- ledger::insert
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
        "-- ledger::insert_postings
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
        r#"-- ledger::trial_balance
        select account, currency,
               coalesce(sum(amount) filter (where amount > 0), 0)::bigint as "debits!",
               coalesce(-sum(amount) filter (where amount < 0), 0)::bigint as "credits!"
        from ledger_posting group by account, currency order by account, currency"#,
    )
    .fetch_all(conn)
    .await
}

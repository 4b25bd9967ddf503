//! The ledger's rows.

use contracts::vat::VatRate;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::ledger::{LedgerEntry, Link};

/// Adds `entries` to the end of the chain, which nobody else can then until the transaction ends: call it last.
pub(crate) async fn append(conn: &mut PgConnection, entries: &[LedgerEntry]) -> sqlx::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let end = sqlx::query!(
        r#"-- ledger::append: the end of the chain
        select seq, hash from ledger_end()"#
    );
    let end = end.fetch_one(&mut *conn).await?;
    let mut end = end.seq.zip(end.hash).map(|(seq, hash)| Link { seq, hash });
    let mut rows = Rows::default();
    for entry in entries {
        let link = entry.link(end.as_ref());
        rows.push(entry, &link);
        end = Some(link);
    }
    sqlx::query!(
        "-- ledger::append
        with entry as (
            insert into ledger_entry (seq, order_id, kind, number, at, hash)
            select * from unnest($1::bigint[], $2::uuid[], $3::text[], $4::int[], $5::timestamptz[], $6::bytea[])
        )
        insert into ledger_posting (seq, line, account, amount, currency, vat_rate)
        select * from unnest($7::bigint[], $8::int[], $9::text[], $10::bigint[], $11::text[], $12::int[])",
        &rows.seqs,
        &rows.orders,
        &rows.kinds as _,
        &rows.numbers,
        &rows.ats as _,
        &rows.hashes,
        &rows.posting_seqs,
        &rows.lines,
        &rows.accounts as _,
        &rows.amounts,
        &rows.currencies as _,
        &rows.rates as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Entries and their postings as the columns of [`append`].
#[derive(Default)]
struct Rows {
    seqs: Vec<i64>,
    orders: Vec<Uuid>,
    kinds: Vec<&'static str>,
    numbers: Vec<i32>,
    ats: Vec<jiff_sqlx::Timestamp>,
    hashes: Vec<Vec<u8>>,
    posting_seqs: Vec<i64>,
    lines: Vec<i32>,
    accounts: Vec<&'static str>,
    amounts: Vec<i64>,
    currencies: Vec<&'static str>,
    rates: Vec<Option<i32>>,
}

impl Rows {
    fn push(&mut self, entry: &LedgerEntry, link: &Link) {
        self.seqs.push(link.seq);
        self.orders.push(entry.order.as_uuid());
        self.kinds.push(entry.kind.name());
        self.numbers.push(i32::try_from(entry.number).unwrap_or(i32::MAX));
        self.ats.push(entry.at.to_sqlx());
        self.hashes.push(link.hash.clone());
        for (line, posting) in (1..).zip(&entry.postings) {
            self.posting_seqs.push(link.seq);
            self.lines.push(line);
            self.accounts.push(posting.account.name());
            self.amounts.push(posting.amount.amount);
            self.currencies.push(posting.amount.currency.code());
            let rate = posting.account.vat_rate();
            self.rates.push(rate.map(|VatRate(rate)| i32::try_from(rate).unwrap_or(i32::MAX)));
        }
    }
}

/// What one account holds in one currency, at one rate of VAT where that makes a difference. Unit: minor units of the
/// currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountBalance {
    pub(crate) account: String,
    pub(crate) currency: String,
    /// Unit: hundredths of a percent.
    pub(crate) vat_rate: Option<i32>,
    /// The sum of all debits. Each fits 64 bits, but not all of them together.
    pub(crate) debits: i128,
    /// The sum of all credits, as a positive number.
    pub(crate) credits: i128,
}

/// Every account that has postings, in every currency it has them in, folded up to and with `as_of`; without it, all.
pub(crate) async fn trial_balance(
    conn: impl PgExecutor<'_>,
    as_of: Option<Timestamp>,
) -> sqlx::Result<Vec<AccountBalance>> {
    // Nothing was booked before, and the database's calendar does not go back as far as ours.
    let as_of = as_of.map(|as_of| as_of.max(Timestamp::UNIX_EPOCH));
    let rows = sqlx::query!(
        r#"-- ledger::trial_balance
        select account, currency, vat_rate,
               coalesce(sum(amount) filter (where amount > 0), 0)::text as "debits!",
               coalesce(-sum(amount) filter (where amount < 0), 0)::text as "credits!"
        from ledger_posting join ledger_entry using (seq)
        where $1::timestamptz is null or at <= $1
        group by account, currency, vat_rate order by account, currency, vat_rate"#,
        as_of.map(|as_of| as_of.to_sqlx()) as _,
    )
    .fetch_all(conn)
    .await?;
    let sum = |text: String| text.parse::<i128>().map_err(sqlx::Error::decode);
    let balance = |(account, currency, vat_rate, debits, credits)| {
        Ok(AccountBalance { account, currency, vat_rate, debits: sum(debits)?, credits: sum(credits)? })
    };
    rows.into_iter().map(|row| balance((row.account, row.currency, row.vat_rate, row.debits, row.credits))).collect()
}

//! What the database itself refuses.

use sqlx::{AssertSqlSafe, PgPool};

use crate::bench::{Bench, HANDED_OVER_ONLY};

const ENTRY: &str = "insert into ledger_entry values ('00000000-0000-7000-8000-00000000000a', \
                     '00000000-0000-7000-8000-00000000000b', 'capture', now());";

/// Runs `sql`, which is one transaction, and gives the constraint it breaks, if any.
async fn broken_by(pool: &PgPool, sql: &str) -> Option<String> {
    let result = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await;
    let error = result.err()?;
    let error = error.as_database_error().unwrap();
    assert_eq!(error.code().as_deref(), Some("23514"), "{error}");
    Some(error.constraint().unwrap().to_owned())
}

fn postings(lines: &[(i32, i64, &str)]) -> String {
    let line = |(line, amount, currency): &(i32, i64, &str)| {
        format!("('00000000-0000-7000-8000-00000000000a', {line}, 'provider_receivable', {amount}, '{currency}')")
    };
    let lines: Vec<String> = lines.iter().map(line).collect();
    format!("insert into ledger_posting values {};", lines.join(", "))
}

#[tokio::test]
async fn the_database_takes_no_entry_that_does_not_sum_to_zero_per_currency() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    for wrong in [&[(1, 5, "EUR"), (2, -4, "EUR")][..], &[(1, 5, "EUR"), (2, -5, "JPY")], &[(1, 5, "EUR")]] {
        let broken = broken_by(&bench.pool, &format!("{ENTRY} {}", postings(wrong))).await;
        assert_eq!(broken.as_deref(), Some("ledger_must_balance"), "{wrong:?}");
    }
    let right = postings(&[(1, 5, "EUR"), (2, -3, "EUR"), (3, -2, "EUR"), (4, 7, "JPY"), (5, -7, "JPY")]);
    assert_eq!(broken_by(&bench.pool, &format!("{ENTRY} {right}")).await, None);
    let added = broken_by(&bench.pool, &postings(&[(6, 1, "EUR")])).await;
    assert_eq!(added.as_deref(), Some("ledger_must_balance"), "a later posting unbalances the entry too");
}

#[tokio::test]
async fn the_ledger_is_append_only() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    assert_eq!(broken_by(&bench.pool, &format!("{ENTRY} {}", postings(&[(1, 5, "EUR"), (2, -5, "EUR")]))).await, None);
    for change in [
        "update ledger_posting set amount = 0;",
        "delete from ledger_posting;",
        "truncate ledger_posting;",
        "update ledger_entry set at = now();",
        "delete from ledger_entry;",
    ] {
        assert_eq!(broken_by(&bench.pool, change).await.as_deref(), Some("ledger_is_append_only"), "{change}");
    }
    assert_eq!(bench.count("select count(*) from ledger_posting").await, 2);
}

//! What the database itself refuses, and what the chain tells.

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

use crate::bench::{Bench, HANDED_OVER_ONLY, Order};

const ENTRY: &str = "insert into ledger_entry
                     values (7, '00000000-0000-7000-8000-00000000000b', 'capture', 1, now(), sha256(''));";

const CHANGES: [&str; 14] = [
    "update ledger_posting set amount = 0",
    "update ledger_posting set vat_rate = 0 where account = 'vat_payable'",
    "delete from ledger_posting where account = 'vat_payable'",
    "delete from ledger_posting",
    "truncate ledger_posting",
    "update ledger_entry set hash = sha256('')",
    "delete from ledger_entry",
    "truncate ledger_entry",
    "update payment_outcome set decline_code = 'no'",
    "delete from payment_outcome",
    "truncate payment_outcome",
    "update invoice set facts = '{}'",
    "delete from invoice",
    "truncate invoice",
];

/// Runs `sql`, which is one transaction, and gives the error code and the constraint it breaks, if any.
async fn refused(pool: &PgPool, sql: &str) -> Option<(String, Option<String>)> {
    let result = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await;
    let error = result.err()?;
    let error = error.as_database_error().unwrap();
    Some((error.code().unwrap().into_owned(), error.constraint().map(str::to_owned)))
}

async fn broken_by(pool: &PgPool, sql: &str) -> Option<String> {
    refused(pool, sql).await.map(|(code, constraint)| constraint.unwrap_or(code))
}

fn postings(lines: &[(i32, i64, &str)]) -> String {
    let line = |(line, amount, currency): &(i32, i64, &str)| {
        format!("(7, {line}, 'provider_receivable', {amount}, '{currency}')")
    };
    let lines: Vec<String> = lines.iter().map(line).collect();
    format!("insert into ledger_posting values {};", lines.join(", "))
}

/// The entries whose hash is not that of what they say. Written apart from the program that makes the chain.
async fn broken_links(pool: &PgPool) -> Vec<i64> {
    let query = "select seq from (
            select entry.seq, hash, lag(hash, 1, '') over (order by entry.seq) as before,
                   concat_ws('|', entry.seq, order_id, kind, number, (extract(epoch from at) * 1000000)::bigint,
                             string_agg(concat_ws(':', account, amount, currency, vat_rate), '|' order by line)) as said
            from ledger_entry entry left join ledger_posting using (seq) group by entry.seq
        ) as chain
        where hash <> sha256(before || convert_to(said, 'UTF8')) order by seq";
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap()
}

/// Billing with three orders captured: six entries.
async fn busy() -> Bench {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let orders = [Order::with("tok_ok"), Order::with("tok_ok"), Order::with("tok_ok")];
    bench.send(&orders.map(|order| order.authorize())).await.unwrap();
    bench.answered(3).await;
    bench.send(&orders.map(|order| order.capture())).await.unwrap();
    bench.answered(6).await;
    bench
}

#[tokio::test]
async fn the_database_takes_no_entry_that_does_not_sum_to_zero_per_currency() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    for wrong in [&[(1, 5, "EUR"), (2, -4, "EUR")][..], &[(1, 5, "EUR"), (2, -5, "JPY")], &[(1, 5, "EUR")]] {
        let broken = broken_by(&bench.pool, &format!("{ENTRY} {}", postings(wrong))).await;
        assert_eq!(broken.as_deref(), Some("ledger_must_balance"), "{wrong:?}");
    }
    // In whatever order it comes, and whether it is one statement or several: what is unbalanced never gets to its commit.
    let (debit, credit) = (postings(&[(1, 5, "EUR")]), postings(&[(2, -4, "EUR")]));
    for order in [[ENTRY, &debit, &credit], [&debit, ENTRY, &credit], [&credit, &debit, ENTRY]] {
        let broken = broken_by(&bench.pool, &order.concat()).await;
        assert_eq!(broken.as_deref(), Some("ledger_must_balance"), "{order:?}");
    }
    assert_eq!(bench.count("select count(*) from ledger_posting").await, 0);
    let lost = broken_by(&bench.pool, &postings(&[(1, 5, "EUR"), (2, -5, "EUR")])).await;
    assert_eq!(lost.as_deref(), Some("ledger_posting_has_its_entry"));
    let right = postings(&[(1, 5, "EUR"), (2, -3, "EUR"), (3, -2, "EUR"), (4, 7, "JPY"), (5, -7, "JPY")]);
    assert_eq!(broken_by(&bench.pool, &format!("{ENTRY} {right}")).await, None);
    let added = broken_by(&bench.pool, &postings(&[(6, 1, "EUR")])).await;
    assert_eq!(added.as_deref(), Some("ledger_must_balance"), "a later posting unbalances the entry too");
}

#[tokio::test]
async fn what_happened_stays_as_it_was_written() {
    let bench = busy().await;
    for change in CHANGES {
        let broken = broken_by(&bench.pool, change).await;
        assert_eq!(broken.as_deref(), Some("history_is_append_only"), "{change}");
    }
    assert_eq!(bench.count("select count(*) from ledger_entry").await, 6);
}

/// In the shop each service has a role of its own, which owns its tables.
#[tokio::test]
async fn the_services_own_role_may_not_change_what_happened() {
    let database = testkit::postgres().await.database().await;
    let name = database.pool.connect_options().get_database().unwrap().to_owned();
    let role = format!("role_{name}");
    let make = format!("create role {role} login; alter database {name} owner to {role}");
    assert_eq!(refused(&database.pool, &make).await, None);
    let own = PgPoolOptions::new().connect_with((*database.pool.connect_options()).clone().username(&role));
    let own = own.await.unwrap();
    billing::prepare(&own).await.unwrap();
    let whole = format!("{ENTRY} {}", postings(&[(1, 5, "EUR"), (2, -5, "EUR")]));
    assert_eq!(refused(&own, &whole).await, None, "it may add");
    for change in CHANGES {
        assert_eq!(refused(&own, change).await, Some(("42501".to_owned(), None)), "{change}: permission denied");
    }
    own.close().await;
    let gone = format!("reassign owned by {role} to current_user; drop owned by {role}");
    assert_eq!(refused(&database.pool, &gone).await, None);
    let gone = format!("alter database {name} owner to current_user; drop role {role}");
    assert_eq!(refused(&database.pool, &gone).await, None);
}

#[tokio::test]
async fn the_chain_names_what_a_superuser_has_changed() {
    let as_superuser = |sql: &str| format!("set local session_replication_role = replica; {sql};");
    for (change, named) in [
        ("update ledger_posting set amount = -amount where seq = 4", vec![4]),
        ("update ledger_posting set account = 'provider_fees' where seq = 4 and line = 1", vec![4]),
        ("update ledger_posting set vat_rate = 700 where seq = 4 and account = 'vat_payable'", vec![4]),
        ("delete from ledger_posting where seq = 5 and account = 'vat_payable'", vec![5]),
        ("update ledger_entry set at = at + interval '1 microsecond' where seq = 2", vec![2]),
        ("update ledger_entry set order_id = gen_random_uuid() where seq = 6", vec![6]),
        ("delete from ledger_posting where seq = 5 and line <= 2", vec![5]),
        ("delete from ledger_entry where seq = 3", vec![4]),
        ("update ledger_entry set hash = sha256('') where seq = 3", vec![3, 4]),
    ] {
        let bench = busy().await;
        assert_eq!(broken_links(&bench.pool).await, Vec::<i64>::new());
        assert_eq!(refused(&bench.pool, &as_superuser(change)).await, None, "{change}");
        assert_eq!(broken_links(&bench.pool).await, named, "{change}");
    }
}

#[tokio::test]
async fn entries_of_several_workers_are_one_chain() {
    let mut bench = Bench::start(crate::bench::EAGER).await;
    bench.start_worker(crate::bench::EAGER);
    let orders: Vec<Order> = (0..300).map(|_| Order::with("tok_ok")).collect();
    for some in orders.chunks(30) {
        bench.send(&some.iter().map(Order::authorize).collect::<Vec<_>>()).await.unwrap();
    }
    bench.answered(300).await;
    let gaps = "select count(*) filter (where seq > 300) + 300 - count(*) from ledger_entry";
    assert_eq!(bench.count(gaps).await, 0, "1..n without gaps");
    assert_eq!(broken_links(&bench.pool).await, Vec::<i64>::new());
}

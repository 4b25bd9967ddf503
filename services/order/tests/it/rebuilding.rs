//! Orders folded anew.

use uuid::Uuid;

use super::bench::Bench;
use crate::rebuild::{Rebuilt, rebuild};

impl Bench {
    async fn rebuild(&self) -> Rebuilt {
        rebuild(&self.app, Uuid::nil()).await.unwrap()
    }

    async fn change(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(self.db()).await.unwrap();
    }
}

#[tokio::test]
async fn what_somebody_has_changed_by_hand_is_found_and_mended() {
    let bench = Bench::new().await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.push(bench.order().await.order);
    }
    let confirmed = bench.confirmed().await.order;
    let before = bench.show(confirmed).await;
    let clean = bench.rebuild().await;
    assert_eq!((clean.folded, clean.differed, clean.next), (4, vec![], Some(confirmed)));

    bench.change("update orders set status = 'shipped' where status = 'confirmed'").await;
    let gone = format!("delete from orders where id = '{}'", orders[0]);
    sqlx::raw_sql(sqlx::AssertSqlSafe(gone)).execute(bench.db()).await.unwrap();
    let garbled = format!("update orders set lines = '\"none\"' where id = '{}'", orders[1]);
    sqlx::raw_sql(sqlx::AssertSqlSafe(garbled)).execute(bench.db()).await.unwrap();
    let mut differed = bench.rebuild().await.differed;
    differed.sort_unstable();
    let mut expected = vec![orders[0], orders[1], confirmed];
    expected.sort_unstable();
    assert_eq!(differed, expected);
    assert_eq!(bench.show(confirmed).await, before);
    bench.events(orders[0]).await;
    assert!(bench.rebuild().await.differed.is_empty(), "and that is all");

    let rest = rebuild(&bench.app, confirmed.as_uuid()).await.unwrap();
    assert_eq!((rest.folded, rest.next), (0, None));
}

/// A stream that cannot be folded is named, and holds up no other.
#[tokio::test]
async fn a_stream_that_cannot_be_is_named_and_left_alone() {
    let bench = Bench::new().await;
    let (broken, whole) = (bench.order().await.order, bench.order().await.order);
    let more = format!(
        "insert into order_events (order_id, version, type, data, at) values ('{broken}', 2, 'none', '{{}}', now())"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(more)).execute(bench.db()).await.unwrap();
    bench.change("update orders set total_amount = 1").await;
    let rebuilt = bench.rebuild().await;
    assert_eq!((rebuilt.folded, rebuilt.differed), (1, vec![whole]));
    let named: Vec<_> = rebuilt.broken.iter().map(|one| one.order).collect();
    assert_eq!(named, [broken], "{:?}", rebuilt.broken);
    assert_eq!(bench.show(broken).await.total.amount, 1, "left as it was");
}

/// What was written in an older version is folded as what it is read as; here the one before names were kept.
#[tokio::test]
async fn an_order_from_before_products_had_names_is_read_and_folded() {
    let bench = Bench::new().await;
    let golden = include_str!("../../../../crates/contracts/wire/order.placed.v1.json");
    let old = "insert into order_events (order_id, version, type, data, at)
               values ('019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01', 1, 'order.placed.v1', $1::json, '2026-11-21T09:30:00.123456Z')";
    sqlx::query(old).bind(golden).execute(bench.db()).await.unwrap();
    let rebuilt = bench.rebuild().await;
    assert_eq!((rebuilt.folded, rebuilt.differed.len(), rebuilt.broken.len()), (1, 1, 0));
    let order = "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01".parse().unwrap();
    assert_eq!(bench.events(order).await.len(), 1);
    assert_eq!(bench.show(order).await.lines[0].name, "MUG-BLUE-01", "its SKU stands in");
}

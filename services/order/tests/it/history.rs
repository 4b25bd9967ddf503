//! What was written down as having happened cannot be changed.

use super::bench::Bench;

#[tokio::test]
async fn the_database_lets_nobody_change_what_happened() {
    let bench = Bench::new().await;
    bench.order().await;
    let forbidden = [
        "update order_events set version = 7",
        "delete from order_events",
        "truncate order_events",
        "update saga_log set seq = 7",
        "delete from saga_log",
        "truncate saga_log",
    ];
    for statement in forbidden {
        let refused = sqlx::query(statement).execute(bench.db()).await.unwrap_err();
        let constraint = refused.as_database_error().and_then(|error| error.constraint());
        assert_eq!(constraint, Some("history_is_append_only"), "{statement}: {refused}");
    }
    assert_eq!((bench.count("order_events").await, bench.count("saga_log").await), (1, 1));
}

//! What was written down as having happened cannot be changed.

use sqlx::{AssertSqlSafe, postgres::PgPoolOptions};

use super::bench::Bench;

const FORBIDDEN: [&str; 6] = [
    "update order_events set version = 7",
    "delete from order_events",
    "truncate order_events",
    "update saga_log set seq = 7",
    "delete from saga_log",
    "truncate saga_log",
];

#[tokio::test]
async fn the_database_lets_nobody_change_what_happened() {
    let bench = Bench::new().await;
    bench.order().await;
    for statement in FORBIDDEN {
        let refused = sqlx::query(statement).execute(bench.db()).await.unwrap_err();
        let constraint = refused.as_database_error().and_then(|error| error.constraint());
        assert_eq!(constraint, Some("history_is_append_only"), "{statement}: {refused}");
    }
    assert_eq!((bench.count("order_events").await, bench.count("saga_log").await), (1, 1));
}

/// Not even before the triggers look.
#[tokio::test]
async fn the_services_own_role_may_not_change_what_happened() {
    let database = testkit::postgres().await.database().await;
    let name = database.pool.connect_options().get_database().unwrap().to_owned();
    let role = format!("role_{name}");
    let run = async |sql: String| sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
    run(format!("create role {role} login; alter database {name} owner to {role}")).await;
    let own = PgPoolOptions::new().connect_with((*database.pool.connect_options()).clone().username(&role));
    let own = own.await.unwrap();
    sqlx::migrate!().run(&own).await.unwrap();
    for statement in FORBIDDEN {
        let refused = sqlx::query(statement).execute(&own).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: permission denied");
    }
    own.close().await;
    run(format!("reassign owned by {role} to current_user; drop owned by {role}")).await;
    run(format!("alter database {name} owner to current_user; drop role {role}")).await;
}

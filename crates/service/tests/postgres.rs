//! A service's connections to its PostgreSQL.

use std::{
    io,
    time::{Duration, Instant},
};

use messaging::HandleError;
use service::postgres::{PATIENCE, fault, is_away, pool};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::timeout;

/// Each connection takes a second, as beside compilers; together they take longer than one may.
#[tokio::test]
async fn a_service_begins_with_one_connection_however_long_all_take() {
    let database = testkit::postgres().await.database().await;
    let connections = u32::try_from(PATIENCE.as_secs()).unwrap() + 3;
    let slow = format!("{}?options=-c%20post_auth_delay%3D1", database.url);
    let pool = pool(&slow, connections).await.unwrap();
    let delay: String = sqlx::query_scalar("show post_auth_delay").fetch_one(&pool).await.unwrap();
    assert_eq!(delay, "1s");
}

/// As when a firewall forgets all connections, each with a statement that somebody has given up.
#[tokio::test]
async fn a_connection_whose_answer_never_comes_leaves_its_place_to_another() {
    let (proxy, through) = testkit::Proxy::before(&testkit::postgres().await.database().await.url).await;
    let pool = pool(&through, 3).await.unwrap();
    let all = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    proxy.forget();
    for mut one in all {
        let answer = sqlx::query_scalar::<_, i32>("select 1").fetch_one(&mut *one);
        timeout(Duration::from_millis(100), answer).await.unwrap_err();
    }
    let begun = Instant::now();
    while let Err(error) = sqlx::query_scalar::<_, i32>("select 1").fetch_one(&pool).await {
        assert!(begun.elapsed() < 6 * PATIENCE, "no place is left: {error}");
    }
}

#[tokio::test]
async fn without_a_database_a_service_says_so() {
    let nobody = servers::free_port().unwrap();
    let error = pool(&format!("postgres://nobody@127.0.0.1:{nobody}/none"), 1).await.unwrap_err();
    assert_eq!(error.to_string(), "the database cannot be reached");
}

/// By SQLSTATE.
#[tokio::test]
async fn what_will_do_later_is_told_from_what_is_our_fault() {
    let database = testkit::postgres().await.database().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    let later =
        ["08006", "25P03", "25P04", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P02", "57P03"];
    let ours = ["22012", "23505", "25P02", "42601", "42P01", "55000", "XX000"];
    for (code, away) in later.map(|code| (code, true)).into_iter().chain(ours.map(|code| (code, false))) {
        let raise = format!("do $$ begin raise exception using errcode = '{code}'; end $$");
        let error = sqlx::raw_sql(AssertSqlSafe(raise)).execute(&pool).await.unwrap_err();
        assert_eq!(is_away(&error), away, "{error:?}");
    }
}

/// Also when another error is said of it.
#[tokio::test]
async fn a_lost_connection_is_away_and_what_cannot_be_read_is_not() {
    let database = testkit::postgres().await.database().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    let killed = sqlx::raw_sql("select pg_terminate_backend(pg_backend_pid())").execute(&pool).await.unwrap_err();
    assert!(is_away(&killed), "{killed:?}");
    let told = anyhow::Error::from(killed).context("the order could not be stored");
    assert!(is_away(told.as_ref()), "{told:?}");
    assert!(is_away(&sqlx::Error::PoolTimedOut) && is_away(&sqlx::Error::from(io::Error::other("reset"))));
    for ours in [sqlx::Error::RowNotFound, sqlx::Error::Decode("no order".into())] {
        assert!(!is_away(&ours), "{ours:?}");
    }
    assert!(!is_away(&io::Error::other("of another file")));
}

/// Of what was written by another version: a word that this one does not know, or a column of another type.
#[tokio::test]
async fn a_row_that_cannot_be_read_is_the_fault_of_who_needs_it_and_a_lost_connection_is_ours() {
    let database = testkit::postgres().await.database().await;
    let column = sqlx::query_scalar::<_, i32>("select 'DUCATS'").fetch_one(&database.pool).await.unwrap_err();
    for unreadable in [column, sqlx::Error::Decode("its currency is unknown".into())] {
        let fault = fault(unreadable);
        assert!(matches!(fault, HandleError::Message(_)), "{fault:?}");
    }
    let killed =
        sqlx::raw_sql("select pg_terminate_backend(pg_backend_pid())").execute(&database.pool).await.unwrap_err();
    for ours in [killed, sqlx::Error::PoolTimedOut] {
        let fault = fault(ours);
        assert!(matches!(fault, HandleError::Ours(_)), "{fault:?}");
    }
}

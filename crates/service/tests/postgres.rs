//! A service's connections to its PostgreSQL.

use service::postgres::{PATIENCE, pool};

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

#[tokio::test]
async fn without_a_database_a_service_says_so() {
    let nobody = servers::free_port().unwrap();
    let error = pool(&format!("postgres://nobody@127.0.0.1:{nobody}/none"), 1).await.unwrap_err();
    assert_eq!(error.to_string(), "the database cannot be reached");
}

//! What is in a database, as one hash: to show that something has changed nothing at all.

use bson::doc;
use mongodb::Database;
use sqlx::{AssertSqlSafe, PgPool};

/// The hash of all rows of all tables of `pool`'s database.
///
/// # Panics
/// If the database cannot be read.
pub async fn postgres_contents(pool: &PgPool) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables where table_schema = 'public' order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap_or_else(|error| panic!("the tables cannot be read: {error}"));
    assert!(!tables.is_empty(), "there are no tables to compare");
    let mut hashes = String::new();
    for table in tables {
        let hash =
            format!("select md5(coalesce(string_agg(one::text, ' ' order by one::text), '')) from {table} as one");
        let hash: String = sqlx::query_scalar(AssertSqlSafe(hash))
            .fetch_one(pool)
            .await
            .unwrap_or_else(|error| panic!("{table} cannot be read: {error}"));
        hashes.push_str(&format!("{table} {hash}\n"));
    }
    hashes
}

/// The hash of all documents of all collections of `database`.
///
/// # Panics
/// If the database cannot be read.
pub async fn mongo_contents(database: &Database) -> String {
    let hashed = database.run_command(doc! { "dbHash": 1 }).await;
    let hashed = hashed.unwrap_or_else(|error| panic!("the collections cannot be read: {error}"));
    hashed.get_document("collections").map(ToString::to_string).unwrap_or_else(|error| panic!("no hashes: {error}"))
}

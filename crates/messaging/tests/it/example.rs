//! The example of the README compiles, runs and keeps its word.

use messaging::Broker;
use sqlx::PgPool;
use testkit::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::{
    letters::{carry, post},
    support::eventually,
};

#[test]
fn the_example_that_is_run_is_the_one_of_the_readme() {
    let (readme, (_, code)) = (include_str!("../../README.md"), include_str!("letters.rs").split_once("\n\n").unwrap());
    assert!(readme.contains(&format!("```rust,no_run\n{}```\n", code.replace("pub(crate) ", ""))));
    assert!(code.lines().count() <= 60, "{} lines", code.lines().count());
}

async fn database(tables: &'static str) -> TestDatabase {
    let database = testkit::postgres().await.database().await;
    sqlx::raw_sql(include_str!("../../schema.sql")).execute(&database.pool).await.unwrap();
    sqlx::raw_sql(tables).execute(&database.pool).await.unwrap();
    database
}

async fn letterbox(db: &PgPool, owner: &str) -> Vec<String> {
    let texts = "select text from letterbox where owner = $1 order by place";
    sqlx::query_scalar(texts).bind(owner).fetch_all(db).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_letter_of_the_example_is_delivered_once_and_in_order() {
    let sender = database("create table posted (receiver text primary key, letters int not null)").await;
    let receiver =
        database("create table letterbox (place bigint generated always as identity, owner text, text text)");
    let receiver = receiver.await.pool;
    let (_, name) = sender.url.rsplit_once('/').unwrap();
    let broker = Broker { brokers: testkit::kafka().await.to_owned(), prefix: format!("{name}.") };
    let texts: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    // Twice: the second relay and consumer go on where the first have stopped.
    for half in [20, 40] {
        let stop = CancellationToken::new();
        let (posted, url, stopped) = (sender.pool.clone(), sender.url.clone(), stop.clone());
        let (received, brokers) = (receiver.clone(), broker.clone());
        let carrying = tokio::spawn(async move { carry((posted, &url), received, brokers, stopped).await });
        for text in &texts[half - 20..half] {
            for to in ["ann", "bob"] {
                post(&sender.pool, to, text).await.unwrap();
            }
        }
        eventually("all are delivered", async || {
            letterbox(&receiver, "ann").await.len() >= half && letterbox(&receiver, "bob").await.len() >= half
        })
        .await;
        stop.cancel();
        carrying.await.unwrap().unwrap();
    }
    for to in ["ann", "bob"] {
        assert_eq!(letterbox(&receiver, to).await, texts, "{to}");
    }
    let slots =
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()";
    sqlx::query(slots).execute(&sender.pool).await.unwrap();
}

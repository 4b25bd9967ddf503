//! Two transactions at once, from two topics, of which either may be the first to write a payment.

use contracts::OrderId;
use contracts::billing::BillingCommand;
use messaging::HandleError;
use sqlx::{PgConnection, PgPool};

use crate::bench::{Bench, HANDED_OVER_ONLY, Order};

/// Waits until so many connections wait for a lock on `table`.
pub(crate) async fn waiting(bench: &Bench, table: &str, count: i64) {
    let query = "select count(distinct pid) from pg_locks
                 where not granted and relation = $1::text::regclass
                   and database = (select oid from pg_database where datname = current_database())";
    bench
        .poll(async || {
            let waiting: i64 = sqlx::query_scalar(query).bind(table).fetch_one(&bench.pool).await.unwrap();
            (waiting == count).then_some(())
        })
        .await;
}

/// A connection beside those of the pool, with a transaction open.
async fn beside(pool: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    pool.begin().await.unwrap()
}

async fn lock(conn: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(conn).await.unwrap();
}

/// State, whether it is closed, and how many commands it has had.
async fn payment(bench: &Bench, order: OrderId) -> (String, bool, i32) {
    let query = "select state, closed, jsonb_array_length(commands) from payment where order_id = $1";
    sqlx::query_as(query).bind(order.as_uuid()).fetch_one(&bench.pool).await.unwrap()
}

/// As a consumer does it: what is ours is tried again, whole. Gives back how often it was.
async fn until_done(mut hand_over: impl AsyncFnMut() -> Result<(), HandleError>) -> u32 {
    let mut again = 0;
    loop {
        match hand_over().await {
            Ok(()) => return again,
            Err(HandleError::Ours(_)) if again < 10 => again += 1,
            Err(error) => panic!("it would be parked, or never end: {error:?}"),
        }
    }
}

/// Nobody is charged, the cancel is remembered, and each command has its answer.
async fn ended(bench: &Bench, order: &Order, said: &[&str]) {
    bench.poll(async || (bench.count("select count(*) from intent").await == 0).then_some(())).await;
    let (state, closed, commands) = payment(bench, order.id).await;
    assert!(closed && matches!(state.as_str(), "tombstone" | "voided"), "{state}, closed: {closed}");
    assert_eq!(commands, 1, "the command is remembered");
    let answers = bench.said(1).await;
    assert!(said.contains(&answers[0]), "{answers:?}");
    assert_eq!(bench.balances().await, [], "nothing is set aside");
}

type Command = fn(&Order) -> BillingCommand;

/// Both have seen that there is no payment when the first of them writes it.
#[tokio::test]
async fn a_cancel_and_a_command_that_are_first_at_once_both_count() {
    let cases: [(Command, &[&str]); 2] = [
        (Order::authorize, &["billing.payment-authorized.v1", "billing.payment-refused.v1"]),
        (Order::void, &["billing.payment-voided.v1"]),
    ];
    let (mut raced, mut cancelled_first) = (0, 0);
    for round in 0..6 {
        for (command, said) in cases {
            let bench = Bench::start(HANDED_OVER_ONLY).await;
            let order = Order::with("tok_ok");
            // Reads and row locks go on, writes wait: so both have read when both may write.
            let mut held = beside(&bench.pool).await;
            lock(&mut held, "lock table payment in share mode").await;
            let command = async || until_done(async || bench.send(&[command(&order)]).await).await;
            let cancel = async || until_done(async || bench.tell(&[order.cancelled()]).await).await;
            let go = async {
                waiting(&bench, "payment", 1).await;
                // Whoever waits first writes first, mostly.
                let second = async { if round % 2 == 0 { cancel().await } else { command().await } };
                let go = async {
                    waiting(&bench, "payment", 2).await;
                    held.commit().await.unwrap();
                };
                tokio::join!(second, go).0
            };
            let first = async { if round % 2 == 0 { command().await } else { cancel().await } };
            let (first, second) = tokio::join!(first, go);
            assert!(first + second <= 1, "of two who meet one goes on at once, and the other finds its row");
            raced += first + second;
            ended(&bench, &order, said).await;
            let tombs = "select count(*) from payment where state = 'tombstone'";
            cancelled_first += bench.count(tombs).await;
        }
    }
    assert_eq!(raced, 12, "in each round one was second");
    assert!(cancelled_first > 0, "the cancel was never first");
}

#[tokio::test]
async fn a_cancel_and_a_late_command_in_one_batch_both_count() {
    let cases: [(Command, &[&str]); 2] =
        [(Order::authorize, &["billing.payment-authorized.v1"]), (Order::void, &["billing.payment-voided.v1"])];
    for (command, said) in cases {
        let bench = Bench::start(HANDED_OVER_ONLY).await;
        let order = Order::with("tok_ok");
        bench.introduce(&[order.customer]).await;
        bench.send_and_tell(&[command(&order)], &[order.cancelled()]).await.unwrap();
        ended(&bench, &order, said).await;
    }
}

#[tokio::test]
async fn a_command_behind_the_cancel_of_an_order_never_heard_of_sets_nothing_aside() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_ok");
    bench.tell(&[order.cancelled()]).await.unwrap();
    bench.send(&[order.authorize()]).await.unwrap();
    ended(&bench, &order, &["billing.payment-refused.v1"]).await;
    assert_eq!(bench.provider.keys(), 0, "the provider is not asked");
}

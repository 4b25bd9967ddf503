//! Clients that hang up, at whatever moment: before their request is whole, while it is worked on, when they are answered.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::json;
use sqlx::PgConnection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use web::{access::Principal, gate::Gate, serve};

use super::{bench::Bench, http::bench};
use crate::http;

/// Whatever has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(120);
const CLIENTS: u64 = 1_000;
/// A transaction that has not ended by then does not end by itself.
const STUCK: Duration = Duration::from_secs(10);
/// At once.
const CONNECTIONS: usize = 50;
/// Of each hundred requests so many are cut off.
const CUT: u64 = 20;
/// Of each hundred so many wait until they are answered; all others hang up within [`LONGEST_MS`] at the latest.
const PATIENT: u64 = 10;
const LONGEST_MS: u64 = 50;

/// A client that has hung up.
struct Gone {
    key: String,
    at: Timestamp,
    was_whole: bool,
    was_answered: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_client_hangs_up_its_order_is_whole_or_not_there() {
    let bench = bench().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut server = JoinSet::new();
    server.spawn(serve::serve(listener, http::routes(bench.app.clone()), Gate::default(), stop.clone()));

    let clients = stream::iter(0..CLIENTS).map(|number| hang_up(&bench, address, number));
    let gone: Vec<Gone> = clients.buffer_unordered(CONNECTIONS).collect().await;

    stop.cancel();
    server.join_next().await.unwrap().unwrap().unwrap();
    // What waited for the committer is placed before this one.
    let body = json!({ "lines": [{ "sku": "MUG", "quantity": 1 }], "payment_token": "tok_ok" });
    assert_eq!(bench.post("last", body.to_string()).await.status, 202);

    nothing_is_stuck(&bench).await;
    every_order_is_whole(&bench).await;
    let placed: HashMap<String, jiff_sqlx::Timestamp> =
        sqlx::query_as("select key, placed_at from idempotency_key join orders on id = order_id")
            .fetch_all(bench.db())
            .await
            .unwrap()
            .into_iter()
            .collect();
    let placed_at = |one: &Gone| placed.get(&one.key).map(|at| Timestamp::from(*at));
    assert!(gone.iter().all(|one| one.was_whole || placed_at(one).is_none()), "nobody has asked for that");
    assert!(gone.iter().all(|one| !one.was_answered || placed_at(one).is_some()), "an order is lost");
    let count = |which: &dyn Fn(&Gone) -> bool| gone.iter().filter(|one| which(one)).count();
    let never = count(&|one| placed_at(one).is_none());
    // Its transaction has begun, hence ended, after the client was gone.
    let before = count(&|one| placed_at(one).is_some_and(|at| at > one.at));
    let after = count(&|one| one.was_answered);
    eprintln!("hung up: {before} before their order was placed, {after} after it, {never} and none was placed");
    assert!(never >= 50 && before >= 20 && after >= 20, "{never}, {before}, {after}: no random moments");
}

/// Orders, and hangs up after a while; at the latest when the answer comes.
async fn hang_up(bench: &Bench, address: SocketAddr, number: u64) -> Gone {
    let key = format!("key-{number}");
    let body = json!({ "lines": [{ "sku": "MUG", "quantity": 1 }], "payment_token": "tok_ok" }).to_string();
    let token = bench.signer.sign(&Principal::Customer(bench.customer), Duration::from_secs(600));
    let request = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len(),
    );
    // Numbers that look random, the same in every run.
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let was_whole = random % 100 >= CUT;
    let sent = if was_whole { request.len() } else { usize::try_from(random).unwrap() % request.len() };
    let mut client = TcpStream::connect(address).await.unwrap();
    if random.is_multiple_of(2) {
        client.set_zero_linger().unwrap(); // It does not close the connection, it breaks it.
    }
    client.write_all(&request.as_bytes()[..sent]).await.unwrap();
    let patience = match was_whole && random % 100 >= 100 - PATIENT {
        true => PATIENCE,
        false => Duration::from_micros(random / 100 % (LONGEST_MS * 1_000)),
    };
    let answer = tokio::time::timeout(patience, client.read_u8()).await;
    let at = Timestamp::now();
    drop(client);
    Gone { key, at, was_whole, was_answered: answer.is_ok_and(|byte| byte.is_ok()) }
}

/// No transaction stays open, and every connection of the pool works. The others lie in the pool meanwhile: one that was
/// left amid a transaction stays so until it is used again.
async fn nothing_is_stuck(bench: &Bench) {
    let mut connections = Vec::new();
    for _ in 0..bench.db().options().get_max_connections() {
        let mut connection = bench.db().acquire().await.expect("every connection is free");
        let mut open = open_transactions(&mut connection).await;
        let until = tokio::time::Instant::now() + STUCK;
        while !open.is_empty() && tokio::time::Instant::now() < until {
            open = open_transactions(&mut connection).await;
        }
        assert!(open.is_empty(), "somebody's transaction is open still: {open:?}");
        connections.push(connection);
    }
}

/// What transactions of others, open at this moment, did last.
async fn open_transactions(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "select state || ': ' || query from pg_stat_activity
         where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
           and xact_start is not null",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

/// Each order has its event, its saga with a log, its three messages and its key; and there is nothing besides.
async fn every_order_is_whole(bench: &Bench) {
    let whole: i64 = sqlx::query_scalar(
        "select count(*) from orders
         where (select count(*) from order_events where order_id = orders.id) = 1
           and (select count(*) from saga join saga_log on saga_id = saga.id where order_id = orders.id) = 1
           and (select count(*) from outbox where key = orders.id::text) = 3
           and (select count(*) from idempotency_key where order_id = orders.id) = 1",
    )
    .fetch_one(bench.db())
    .await
    .unwrap();
    assert_eq!(whole, bench.count("orders").await);
    for (table, each) in [("order_events", 1), ("saga", 1), ("saga_log", 1), ("outbox", 3), ("idempotency_key", 1)] {
        assert_eq!(bench.count(table).await, each * whole, "{table}");
    }
}

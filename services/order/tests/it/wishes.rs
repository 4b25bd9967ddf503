//! What a customer may say of an order beside what is in it: what they call it, and what they think it costs.

use axum::http::{Method, StatusCode};
use contracts::{CustomerId, billing::BillingEvent};
use serde_json::{Value, json};
use web::access::Principal;

use super::{
    bench::{product, record},
    http::{Answer, bench, order, runs},
};

fn called(reference: &str) -> Value {
    let mut body = order("MUG", json!(1));
    body["reference"] = json!(reference);
    body
}

fn at(prices: &[(&str, Value)]) -> String {
    let line = |(sku, price): &(&str, Value)| json!({ "sku": sku, "quantity": 1, "unit_price": price });
    json!({ "lines": prices.iter().map(line).collect::<Vec<_>>(), "payment_token": "tok_ok" }).to_string()
}

fn eur(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "EUR" })
}

#[track_caller]
fn is_taken(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (409, &json!("reference_taken")));
    assert_eq!(answer.body["errors"][0]["pointer"], "/reference");
}

#[tokio::test]
async fn no_two_orders_of_a_customer_have_one_reference() {
    let bench = bench().await;
    let first = bench.post("a", called("PO-1").to_string()).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    let view = bench.view(first.body["id"].as_str().unwrap()).await;
    assert_eq!(view["reference"], "PO-1");
    is_taken(&bench.post("b", called("PO-1").to_string()).await);
    assert_eq!(bench.post("a", called("PO-1").to_string()).await.bytes, first.bytes, "a repetition is no second order");
    assert_eq!(bench.count("idempotency_key").await, 1, "who was refused may use the key for something else");
    assert_eq!(bench.post("b", called("PO-2").to_string()).await.status, StatusCode::ACCEPTED);

    let stranger = Principal::Customer(CustomerId::mint());
    let theirs = bench.request(&stranger, "/v1/orders").method(Method::POST);
    let theirs = theirs.header("idempotency-key", "a").header("content-type", "application/json");
    let theirs = bench.call(theirs.body(called("PO-1").to_string().into()).unwrap()).await;
    assert_eq!(theirs.status, StatusCode::ACCEPTED, "what others call theirs is nobody else's business");
    assert_eq!((bench.count("orders").await, bench.count("order_reference").await), (3, 3));
}

#[tokio::test]
async fn what_a_customer_called_their_orders_is_forgotten_with_them() {
    let bench = bench().await;
    let named = bench.post("a", called("PO-1").to_string()).await;
    let id = named.body["id"].as_str().unwrap();
    // Another's, and what this one places once nobody knows them.
    let stranger = Principal::Customer(CustomerId::mint());
    let theirs = bench.request(&stranger, "/v1/orders").method(Method::POST);
    let theirs = theirs.header("idempotency-key", "a").header("content-type", "application/json");
    bench.call(theirs.body(called("PO-1").to_string().into()).unwrap()).await;
    let at = bench.view(id).await["placed_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let later = "update orders set placed_at = placed_at + interval '2 minutes' where id = $1";
    let second = bench.post("b", called("PO-2").to_string()).await;
    let second = second.body["id"].as_str().unwrap();
    let update = sqlx::query(later).bind(second.parse::<uuid::Uuid>().unwrap());
    assert_eq!(update.execute(bench.db()).await.unwrap().rows_affected(), 1);

    let erased = BillingEvent::CustomerErased { customer: bench.customer, at };
    bench.answers(vec![record(&erased)]).await.unwrap();
    assert_eq!(bench.view(id).await["reference"], Value::Null);
    assert_eq!(bench.view(second).await["reference"], "PO-2");
    assert_eq!(bench.count("order_reference").await, 2);
    assert_eq!(bench.post("a", called("PO-1").to_string()).await.bytes, named.bytes, "a repetition is the same order");
    assert_eq!(bench.post("c", called("PO-1").to_string()).await.status, StatusCode::ACCEPTED, "it is free again");
}

/// Also of references from before no samples were taken: what is forgotten later is in none.
#[tokio::test]
async fn no_sample_of_what_customers_call_their_orders_is_kept() {
    let database = testkit::postgres().await.database().await;
    let mut before = sqlx::migrate!();
    before.migrations = before.migrations.iter().filter(|migration| migration.version < 2).cloned().collect();
    before.run(&database.pool).await.unwrap();
    let many = "insert into order_reference
                select gen_random_uuid(), 'canary ' || n, gen_random_uuid() from generate_series(1, 500) n";
    sqlx::raw_sql(many).execute(&database.pool).await.unwrap();
    let ask = async |what: &'static str| sqlx::query_scalar::<_, i64>(what).fetch_one(&database.pool).await.unwrap();
    let analyze = async || sqlx::raw_sql("analyze order_reference").execute(&database.pool).await.unwrap();
    let samples = "select count(*) from pg_stats where tablename = 'order_reference'
                   and concat(most_common_vals::text, histogram_bounds::text) like '%canary%'";
    let files =
        "select sum(pg_relation_filenode(oid)::bigint)::bigint from pg_class where relname like 'order_reference%'";
    analyze().await;
    assert_eq!(ask(samples).await, 1, "samples are taken");
    let written = ask(files).await;
    sqlx::migrate!().run(&database.pool).await.unwrap();
    assert_eq!(ask(samples).await, 0, "what was sampled before is gone");
    assert_eq!(ask(files).await, written, "neither the table nor its indexes are written anew");
    analyze().await;
    assert_eq!(ask(samples).await, 0, "nothing is sampled again");
}

/// Twenty orders that are to be called the same, each wanted twice, at two processes.
#[tokio::test]
async fn of_many_at_once_with_one_reference_one_is_placed() {
    let one = bench().await;
    let other = runs(one.another());
    let processes = [&one, &other];
    let body = called("PO-1").to_string();
    let keys: Vec<String> = (0..40).map(|number| format!("key-{}", number / 2)).collect();
    let wanted = keys.iter().enumerate().map(|(number, key)| processes[number / 2 % 2].post(key, body.clone()));
    let answers = futures::future::join_all(wanted).await;
    let placed: Vec<&Answer> = answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).collect();
    assert_eq!((placed.len(), &placed[0].bytes), (2, &placed[1].bytes), "the one order, and its repetition");
    let refused = answers.iter().filter(|answer| answer.status != StatusCode::ACCEPTED);
    assert_eq!(refused.map(is_taken).count(), 38);
    for table in ["orders", "order_reference", "idempotency_key", "saga"] {
        assert_eq!(one.count(table).await, 1, "{table}");
    }
}

#[tokio::test]
async fn at_another_price_than_was_seen_nothing_is_ordered_and_the_current_one_is_told() {
    let bench = bench().await;
    let seen = at(&[("MUG", eur(1290)), ("PAN", eur(4999))]);
    let first = bench.post("a", seen.clone()).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.body);
    bench.products(&[product("MUG", 2, 1390)]).await.unwrap();
    let changed = bench.post("b", seen.clone()).await;
    assert_eq!((changed.status.as_u16(), &changed.body["code"]), (409, &json!("price_changed")));
    assert_eq!(changed.body["errors"], json!([{ "pointer": "/lines/0/unit_price", "detail": "is 13.90 EUR now" }]));
    assert_eq!(changed.body["prices"], json!([{ "sku": "MUG", "unit_price": eur(1390) }]));
    assert_eq!(bench.post("a", seen).await.bytes, first.bytes, "what was ordered was ordered");
    let yen = json!({ "amount": 1390, "currency": "JPY" });
    assert_eq!(bench.post("b", at(&[("MUG", yen)])).await.body["code"], "price_changed");
    assert_eq!(bench.post("b", at(&[("MUG", eur(1390))])).await.status, StatusCode::ACCEPTED);
    assert_eq!(bench.count("orders").await, 2);
}

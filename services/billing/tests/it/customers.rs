//! Who customers are, and that nobody else learns of it.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER};
use axum::http::{Method, Request};
use contracts::CustomerId;
use contracts::billing::{BillingEvent, PaymentRefusal};
use serde_json::{Value, json};
use sqlx::types::Uuid;
use web::access::Principal;

use crate::bench::{Bench, HANDED_OVER_ONLY, Order, PATIENCE, record};
use crate::http::Client;
use crate::races::waiting;

const OPERATOR: Option<Principal> = Some(Principal::Operator);

fn ada() -> Value {
    json!({ "name": "Ada Canary", "address": ["12 St James's Square", "London"], "country": "GB" })
}

async fn put(client: &Client, id: CustomerId, body: &Value, principal: Option<Principal>) -> (u16, Value) {
    put_if(client, id, None, body, principal).await
}

/// Puts what was seen with this tag.
async fn put_if(
    client: &Client,
    id: CustomerId,
    tag: Option<&str>,
    body: &Value,
    principal: Option<Principal>,
) -> (u16, Value) {
    let request = Request::builder().method(Method::PUT).uri(format!("/v1/customers/{id}"));
    let request = request.header(CONTENT_TYPE, "application/json");
    let request = tag.iter().fold(request, |request, tag| request.header(IF_MATCH, *tag));
    let (status, body) = client.request(request, principal, Body::from(body.to_string())).await;
    (status.as_u16(), body)
}

async fn tag(client: &Client, path: &str, principal: Option<Principal>) -> String {
    let shown = client.response(Request::builder().uri(path), principal, Body::empty()).await;
    let tag = shown.headers()[ETAG].to_str().unwrap().to_owned();
    let again = Request::builder().uri(path).header(IF_NONE_MATCH, &tag);
    assert_eq!(client.response(again, principal, Body::empty()).await.status(), 304, "it is not sent again");
    tag
}

/// Each of eight adds a line to what they have seen, and looks again whenever another was first.
#[tokio::test]
async fn of_many_corrections_at_once_none_is_lost() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let id = CustomerId::mint();
    let path = format!("/v1/customers/{id}");
    let who = ada();
    let (first, second) = tokio::join!(put(&client, id, &who, OPERATOR), put(&client, id, &who, OPERATOR));
    assert_eq!(first.0 + second.0, 401, "one is new, and the other is the same: {first:?} {second:?}");
    let add = async |number: u8| loop {
        let shown = client.response(Request::builder().uri(&path), OPERATOR, Body::empty()).await;
        let tag = shown.headers()[ETAG].to_str().unwrap().to_owned();
        let seen = axum::body::to_bytes(shown.into_body(), usize::MAX).await.unwrap();
        let mut seen: Value = serde_json::from_slice(&seen).unwrap();
        seen["name"] = json!(format!("{} {number}", seen["name"].as_str().unwrap()));
        match put_if(&client, id, Some(&tag), &seen, OPERATOR).await {
            (200, _) => break,
            (status, problem) => assert_eq!(status, 412, "{problem}"),
        }
    };
    futures::future::join_all((1..=8).map(add)).await;
    let (_, seen) = client.get(&path, OPERATOR).await;
    let mut numbers: Vec<&str> = seen["name"].as_str().unwrap().split(' ').skip(2).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[tokio::test]
async fn a_customer_is_put_shown_and_forgotten_by_themselves_or_an_operator() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let id = CustomerId::mint();
    let (own, stranger) = (Some(Principal::Customer(id)), Some(Principal::Customer(CustomerId::mint())));
    let path = format!("/v1/customers/{id}");
    assert_eq!(client.get(&path, own).await.1["code"], json!("customer_not_found"));
    assert_eq!(put(&client, id, &ada(), own).await, (201, ada()));
    assert_eq!(put(&client, id, &ada(), OPERATOR).await, (200, ada()), "the same again");
    let mut moved = ada();
    moved["vat_id"] = json!("GB999999973");
    moved["address"] = json!(["Ockham Park", "Surrey"]);
    let (status, problem) = put(&client, id, &moved, own).await;
    assert_eq!((status, &problem["code"]), (428, &json!("precondition_required")));
    let tag = tag(&client, &path, own).await;
    assert_eq!(put_if(&client, id, Some(&tag), &moved, own).await, (200, moved.clone()));
    assert_eq!(put(&client, id, &moved, own).await, (200, moved.clone()), "nothing is overwritten");
    let (status, problem) = put_if(&client, id, Some(&tag), &ada(), own).await;
    assert_eq!((status, &problem["code"]), (412, &json!("precondition_failed")), "it was seen before it was changed");
    for principal in [own, OPERATOR] {
        assert_eq!(client.get(&path, principal).await.1, moved);
    }
    for (principal, status) in [(None, 401), (stranger, 404)] {
        assert_eq!(put(&client, id, &ada(), principal).await.0, status);
        assert_eq!(client.get(&path, principal).await.0.as_u16(), status);
        assert_eq!(client.send(Method::DELETE, &path, principal).await.0.as_u16(), status);
    }
    let (status, problem) = put(&client, id, &json!({ "name": "", "address": [], "country": "X" }), own).await;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid_customer")));
    assert_eq!(problem["errors"].as_array().unwrap().len(), 3);
    assert_eq!(client.get(&path, own).await.1, moved, "nothing has changed");
    for _ in 0..2 {
        assert_eq!(client.send(Method::DELETE, &path, own).await.0, 204);
    }
    assert_eq!(client.get(&path, own).await.0, 404);
    assert_eq!(bench.count("select count(*) from customer").await, 0);
}

#[tokio::test]
async fn who_has_no_name_and_address_is_refused_and_the_provider_is_not_asked() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let order = Order::with("tok_ok");
    bench.handle(&bench.batch(vec![record(&order.authorize(), Uuid::now_v7())])).await.unwrap();
    let answers = bench.answered(1).await;
    let refused = matches!(&answers[0], BillingEvent::PaymentRefused { reason: PaymentRefusal::UnknownCustomer, .. });
    assert!(refused, "{answers:?}");
    assert_eq!((bench.state(order.id).await.as_str(), bench.provider.keys()), ("refused", 0));
    assert_eq!(bench.count("select count(*) from intent").await, 0);
}

/// An invoice must name the buyer, so whoever has orders under way is forgotten when these are invoiced or over.
#[tokio::test]
async fn who_has_orders_on_their_way_is_forgotten_afterwards_and_invoices_keep_what_the_law_wants() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    let (own, path) = (Some(Principal::Customer(order.customer)), format!("/v1/customers/{}", order.customer));
    assert_eq!(put(&client, order.customer, &ada(), own).await.0, 201);
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    let erase = async || {
        let (status, problem) = client.send(Method::DELETE, &path, own).await;
        (status.as_u16(), problem["code"].clone())
    };
    assert_eq!(erase().await, (409, json!("orders_on_their_way")));
    bench.send(&[order.capture()]).await.unwrap();
    bench.answered(2).await;
    assert_eq!(erase().await, (409, json!("orders_on_their_way")), "it is paid, and will be invoiced");
    bench.tell(&[order.confirmed()]).await.unwrap();
    assert_eq!(erase().await, (204, Value::Null));
    let BillingEvent::CustomerErased { customer, .. } = bench.answered(3).await.remove(2) else {
        panic!("nobody knows")
    };
    assert_eq!(customer, order.customer);

    // Not a word of them is left but on the invoice: every column of every table is looked at.
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns where table_schema = 'public'",
    )
    .fetch_all(&bench.pool)
    .await
    .unwrap();
    let mut found = Vec::new();
    for (table, column) in columns {
        let query = format!("select count(*) from {table} where {column}::text like '%Canary%'");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&bench.pool).await.unwrap();
        found.extend((rows > 0).then_some((table, column)));
    }
    assert_eq!(found, [("invoice".to_owned(), "facts".to_owned())]);

    // And what is credited later still names them.
    bench.send(&[order.refund()]).await.unwrap();
    bench.answered(4).await;
    bench.tell(&[order.cancelled()]).await.unwrap();
    let (_, note) = client.get("/v1/invoices/CN-1", OPERATOR).await;
    assert_eq!(note["buyer"]["name"], json!("Ada Canary"));
}

/// Who orders waits behind an erasure that waits. So it does not wait for long.
#[tokio::test]
async fn an_erasure_that_must_wait_gives_way_to_authorizations_and_is_asked_for_again() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    bench.introduce(&[order.customer]).await;
    let id = CustomerId::mint();
    let (own, path) = (Some(Principal::Customer(id)), format!("/v1/customers/{id}"));
    assert_eq!(put(&client, id, &ada(), own).await.0, 201);
    let mut long = bench.pool.begin().await.unwrap();
    let seen: i64 = sqlx::query_scalar("select count(*) from customer").fetch_one(&mut *long).await.unwrap();
    assert_eq!(seen, 2);

    let erase = async || {
        let request = Request::builder().method(Method::DELETE).uri(&path);
        client.response(request, own, Body::empty()).await
    };
    let authorized = async {
        waiting(&bench, "customer", 1).await;
        let batch = bench.batch(vec![record(&order.authorize(), Uuid::now_v7())]);
        bench.handle(&batch).await.unwrap();
    };
    let both = async { tokio::join!(erase(), authorized) };
    let (refused, ()) = tokio::time::timeout(PATIENCE, both).await.expect("both end while the transaction runs");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()[RETRY_AFTER], "1");
    assert_eq!(refused.headers()[CONTENT_TYPE], "application/problem+json");
    bench.answered(1).await;
    assert_eq!(client.get(&path, own).await.0, 200, "nothing has changed");

    long.commit().await.unwrap();
    assert_eq!(erase().await.status(), 204);
    assert_eq!(client.get(&path, own).await.0, 404);
}

#[tokio::test]
async fn what_names_somebody_is_kept_by_no_cache() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let id = CustomerId::mint();
    let (own, path) = (Some(Principal::Customer(id)), format!("/v1/customers/{id}"));
    for (method, status) in [(Method::PUT, 201), (Method::PUT, 200), (Method::GET, 200), (Method::DELETE, 204)] {
        let request = Request::builder().method(method.clone()).uri(&path).header(CONTENT_TYPE, "application/json");
        let response = client.response(request, own, Body::from(ada().to_string())).await;
        let kept = response.headers().get(CACHE_CONTROL).map(|value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), kept), (status, Some("no-store")), "{method}");
    }
}

/// The planner's samples stay when the rows are gone, until the table is looked at again.
#[tokio::test]
async fn no_sample_of_who_customers_are_is_taken() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let many = "insert into customer
                select gen_random_uuid(), 'Canary ' || n, array['Canary ' || n], case when n % 2 = 0 then 'GB' else 'DE' end,
                       'canary@' || n, 'GB' || n, now(), now() from generate_series(1, 500) n;
                insert into invoice
                select 'invoice', n, gen_random_uuid(), 0, now(), 'Canary ' || n, sha256('') from generate_series(1, 500) n;
                analyze";
    sqlx::raw_sql(many).execute(&bench.pool).await.unwrap();
    let countries = "select count(*) from pg_stats where tablename = 'customer' and most_common_vals::text = '{DE,GB}'";
    assert_eq!(bench.count(countries).await, 1, "samples are taken");
    let names = "select count(*) from pg_stats
                 where tablename in ('customer', 'invoice')
                   and concat(most_common_vals::text, histogram_bounds::text) ilike '%canary%'";
    assert_eq!(bench.count(names).await, 0);
}

#[tokio::test]
async fn an_erasure_and_an_authorization_at_once_never_leave_an_order_without_a_buyer() {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let (mut erased, mut kept) = (0, 0);
    for _ in 0..40 {
        let order = Order::with("tok_ok");
        bench.introduce(&[order.customer]).await;
        let path = format!("/v1/customers/{}", order.customer);
        let batch = bench.batch(vec![record(&order.authorize(), Uuid::now_v7())]);
        let (taken, (status, _)) =
            tokio::join!(bench.handle(&batch), client.send(Method::DELETE, &path, Some(Principal::Operator)));
        taken.unwrap();
        let known = client.get(&path, OPERATOR).await.0 == 200;
        let refused = bench.state(order.id).await == "refused";
        assert_eq!((known, status.as_u16()), if refused { (false, 204) } else { (true, 409) });
        (erased, kept) = if refused { (erased + 1, kept) } else { (erased, kept + 1) };
    }
    eprintln!("{erased} were erased first, {kept} ordered first");
}

//! Lists of orders.

use axum::{body::Body, http::StatusCode};
use contracts::CustomerId;
use serde_json::{Value, json};
use web::access::Principal;

use super::{
    bench::Bench,
    http::{Answer, bench, order},
};

impl Bench {
    async fn list(&self, principal: &Principal, query: &str) -> Answer {
        let request = self.request(principal, &format!("/v1/orders{query}"));
        self.call(request.body(Body::empty()).unwrap()).await
    }

    /// The ids on every page, as they come.
    async fn pages(&self, principal: &Principal, query: &str) -> Vec<Vec<String>> {
        let (mut pages, mut next) = (Vec::new(), String::new());
        loop {
            let Answer { status, body, .. } = self.list(principal, &format!("?{query}{next}")).await;
            assert_eq!(status, StatusCode::OK, "{body}");
            let ids = body["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
            pages.push(ids.collect());
            assert_eq!(body["has_more"], json!(!body["next_cursor"].is_null()));
            let Some(cursor) = body["next_cursor"].as_str() else { return pages };
            next = format!("&cursor={cursor}");
        }
    }
}

#[tokio::test]
async fn a_customer_sees_each_order_of_theirs_once_and_an_operator_all() {
    let bench = bench().await;
    let mut own = Vec::new();
    for number in 0..5 {
        let mut body = order("MUG", json!(1));
        body["reference"] = json!(format!("PO-{number}"));
        let placed = bench.post(&format!("key-{number}"), body.to_string()).await;
        own.push(placed.body["id"].as_str().unwrap().to_owned());
    }
    own.reverse();
    let mut other = super::http::runs(bench.another());
    other.customer = CustomerId::mint();
    let theirs = other.post("key", order("PAN", json!(1)).to_string()).await.body["id"].as_str().unwrap().to_owned();

    let customer = Principal::Customer(bench.customer);
    assert_eq!(bench.pages(&customer, "limit=2").await, [&own[..2], &own[2..4], &own[4..]]);
    assert_eq!(bench.pages(&customer, "limit=5").await, [&own[..]], "an exact page has nothing behind it");
    assert_eq!(bench.pages(&Principal::Customer(other.customer), "").await, [vec![theirs.clone()]]);
    let all: Vec<String> = std::iter::once(theirs).chain(own.clone()).collect();
    assert_eq!(bench.pages(&Principal::Operator, "limit=100").await, [all]);
    assert_eq!(bench.pages(&Principal::Customer(CustomerId::mint()), "").await, [Vec::<String>::new()]);

    let latest = bench.list(&customer, "?limit=1").await.body["data"][0].clone();
    let shown = bench.view(&own[0]).await;
    assert_eq!((&latest["reference"], &latest["customer"]), (&json!("PO-4"), &json!(bench.customer)));
    for field in ["id", "reference", "version", "status", "total", "placed_at", "updated_at"] {
        assert_eq!(latest[field], shown[field], "{field}");
    }
}

/// What is placed while a client turns the pages neither shows up among the older ones nor takes one away.
#[tokio::test]
async fn a_cursor_stands_still_while_orders_come() {
    let bench = bench().await;
    let customer = Principal::Customer(bench.customer);
    for number in 0..4 {
        bench.post(&format!("key-{number}"), order("MUG", json!(1)).to_string()).await;
    }
    let before = bench.pages(&customer, "limit=4").await.concat();
    let first = bench.list(&customer, "?limit=2").await.body;
    bench.post("late", order("MUG", json!(1)).to_string()).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = bench.list(&customer, &format!("?limit=2&cursor={cursor}")).await.body;
    let ids = |page: &Value| page["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    assert_eq!([ids(&first), ids(&second)].concat(), before);
}

#[tokio::test]
async fn an_order_that_cannot_be_read_is_left_out_of_the_list_which_goes_on_behind_it() {
    let log = testkit::log(tracing::Level::DEBUG);
    let bench = bench().await;
    let mut own = Vec::new();
    for number in 0..3 {
        let mut body = order("MUG", json!(1));
        body["reference"] = json!(format!("PO-{number}"));
        let placed = bench.post(&format!("key-{number}"), body.to_string()).await;
        own.push(placed.body["id"].as_str().unwrap().to_owned());
    }
    let (latest, damaged, first) = ([own[2].clone()], own[1].clone(), [own[0].clone()]);
    let set = async |what: &str| {
        let update = sqlx::query(sqlx::AssertSqlSafe(format!("update {what} = $1")));
        let done = update.bind(damaged.parse::<uuid::Uuid>().unwrap()).execute(bench.db()).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    };
    for (damage, mend) in [
        ("orders set total_currency = 'DUCATS' where id", "orders set total_currency = 'EUR' where id"),
        ("orders set lines = '7' where id", "orders set lines = '[]' where id"),
        ("orders set placed_at = 'infinity' where id", "orders set placed_at = updated_at where id"),
        ("orders set shipments = '[7]' where id", "orders set shipments = '[]' where id"),
        ("order_reference set reference = '' where order_id", "order_reference set reference = 'P' where order_id"),
    ] {
        set(damage).await;
        for principal in [Principal::Customer(bench.customer), Principal::Operator] {
            let pages = [latest.to_vec(), vec![], first.to_vec()];
            assert_eq!(bench.pages(&principal, "limit=1").await, pages, "{damage}");
            assert_eq!(bench.pages(&principal, "limit=2").await, [&latest, &first], "{damage}");
            assert_eq!(bench.pages(&principal, "").await, [[&latest[..], &first].concat()], "{damage}");
        }
        set(mend).await;
    }
    assert_eq!(bench.pages(&Principal::Operator, "").await.concat().len(), 3, "all mended");
    let log = log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("is left out") && line.contains(&damaged)).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("ERROR")), "{lines:?}");
}

#[tokio::test]
async fn orders_are_found_by_their_status() {
    let bench = Bench::new().await;
    let (pending, confirmed) = (bench.order().await.order.to_string(), bench.confirmed().await.order.to_string());
    for principal in [Principal::Customer(bench.customer), Principal::Operator] {
        assert_eq!(bench.pages(&principal, "status=pending").await, [[pending.clone()]]);
        assert_eq!(bench.pages(&principal, "status=confirmed").await, [[confirmed.clone()]]);
        assert_eq!(bench.pages(&principal, "status=shipped").await, [Vec::<String>::new()]);
    }
    let foreign = web::page::Cursor("PO-1");
    for query in ["status=paid", "status=", "limit=0", "limit=101", "cursor=1", &format!("cursor={foreign}"), "page=2"]
    {
        let answer = bench.list(&Principal::Operator, &format!("?{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (400, &json!("invalid_query")), "{query}");
    }
}

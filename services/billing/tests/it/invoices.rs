//! Invoices and credit notes: issued once, numbered without gaps, and never changed.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use contracts::CustomerId;
use jiff::Timestamp;
use messaging::HandleError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use web::access::Principal;

use crate::bench::{Bench, HANDED_OVER_ONLY, Mood, Order, PRICE};
use crate::http::Client;

const OPERATOR: Option<Principal> = Some(Principal::Operator);

/// Captured orders, their events not told yet.
async fn captured(count: usize) -> (Bench, Vec<Order>) {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let orders: Vec<Order> = (0..count).map(|_| Order::with("tok_ok")).collect();
    bench.send(&orders.iter().map(Order::authorize).collect::<Vec<_>>()).await.unwrap();
    bench.answered(count).await;
    bench.send(&orders.iter().map(Order::capture).collect::<Vec<_>>()).await.unwrap();
    bench.answered(2 * count).await;
    (bench, orders)
}

/// Kind, number and refund of all that was issued.
async fn issued(bench: &Bench) -> Vec<(String, i64, i32)> {
    let query = "select kind, number, refund from invoice order by kind desc, number";
    sqlx::query_as(query).fetch_all(&bench.pool).await.unwrap()
}

/// How far numbers are given out that no row has, and how many rows have not the hash of their bytes.
async fn unsound(bench: &Bench) -> (i64, i64) {
    let gaps = "select (select sum(last) from invoice_series)::bigint - count(distinct (kind, number)) from invoice";
    let hashes = "select count(*) from invoice where hash <> sha256(convert_to(facts, 'UTF8'))";
    (bench.count(gaps).await, bench.count(hashes).await)
}

#[tokio::test]
async fn each_confirmed_order_is_invoiced_once_and_numbers_have_no_gaps_though_a_batch_is_rolled_back() {
    let (bench, orders) = captured(12).await;
    let stranger = Order::with("tok_ok");
    for some in orders.chunks(4) {
        let mut events: Vec<_> = some.iter().map(Order::confirmed).collect();
        events.push(stranger.confirmed());
        let refused = bench.tell(&events).await;
        assert!(matches!(refused, Err(HandleError::ThisMessage { .. })), "{refused:?}");
        events.pop();
        // Twice in one batch, and again in the next.
        events.extend(some.iter().map(Order::confirmed));
        for _ in 0..2 {
            bench.tell(&events).await.unwrap();
        }
    }
    let numbers: Vec<i64> = issued(&bench).await.into_iter().map(|(_, number, _)| number).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<i64>>());
    assert_eq!(bench.count("select count(distinct order_id) from invoice").await, 12);
    assert_eq!(unsound(&bench).await, (0, 0));
    let late =
        "select count(*) from (select issued_at < lag(issued_at) over (order by number) as late from invoice) as one
                where late";
    assert_eq!(bench.count(late).await, 0, "in the order of their numbers");
}

#[tokio::test]
async fn an_event_that_needs_nothing_is_not_even_remembered() {
    let (bench, orders) = captured(1).await;
    let known = bench.count("select count(*) from inbox").await;
    let (order, version, at) = (orders[0].id, 3, "2026-11-21T09:30:00Z".parse().unwrap());
    let nothing = contracts::order::OrderEvent::CancellationRefused { order, version, at };
    bench.tell(std::slice::from_ref(&nothing)).await.unwrap();
    bench.tell(&[nothing, orders[0].confirmed()]).await.unwrap();
    assert_eq!(bench.count("select count(*) from inbox").await, known + 1);
    let read = "select next_offset from consumer_offset where topic = 'order.events'";
    assert_eq!((bench.count(read).await, issued(&bench).await.len()), (3, 1));
}

#[tokio::test]
async fn papers_of_a_cancelled_order_add_up_to_nothing_in_whatever_order_events_come() {
    for (before, after) in [(true, false), (true, true), (false, true), (false, false)] {
        let (bench, orders) = captured(1).await;
        let order = &orders[0];
        if before {
            bench.tell(&[order.confirmed()]).await.unwrap();
        }
        bench.send(&[order.refund()]).await.unwrap();
        bench.answered(3).await;
        bench.tell(&[order.cancelled()]).await.unwrap();
        if after {
            bench.tell(&[order.confirmed(), order.cancelled()]).await.unwrap();
        }
        let gross = "select coalesce(sum((facts::json -> 'total' ->> 'gross')::bigint), 0)::bigint from invoice";
        let expected =
            if before { vec![("invoice".to_owned(), 1, 0), ("credit_note".to_owned(), 1, 0)] } else { vec![] };
        assert_eq!((issued(&bench).await, bench.count(gross).await), (expected, 0), "{before} {after}");
        assert_eq!(bench.count("select count(*) from payment where closed and not late_cleanup").await, 1);
    }
    // Both in one batch: the note corrects an invoice that is issued with it. And what was refunded is invoiced all the same.
    let (bench, orders) = captured(1).await;
    bench.send(&[orders[0].refund()]).await.unwrap();
    bench.answered(3).await;
    bench.tell(&[orders[0].confirmed(), orders[0].cancelled()]).await.unwrap();
    let expected = vec![("invoice".to_owned(), 1, 0), ("credit_note".to_owned(), 1, 0)];
    assert_eq!((issued(&bench).await, unsound(&bench).await), (expected, (0, 0)));
}

#[tokio::test]
async fn each_part_that_goes_back_is_credited_and_the_end_credits_the_rest() {
    let (bench, orders) = captured(1).await;
    let (order, client) = (&orders[0], Client::of(&bench));
    bench.tell(&[order.confirmed()]).await.unwrap();
    for (key, amount) in [("first", 333), ("second", 100)] {
        let body = json!({ "amount": { "amount": amount, "currency": "EUR" } });
        let path = format!("/v1/payments/{}/refunds", order.id);
        assert_eq!(client.post(&path, key, &body, OPERATOR).await.0, 202);
        bench.poll(async || (bench.count("select count(*) from intent").await == 0).then_some(())).await;
    }
    bench.send(&[order.refund()]).await.unwrap();
    bench.answered(3).await;
    bench.tell(&[order.cancelled()]).await.unwrap();
    let (status, list) = client.get(&format!("/v1/orders/{}/invoices", order.id), OPERATOR).await;
    assert_eq!(status, 200, "{list}");
    let seen: Vec<(&str, i64, &Value)> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["number"].as_str().unwrap(), one["total"]["amount"].as_i64().unwrap(), &one["corrects"]))
        .collect();
    let second = &list["data"][1];
    let next = web::page::Cursor(&second["number"]);
    let path = format!("/v1/orders/{}/invoices?limit=1&cursor={next}", order.id);
    let (_, third) = client.get(&path, OPERATOR).await;
    assert_eq!((&third["data"][0], &third["has_more"]), (&list["data"][2], &json!(true)), "a page at a time");
    assert_eq!((&list["has_more"], &list["next_cursor"]), (&json!(false), &Value::Null));
    let first = json!("INV-1");
    assert_eq!(
        seen,
        [("INV-1", 1290, &Value::Null), ("CN-1", -333, &first), ("CN-2", -100, &first), ("CN-3", -857, &first)]
    );
    let mut sums = [0; 3];
    for (number, ..) in seen {
        let (_, one) = client.get(&format!("/v1/invoices/{number}"), OPERATOR).await;
        let parts = ["net", "vat", "gross"].map(|part| one["taxes"][0][part].as_i64().unwrap());
        sums = [sums[0] + parts[0], sums[1] + parts[1], sums[2] + parts[2]];
    }
    assert_eq!(sums, [0; 3], "net, VAT and gross");
    assert_eq!(unsound(&bench).await, (0, 0));
}

/// The order service's clock dates the supply, billing's the papers, and either may be ahead or be set back.
#[tokio::test]
async fn no_paper_is_dated_before_what_it_is_about_whosever_clock_is_ahead() {
    let (bench, orders) = captured(3).await;
    let ahead: Timestamp = sqlx::query_scalar("select to_json(now() + interval '2 days') #>> '{}'")
        .fetch_one(&bench.pool)
        .await
        .map(|at: String| at.parse().unwrap())
        .unwrap();
    bench.tell(&[orders[0].confirmed_at(ahead)]).await.unwrap();
    let set_back = "update invoice_series set issued_at = issued_at + interval '2 days' where kind = 'invoice'";
    sqlx::raw_sql(set_back).execute(&bench.pool).await.unwrap();
    bench.tell(&[orders[1].confirmed_at(ahead)]).await.unwrap();
    bench.tell(&[orders[2].confirmed()]).await.unwrap();
    for (order, said) in orders.iter().zip(7..) {
        bench.send(&[order.refund()]).await.unwrap();
        bench.answered(said).await;
        bench.tell(&[order.cancelled()]).await.unwrap();
    }
    let early = "select count(*) from invoice where (facts::json ->> 'supplied_on')::date
                    > ((facts::json ->> 'issued_at')::timestamptz at time zone 'UTC')::date";
    assert_eq!((issued(&bench).await.len(), bench.count(early).await), (6, 0), "none is issued before the supply");
    let early = "select count(*) from invoice note join invoice using (order_id)
                 where note.kind = 'credit_note' and invoice.kind = 'invoice' and note.issued_at < invoice.issued_at";
    assert_eq!(bench.count(early).await, 0, "no note is issued before what it corrects");
    assert_eq!(unsound(&bench).await, (0, 0));
}

/// Somebody has erred, and an order was cancelled while a part of its money was on its way back.
#[tokio::test]
async fn a_part_that_is_under_way_when_its_order_is_cancelled_is_credited_once() {
    for refused in [false, true] {
        let bench = Bench::start(HANDED_OVER_ONLY).await;
        let client = Client::of(&bench);
        let order = Order::with(if refused { "tok_refund_declined" } else { "tok_ok" });
        bench.send(&[order.authorize()]).await.unwrap();
        bench.answered(1).await;
        bench.send(&[order.capture()]).await.unwrap();
        bench.answered(2).await;
        bench.tell(&[order.confirmed()]).await.unwrap();
        bench.provider.is(Mood::Holds(order.refund_key(1)));
        let body = json!({ "amount": { "amount": 333, "currency": "EUR" } });
        let path = format!("/v1/payments/{}/refunds", order.id);
        assert_eq!(client.post(&path, "part", &body, OPERATOR).await.0, 202);
        bench.tell(&[order.cancelled()]).await.unwrap();
        bench.provider.is(Mood::Talks);
        let under_way = "select count(*) from intent where parked is null";
        bench.poll(async || (bench.count(under_way).await == 0).then_some(())).await;
        let gross = "select sum((facts::json -> 'total' ->> 'gross')::bigint)::bigint from invoice";
        assert_eq!((issued(&bench).await.len(), bench.count(gross).await), (2, 0), "refused: {refused}");
        let left = if refused { PRICE.amount } else { 0 };
        let kept: i64 = bench.balances().await.iter().filter(|(name, _)| is_income(name)).map(|(_, sum)| -sum).sum();
        assert_eq!(kept, left, "refused: {refused}");
    }
}

fn is_income(account: &str) -> bool {
    matches!(account, "sales" | "vat_payable")
}

#[tokio::test]
async fn what_is_held_for_a_cancelled_order_is_let_go_and_counted() {
    let (bench, orders) = captured(1).await;
    let authorized = Order::with("tok_ok");
    bench.send(&[authorized.authorize()]).await.unwrap();
    bench.answered(3).await;
    bench.tell(&[authorized.cancelled(), orders[0].cancelled(), Order::with("tok_ok").cancelled()]).await.unwrap();
    bench.poll(async || (bench.count("select count(*) from intent").await == 0).then_some(())).await;
    assert_eq!(
        (bench.state(authorized.id).await, bench.state(orders[0].id).await),
        ("voided".into(), "refunded".into())
    );
    assert_eq!(bench.balances().await, [("provider_fees", 18), ("provider_receivable", -18)]);
    assert_eq!(bench.count("select count(*) from payment where late_cleanup").await, 2);
    assert_eq!(bench.answers().await.len(), 3, "nobody has asked, so nobody is answered");
    assert_eq!(bench.count("select count(*) from payment where state = 'tombstone' and closed").await, 1);
}

#[tokio::test]
async fn an_invoice_is_shown_to_its_customer_byte_for_byte_or_as_a_page() {
    let (bench, orders) = captured(1).await;
    let (order, client) = (&orders[0], Client::of(&bench));
    bench.tell(&[order.confirmed()]).await.unwrap();
    let facts: String = sqlx::query_scalar("select facts from invoice").fetch_one(&bench.pool).await.unwrap();
    let own = Some(Principal::Customer(order.customer));
    let stranger = Some(Principal::Customer(CustomerId::mint()));
    let list = format!("/v1/orders/{}/invoices", order.id);
    for (path, principal, status, code) in [
        ("/v1/invoices/INV-1", None, 401, json!("unauthenticated")),
        ("/v1/invoices/INV-1", stranger, 404, json!("invoice_not_found")),
        ("/v1/invoices/INV-1", own, 200, Value::Null),
        ("/v1/invoices/INV-2", OPERATOR, 404, json!("invoice_not_found")),
        ("/v1/invoices/CN-1", own, 404, json!("invoice_not_found")),
        ("/v1/invoices/nonsense", own, 400, json!("invalid_path")),
        (&list, None, 401, json!("unauthenticated")),
        (&list, stranger, 404, json!("payment_not_found")),
        (&list, own, 200, Value::Null),
    ] {
        let (found, body) = client.get(path, principal).await;
        assert_eq!((found.as_u16(), &body["code"]), (status, &code), "{path} as {principal:?}: {body}");
    }
    let digest: String = Sha256::digest(&facts).iter().map(|byte| format!("{byte:02x}")).collect();
    for (accept, content) in [
        (None, "application/json"),
        (Some("application/json, text/html"), "application/json"),
        (Some("*/*"), "application/json"),
        (Some("text/html,application/xhtml+xml,*/*;q=0.8"), "text/html; charset=utf-8"),
    ] {
        let mut request = Request::builder().uri("/v1/invoices/INV-1");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let response = client.response(request, own, Body::empty()).await;
        assert_eq!(response.headers()[CONTENT_TYPE], content, "{accept:?}");
        let tag = if content == "application/json" { digest.clone() } else { format!("{digest}-page") };
        assert_eq!(response.headers()[ETAG], format!("\"{tag}\""), "{accept:?}: each form has its own");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{accept:?}: it names somebody");
        let known = Request::builder().uri("/v1/invoices/INV-1").header(IF_NONE_MATCH, format!("\"{tag}\""));
        let known = client.response(known.header(ACCEPT, accept.unwrap_or("*/*")), own, Body::empty()).await;
        assert_eq!(known.status(), 304, "{accept:?}: the client has it");
        assert_eq!(
            (&known.headers()[ETAG], &known.headers()[VARY]),
            (&response.headers()[ETAG], &"accept".parse().unwrap())
        );
        let body = String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap();
        if content == "application/json" {
            assert_eq!(body, facts);
        } else {
            assert!(body.contains("<h1>Invoice INV-1</h1>") && body.contains("Ada Lovelace"), "{body}");
        }
    }
}

#[tokio::test]
async fn everybody_finds_each_of_their_invoices_once_and_an_operator_all() {
    let (bench, orders) = captured(5).await;
    bench.tell(&orders.iter().map(Order::confirmed).collect::<Vec<_>>()).await.unwrap();
    bench.send(&[orders[0].refund()]).await.unwrap();
    bench.answered(11).await;
    bench.tell(&[orders[0].cancelled()]).await.unwrap();
    let client = Client::of(&bench);
    let pages = async |principal: Principal, limit: u32| {
        let (mut pages, mut next) = (Vec::new(), String::new());
        loop {
            let (status, page) = client.get(&format!("/v1/invoices?limit={limit}{next}"), Some(principal)).await;
            assert_eq!(status, 200, "{page}");
            let numbers = page["data"].as_array().unwrap().iter().map(|one| one["number"].as_str().unwrap().to_owned());
            pages.push(numbers.collect::<Vec<_>>());
            assert_eq!(page["has_more"], json!(!page["next_cursor"].is_null()));
            let Some(cursor) = page["next_cursor"].as_str() else { return pages };
            next = format!("&cursor={cursor}");
        }
    };
    let all = [vec!["INV-5", "INV-4"], vec!["INV-3", "INV-2"], vec!["INV-1", "CN-1"]];
    assert_eq!(pages(Principal::Operator, 2).await, all);
    let own = pages(Principal::Customer(orders[0].customer), 100).await;
    assert_eq!((own.len(), own[0].len(), own[0][1].as_str()), (1, 2, "CN-1"), "{own:?}");
    assert_eq!(pages(Principal::Customer(orders[1].customer), 1).await.concat().len(), 1);
    assert_eq!(pages(Principal::Customer(CustomerId::mint()), 1).await, [Vec::<String>::new()]);
    for query in ["limit=0", "limit=101", "cursor=1", "kind=invoice"] {
        let (status, problem) = client.get(&format!("/v1/invoices?{query}"), OPERATOR).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_query")), "{query}");
    }
}

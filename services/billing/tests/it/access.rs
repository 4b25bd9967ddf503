//! Every operation of this service, and who gets in.

use axum::http::Method;
use contracts::{Currency, Money};
use serde_json::json;
use testkit::{
    access::{Doors, Operation, Who},
    postgres_contents,
};

use crate::bench::{Bench, HANDED_OVER_ONLY, Order};
use crate::http::Client;

/// Billing with an order that is invoiced, and all the operations there are.
async fn billing() -> (Bench, Client, Vec<Operation>) {
    let bench = Bench::start(HANDED_OVER_ONLY).await;
    let client = Client::of(&bench);
    let order = Order::with("tok_ok");
    bench.send(&[order.authorize()]).await.unwrap();
    bench.answered(1).await;
    bench.send(&[order.capture()]).await.unwrap();
    bench.answered(2).await;
    bench.tell(&[order.confirmed()]).await.unwrap();
    let (owner, desk) = (Who::Owner(order.customer), Who::Operators);
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let ada = json!({ "name": "Ada Lovelace", "address": ["12 St James's Square", "London"], "country": "GB",
                      "email": "ada@example.org" });
    let refund = json!({ "amount": Money::new(1, Currency::EUR) }).to_string();
    let table = [
        (&get, "/v1/payments", String::new(), desk, 200),
        (&get, "/v1/payments/{order}", String::new(), owner, 200),
        (&post, "/v1/payments/{order}/resume", String::new(), desk, 409),
        (&post, "/v1/payments/{order}/republish", String::new(), desk, 202),
        (&get, "/v1/payments/{order}/refunds", String::new(), desk, 200),
        (&post, "/v1/payments/{order}/refunds", refund, desk, 202),
        (&get, "/v1/invoices", String::new(), Who::Principals, 200),
        (&get, "/v1/invoices/{number}", String::new(), owner, 200),
        (&get, "/v1/orders/{order}/invoices", String::new(), owner, 200),
        (&get, "/v1/ledger/accounts", String::new(), desk, 200),
        (&get, "/v1/customers/{customer}", String::new(), owner, 200),
        (&put, "/v1/customers/{customer}", ada.to_string(), owner, 200),
        (&delete, "/v1/customers/{customer}", String::new(), owner, 204),
        (&post, "/v1/provider/webhooks", "{}".to_owned(), Who::Signer, 401),
    ];
    let operation = |(method, route, body, who, status): (&Method, &'static str, String, Who, u16)| {
        let path = route.replace("{order}", &order.id.to_string()).replace("{number}", "INV-1");
        let path = path.replace("{customer}", &order.customer.to_string());
        let path = if route == "/v1/payments" { format!("{path}?state=parked") } else { path };
        Operation { method: method.clone(), route, path, body, who, status }
    };
    (bench, client, table.into_iter().map(operation).collect())
}

fn doors(client: &Client) -> Doors<'_> {
    Doors { router: client.router.clone(), private_pem: &client.private_pem }
}

#[tokio::test]
async fn whoever_may_not_is_kept_out_of_every_operation_and_changes_nothing() {
    let (bench, client, operations) = billing().await;
    let before = postgres_contents(&bench.pool).await;
    doors(&client).keep_out(&operations).await;
    assert_eq!(postgres_contents(&bench.pool).await, before);
    doors(&client).let_in(&operations).await;
    assert_ne!(postgres_contents(&bench.pool).await, before);
}

#[tokio::test]
async fn every_route_is_in_the_list() {
    let (_bench, client, operations) = billing().await;
    doors(&client).are_all(&operations).await;
}

#[tokio::test]
async fn every_operation_is_described_and_no_other() {
    let (_bench, client, operations) = billing().await;
    doors(&client).are_described(&operations).await;
}

/// What the description shows can be sent as it stands, and is answered as it says.
#[tokio::test]
async fn every_operation_does_as_its_example_shows() {
    let (_bench, client, operations) = billing().await;
    doors(&client).do_as_they_show(&operations).await;
}

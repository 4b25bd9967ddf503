//! Every operation of this service, and who gets in.

use axum::http::Method;
use serde_json::json;
use testkit::{
    access::{Doors, Operation, Who},
    postgres_contents,
};

use web::gate::Gate;

use super::{
    bench::{Bench, product},
    http::{bench, order},
};
use crate::http;

/// All there are. A route that is missing here is found by [`every_route_is_in_the_list`].
async fn operations(bench: &Bench) -> Vec<Operation> {
    let id = bench.post("first", order("MUG", json!(1)).to_string()).await.body["id"].as_str().unwrap().to_owned();
    let (owner, desk) = (Who::Owner(bench.customer), Who::Operators);
    let operation = |method: Method, route: &'static str, who, status| {
        let body = if route == "/v1/orders" && method == Method::POST {
            order("MUG", json!(1)).to_string()
        } else {
            String::new()
        };
        Operation { method, route, path: route.replace("{id}", &id), body, who, status }
    };
    vec![
        operation(Method::POST, "/v1/orders", Who::Customers, 202),
        operation(Method::GET, "/v1/orders", Who::Principals, 200),
        operation(Method::GET, "/v1/orders/{id}", owner, 200),
        operation(Method::GET, "/v1/orders/{id}/events", owner, 200),
        operation(Method::POST, "/v1/orders/{id}/republish", desk, 202),
        operation(Method::POST, "/v1/orders/rebuild", desk, 200),
        operation(Method::POST, "/v1/orders/{id}/cancellation", owner, 202),
        operation(Method::GET, "/v1/sagas/parked", desk, 200),
        operation(Method::POST, "/v1/sagas/{id}/resume", desk, 404),
    ]
}

fn doors(bench: &Bench) -> Doors<'_> {
    Doors {
        router: web::serve::guarded(http::routes(bench.app.clone()), Gate::default()),
        private_pem: &bench.private_pem,
    }
}

#[tokio::test]
async fn whoever_may_not_is_kept_out_of_every_operation_and_changes_nothing() {
    let bench = bench().await;
    let operations = operations(&bench).await;
    let before = postgres_contents(bench.db()).await;
    doors(&bench).keep_out(&operations).await;
    assert_eq!(postgres_contents(bench.db()).await, before);
    doors(&bench).let_in(&operations).await;
    assert_ne!(postgres_contents(bench.db()).await, before);
}

#[tokio::test]
async fn every_route_is_in_the_list() {
    let bench = bench().await;
    let operations = operations(&bench).await;
    doors(&bench).are_all(&operations).await;
}

#[tokio::test]
async fn every_operation_is_described_and_no_other() {
    let bench = bench().await;
    let operations = operations(&bench).await;
    doors(&bench).are_described(&operations).await;
}

/// What the description shows can be sent as it stands, and is answered as it says.
#[tokio::test]
async fn every_operation_does_as_its_example_shows() {
    let bench = bench().await;
    bench.products(&[product("MUG-BLUE-01", 1, 1290)]).await.unwrap();
    let operations = operations(&bench).await;
    doors(&bench).do_as_they_show(&operations).await;
}

//! Every operation of this service, and who gets in.

use axum::http::Method;
use contracts::OrderId;
use serde_json::json;
use testkit::{
    access::{Doors, Operation, Who},
    mongo_contents,
};

use crate::world::{World, confirmed, hold, keys, mug};

/// A world with a product, an order that can be shipped, and all the operations there are.
async fn world() -> (World, Vec<Operation>) {
    let mut world = World::with_stock(&[("MUG", 3)]).await;
    let order = OrderId::mint();
    world.feed(&[hold(order, &[("MUG", 1)])]).await.unwrap();
    world.feed(&[confirmed(order)]).await.unwrap();
    let (all, any, desk) = (Who::Everybody, Who::Principals, Who::Operators);
    let shipment = json!({ "order": order, "warehouse": "LYON" }).to_string();
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let table = [
        (&get, "/v1/products", String::new(), all, 200),
        (&get, "/v1/products/{sku}", String::new(), all, 200),
        (&put, "/v1/products/{sku}", mug().to_string(), desk, 200),
        (&post, "/v1/products/{sku}/republish", String::new(), desk, 202),
        (&get, "/v1/stock/{sku}", String::new(), any, 200),
        (&post, "/v1/stock/{sku}/receipts", r#"{"warehouse":"LYON","pieces":1}"#.to_owned(), desk, 201),
        (&post, "/v1/shipments", shipment, desk, 201),
        (&get, "/v1/holds/{order}", String::new(), desk, 200),
        (&post, "/v1/holds/{order}/republish", String::new(), desk, 202),
    ];
    let operation = |(method, route, body, who, status): (&Method, &'static str, String, Who, u16)| {
        let path = route.replace("{sku}", "MUG").replace("{order}", &order.to_string());
        Operation { method: method.clone(), route, path, body, who, status }
    };
    let operations = table.into_iter().map(operation).collect();
    (world, operations)
}

fn doors(world: &World) -> Doors<'static> {
    Doors { router: world.router.clone(), private_pem: &keys().0 }
}

#[tokio::test]
async fn whoever_may_not_is_kept_out_of_every_operation_and_changes_nothing() {
    let (world, operations) = world().await;
    let before = mongo_contents(&world.db).await;
    doors(&world).keep_out(&operations).await;
    assert_eq!(mongo_contents(&world.db).await, before);
    doors(&world).let_in(&operations).await;
    assert_ne!(mongo_contents(&world.db).await, before);
}

#[tokio::test]
async fn every_route_is_in_the_list() {
    let (world, operations) = world().await;
    doors(&world).are_all(&operations).await;
}

#[tokio::test]
async fn every_operation_is_described_and_no_other() {
    let (world, operations) = world().await;
    doors(&world).are_described(&operations).await;
}

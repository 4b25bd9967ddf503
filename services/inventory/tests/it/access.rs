//! Every operation of this service, and who gets in.

use axum::http::Method;
use serde_json::json;
use testkit::{
    access::{Doors, Operation, Who},
    mongo_contents,
};

use crate::world::{World, confirmed, hold, keys, mug};

/// What the examples of the description are about.
const MUG: &str = "MUG-BLUE-01";
const ORDER: &str = "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01";

/// A world with a product, an order that can be shipped, and all the operations there are.
async fn world() -> (World, Vec<Operation>) {
    let mut world = World::with_stock(&[(MUG, 0)]).await;
    assert_eq!(world.receipt_in("HAMBURG", MUG, "stock", 3).await.0, 201);
    let order = ORDER.parse().unwrap();
    world.feed(&[hold(order, &[(MUG, 2)])]).await.unwrap();
    world.feed(&[confirmed(order)]).await.unwrap();
    let (all, any, desk) = (Who::Everybody, Who::Principals, Who::Operators);
    let shipment = json!({ "order": order, "warehouse": "HAMBURG" }).to_string();
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
        let path = route.replace("{sku}", MUG).replace("{order}", ORDER);
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

/// What the description shows can be sent as it stands, and is answered as it says.
#[tokio::test]
async fn every_operation_does_as_its_example_shows() {
    let (world, mut operations) = world().await;
    // To change a product one has to say which state of it; to create one, nothing.
    let put = operations.iter_mut().find(|operation| operation.method == Method::PUT).unwrap();
    (put.path, put.status) = ("/v1/products/MUG-NEW".to_owned(), 201);
    doors(&world).do_as_they_show(&operations).await;
}

//! Products are created, changed and listed; the other services learn of each change.

use axum::http::StatusCode;
use bson::doc;
use contracts::inventory::CatalogueEvent;
use futures::TryStreamExt;
use serde_json::json;

use crate::world::{Who, World, mug};

async fn told(world: &World) -> Vec<(String, u32)> {
    let outbox = world.db.collection::<bson::Document>("outbox");
    let filter = doc! { "topic": "inventory.catalogue" };
    let rows: Vec<_> = outbox.find(filter).sort(doc! { "sequence": 1 }).await.unwrap().try_collect().await.unwrap();
    let event = |row: &bson::Document| {
        let event: CatalogueEvent = serde_json::from_str(row.get_str("payload").unwrap()).unwrap();
        let CatalogueEvent::ProductChanged { sku, version, .. } = event;
        assert_eq!(row.get_str("key").unwrap(), sku.as_str());
        (sku.to_string(), version)
    };
    rows.iter().map(event).collect()
}

#[tokio::test]
async fn a_product_is_created_once_and_its_version_grows_with_each_change() {
    let world = World::new().await;
    let (status, created) = world.put_product("MUG", &mug()).await;
    assert_eq!((status, &created["version"]), (StatusCode::CREATED, &json!(1)));
    let (status, same) = world.put_product("MUG", &mug()).await;
    assert_eq!((status, &same), (StatusCode::OK, &created), "nothing changed");
    let mut dearer = mug();
    dearer["price"]["amount"] = json!(1390);
    let (status, changed) = world.put_product("MUG", &dearer).await;
    assert_eq!((status, &changed["version"]), (StatusCode::OK, &json!(2)));
    assert_eq!(told(&world).await, [("MUG".to_owned(), 1), ("MUG".to_owned(), 2)]);
    assert_eq!(world.get(Who::Nobody, "/v1/products/MUG").await, (StatusCode::OK, changed));
    let (_, stock) = world.get(Who::Customer, "/v1/stock/MUG").await;
    assert_eq!(stock, json!({ "sku": "MUG", "on_hand": 0, "held": 0, "available": 0, "warehouses": [] }));
}

#[tokio::test]
async fn of_many_changes_at_once_none_is_lost() {
    let world = World::new().await;
    let details = |amount: u32| {
        let mut details = mug();
        details["price"]["amount"] = json!(amount);
        details
    };
    let wanted: Vec<_> = (1..=12).map(details).collect();
    let all = futures::future::join_all(wanted.iter().map(|details| world.put_product("MUG", details))).await;
    assert!(all.iter().all(|(status, _)| status.is_success()), "{all:?}");
    let expected: Vec<_> = (1..=12).map(|version| ("MUG".to_owned(), version)).collect();
    assert_eq!(told(&world).await, expected);
    assert_eq!(world.count("stock").await, 1);
}

#[tokio::test]
async fn the_list_has_every_product_once() {
    let world = World::new().await;
    for sku in ["C", "A", "E", "B", "D"] {
        world.product(sku).await;
    }
    let mut path = "/v1/products?limit=2".to_owned();
    let mut pages = Vec::new();
    loop {
        let (status, body) = world.get(Who::Nobody, &path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let skus: Vec<_> = body["data"].as_array().unwrap().iter().map(|one| one["sku"].clone()).collect();
        pages.push(json!(skus));
        assert_eq!(body["has_more"], json!(!body["next_cursor"].is_null()));
        let Some(cursor) = body["next_cursor"].as_str() else { break };
        path = format!("/v1/products?limit=2&cursor={cursor}");
    }
    assert_eq!(pages, [json!(["A", "B"]), json!(["C", "D"]), json!(["E"])]);
}

#[tokio::test]
async fn an_exact_page_has_nothing_behind_it() {
    let world = World::new().await;
    world.product("A").await;
    let (_, body) = world.get(Who::Nobody, "/v1/products?limit=1").await;
    assert_eq!((&body["has_more"], &body["next_cursor"]), (&json!(false), &json!(null)));
}

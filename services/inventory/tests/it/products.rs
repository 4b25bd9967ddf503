//! Products are created, changed and listed; the other services learn of each change.

use axum::http::{Method, StatusCode};
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
    let (status, refused) = world.put_product("MUG", &dearer).await;
    assert_eq!((status.as_u16(), &refused["code"]), (428, &json!("precondition_required")));
    let (status, changed) = world.change_product("MUG", "\"1\"", &dearer).await;
    assert_eq!((status, &changed["version"]), (StatusCode::OK, &json!(2)));
    assert_eq!(told(&world).await, [("MUG".to_owned(), 1), ("MUG".to_owned(), 2)]);
    assert_eq!(world.get(Who::Nobody, "/v1/products/MUG").await, (StatusCode::OK, changed));
    let (_, stock) = world.get(Who::Customer, "/v1/stock/MUG").await;
    assert_eq!(stock, json!({ "sku": "MUG", "on_hand": 0, "held": 0, "available": 0, "warehouses": [] }));
}

/// Each of twelve raises the price by one, and looks again whenever another was first.
#[tokio::test]
async fn of_many_changes_at_once_none_is_lost() {
    let world = World::new().await;
    world.product("MUG").await;
    let raise = async || {
        let mut refused = 0;
        loop {
            let (tag, mut seen) = world.tagged("/v1/products/MUG").await;
            let amount = seen["price"]["amount"].as_i64().unwrap();
            let details = ["sku", "version", "at"].iter().fold(seen.take(), |mut details, field| {
                details.as_object_mut().unwrap().remove(*field);
                details
            });
            let mut details = details;
            details["price"]["amount"] = json!(amount + 1);
            let (status, body) = world.change_product("MUG", &tag, &details).await;
            if status == StatusCode::OK {
                return refused;
            }
            assert_eq!((status.as_u16(), &body["code"]), (412, &json!("precondition_failed")));
            refused += 1;
        }
    };
    let refused = futures::future::join_all((0..12).map(|_| raise())).await;
    assert!(refused.iter().sum::<u32>() > 0, "nobody was in anybody's way");
    let (_, seen) = world.tagged("/v1/products/MUG").await;
    assert_eq!((&seen["price"]["amount"], &seen["version"]), (&json!(1302), &json!(13)));
    let expected: Vec<_> = (1..=13).map(|version| ("MUG".to_owned(), version)).collect();
    assert_eq!(told(&world).await, expected);
    assert_eq!(world.count("stock").await, 1);
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again_and_what_it_has_not_seen_is_not_changed() {
    let world = World::new().await;
    let headers = [("if-match", "\"1\"")];
    let (status, _, body) = world.conditional(Method::PUT, "MUG", &headers, &mug().to_string()).await;
    assert_eq!((status.as_u16(), &body["code"]), (412, &json!("precondition_failed")), "there is nothing to change");
    let headers = [("if-none-match", "*")];
    let (status, created, _) = world.conditional(Method::PUT, "MUG", &headers, &mug().to_string()).await;
    assert_eq!((status, created["etag"].to_str().unwrap()), (StatusCode::CREATED, "\"1\""));
    for (known, expected) in [("\"1\"", 304), ("\"2\"", 200), ("*", 304), ("nonsense", 200)] {
        let (status, headers, body) = world.conditional(Method::GET, "MUG", &[("if-none-match", known)], "").await;
        assert_eq!(status.as_u16(), expected, "{known}: {body}");
        assert!(status.is_client_error() || headers["etag"] == "\"1\"");
        assert_eq!(status == StatusCode::NOT_MODIFIED, body.is_null(), "{known}: {body}");
    }
    let mut dearer = mug();
    dearer["price"]["amount"] = json!(1390);
    for tag in ["\"2\"", "W/\"1\""] {
        assert_eq!(world.change_product("MUG", tag, &dearer).await.0.as_u16(), 412, "{tag}");
    }
    assert_eq!(world.count("outbox").await, 1);
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

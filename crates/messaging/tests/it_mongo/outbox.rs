//! Messages stand in the outbox in the order in which they were caused.

use bson::{Document, Timestamp, doc};
use futures::TryStreamExt;
use messaging::mongo::{Statement, StatementRefused, Transaction};

use crate::support::{commit, database, message};

#[tokio::test]
async fn the_server_numbers_messages_in_the_order_they_were_put() {
    let db = database().await;
    let messages: Vec<_> = (0..20).map(|n| message(&n.to_string())).collect();
    for together in messages.chunks(5) {
        commit(&db, together).await;
    }
    let outbox = db.collection::<Document>("outbox");
    let stored: Vec<Document> =
        outbox.find(doc! {}).sort(doc! { "sequence": 1 }).await.unwrap().try_collect().await.unwrap();
    let keys: Vec<&str> = stored.iter().map(|document| document.get_str("key").unwrap()).collect();
    assert_eq!(keys, messages.iter().map(|message| message.key.as_str()).collect::<Vec<_>>());
    let sequences: Vec<Timestamp> = stored.iter().map(|document| document.get_timestamp("sequence").unwrap()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    assert!(sequences[0].time > 0, "filled by the server");
}

#[tokio::test]
async fn many_updates_say_how_many_matched_and_which_was_refused() {
    let db = database().await;
    db.create_collection("stock").validator(doc! { "held": { "$gte": 0 } }).await.unwrap();
    let mut tx = Transaction::begin(&db).await.unwrap();
    tx.insert("stock", &[doc! { "_id": "mug", "held": 1 }, doc! { "_id": "pot", "held": 1 }]).await.unwrap();
    let take = |sku: &str, seen: i32| Statement::new(doc! { "_id": sku, "held": seen }, doc! { "$inc": { "held": 1 } });
    assert_eq!(tx.update("stock", &[take("mug", 1), take("pot", 9), take("pan", 1)]).await.unwrap(), 1);
    let new = Statement::upsert(doc! { "_id": "pan" }, doc! { "$set": { "held": 5 } });
    assert_eq!(tx.update("stock", &[take("pot", 1), new]).await.unwrap(), 2);
    let mut found: Vec<Document> = tx.find("stock", doc! {}).await.unwrap();
    found.sort_by_key(|document| document.get_str("_id").unwrap().to_owned());
    assert_eq!(
        found,
        [doc! { "_id": "mug", "held": 2 }, doc! { "_id": "pan", "held": 5 }, doc! { "_id": "pot", "held": 2 }]
    );

    let negative = Statement::new(doc! { "_id": "mug" }, doc! { "$set": { "held": -1 } });
    let error = tx.update("stock", &[take("pot", 2), negative]).await.unwrap_err();
    let refused = error.get_custom::<StatementRefused>().unwrap();
    assert_eq!((refused.index, refused.code), (1, 121), "{refused}");
}

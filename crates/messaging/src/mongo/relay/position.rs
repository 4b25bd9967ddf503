//! The one document that says who streams a database's outbox, and from where.

use std::time::Duration;

use bson::{Document, Timestamp, doc};
use mongodb::{
    Collection, Database,
    error::{Error, ErrorKind, Result, WriteFailure},
    options::{CollectionOptions, ReturnDocument},
};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    generation::{self, Acknowledged},
    mongo::{RELAY, durable, outbox::FILLED_BY_SERVER},
};

/// A holder not heard of for so long, by the server's clock, has lost the position.
const GIVEN_UP_FOR_DEAD: Duration = Duration::from_secs(6);
/// The position's `_id`; there is one for each database.
const ID: &str = "relay";
/// The server's code for a document that is there already.
const DUPLICATE_KEY: i32 = 11000;

/// What became of a claim.
#[derive(Debug)]
pub(super) enum Claim {
    /// It is ours; go on here.
    Held(Standing),
    /// Another one is alive.
    Busy,
    /// There is no position: nobody has called `prepare`.
    Missing,
}

/// How far the outbox was sent.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Standing {
    /// Go on after this. None: what was sent is not known, and all must be sent again.
    pub(super) token: Option<Document>,
    pub(super) generation: i64,
    pub(super) acknowledged: Acknowledged,
}

#[derive(Deserialize)]
struct Begun {
    begun: Timestamp,
}

/// One relay's hand on the position.
#[derive(Debug)]
pub(super) struct Position {
    collection: Collection<Document>,
    holder: bson::Uuid,
}

/// Makes the position unless it is there, without a token: the first relay sends what there is.
pub(in crate::mongo) async fn create(db: &Database) -> Result<()> {
    let position = doc! { "_id": ID, "begun": FILLED_BY_SERVER, "holder": null, "token": null,
    "generation": generation::FIRST, "acknowledged": [] };
    match collection(db).insert_one(position).await {
        Err(error) if is_duplicate(&error) => Ok(()),
        other => other.map(drop),
    }
}

impl Position {
    /// For a relay that has begun just now.
    pub(super) fn of(db: &Database) -> Self {
        Self { collection: collection(db), holder: Uuid::now_v7().into() }
    }

    /// Takes the position if it is free, ours, or its holder is dead.
    pub(super) async fn claim(&self) -> Result<Claim> {
        let dead_since = doc! { "$subtract": ["$$NOW", GIVEN_UP_FOR_DEAD.as_millis() as i64] };
        let free = doc! { "_id": ID, "$or": [
            { "holder": null },
            { "holder": self.holder },
            { "$expr": { "$lt": ["$heartbeat", dead_since] } },
        ] };
        let take = doc! { "$set": { "holder": self.holder }, "$currentDate": { "heartbeat": true } };
        let stored = self
            .collection
            .clone_with_type::<Standing>()
            .find_one_and_update(free, take)
            .return_document(ReturnDocument::After)
            .await?;
        Ok(match stored {
            Some(standing) => Claim::Held(standing),
            None if self.collection.find_one(doc! { "_id": ID }).await?.is_some() => Claim::Busy,
            None => Claim::Missing,
        })
    }

    /// Says that we are alive and moves the token, and with it what the topics have acknowledged; false if the position
    /// is ours no longer.
    pub(super) async fn renew(&self, moved: Option<(Document, Acknowledged)>) -> Result<bool> {
        let mut change = doc! { "$currentDate": { "heartbeat": true } };
        if let Some((token, acknowledged)) = moved {
            let acknowledged = bson::serialize_to_bson(&acknowledged).map_err(Error::custom)?;
            change.insert("$set", doc! { "token": token, "acknowledged": acknowledged });
        }
        Ok(self.collection.update_one(self.ours(), change).await?.matched_count == 1)
    }

    /// Forgets the token, so that all is sent again: whoever holds the position next begins anew.
    pub(super) async fn forget_token(&self) -> Result<()> {
        self.collection.update_one(self.ours(), doc! { "$set": { "token": null } }).await.map(drop)
    }

    /// Begins the generation behind `generation`, in which all is sent again.
    pub(super) async fn begin_generation_after(&self, generation: i64) -> Result<()> {
        let mut old = self.ours();
        old.insert("generation", generation);
        let new = doc! { "$set": { "generation": generation + 1, "token": null, "acknowledged": [] } };
        self.collection.update_one(old, new).await.map(drop)
    }

    /// The server's present, which a majority knows to be past once this returns. Nothing if the position is not ours.
    pub(super) async fn begin_anew(&self) -> Result<Option<Timestamp>> {
        let now = doc! { "$currentDate": { "begun": { "$type": "timestamp" } } };
        let position = self.collection.clone_with_type::<Begun>();
        let begun = position.find_one_and_update(self.ours(), now).return_document(ReturnDocument::After).await?;
        Ok(begun.map(|position| position.begun))
    }

    /// Lets another one take over at once.
    pub(super) async fn give_up(&self) -> Result<()> {
        self.collection.update_one(self.ours(), doc! { "$set": { "holder": null } }).await.map(drop)
    }

    fn ours(&self) -> Document {
        doc! { "_id": ID, "holder": self.holder }
    }
}

fn collection(db: &Database) -> Collection<Document> {
    db.collection_with_options(RELAY, CollectionOptions::builder().write_concern(durable()).build())
}

fn is_duplicate(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY)
}

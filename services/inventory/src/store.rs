//! What inventory keeps in MongoDB. Only the files below here know BSON.
//!
//! | collection | a document is |
//! |---|---|
//! | [`product`] | a product as it is now |
//! | [`stock`] | how much of a SKU there is; apart from the product, so that a new price and a hold never collide |
//! | [`hold`] | what inventory knows of an order, with the answer to each of its commands |
//! | [`movement`] | what one transaction made of the stock of a SKU, and why; append-only |
//! | [`receipt`], [`shipment`] | pieces that came in, and that left, by the key of the request; append-only |

pub(crate) mod hold;
pub(crate) mod movement;
pub(crate) mod product;
pub(crate) mod receipt;
pub(crate) mod shipment;
pub(crate) mod stock;

use std::time::Duration;

use bson::{Document, doc};
use messaging::{HandleError, mongo::Transaction};
use mongodb::{
    Client, Database,
    error::{ErrorKind, TRANSIENT_TRANSACTION_ERROR},
    options::{Acknowledgment, ClientOptions, WriteConcern},
};
use serde::de::DeserializeOwned;

use crate::stock::BrokenBooks;

/// The server's code for a collection that exists, from MongoDB's `error_codes.yml`.
const NAMESPACE_EXISTS: i32 = 48;

/// The store did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// What was read is not what is stored by now: another writer was first.
    #[error("another writer was first")]
    Outrun,
    /// What is stored contradicts itself.
    #[error(transparent)]
    BrokenBooks(#[from] BrokenBooks),
    /// The database would not, or could not.
    #[error("the database could not do it")]
    Mongo(#[from] mongodb::error::Error),
}

impl StoreError {
    /// Another writer was first: the same again, with what is stored by now, will do.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            Self::Outrun => true,
            Self::BrokenBooks(_) => false,
            Self::Mongo(error) => is_conflict(error),
        }
    }

    /// The database cannot be reached: later will do.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            Self::Outrun | Self::BrokenBooks(_) => false,
            Self::Mongo(error) => matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. } | ErrorKind::Io(_)),
        }
    }
}

/// See [`StoreError::is_conflict`].
pub(crate) fn is_conflict(error: &mongodb::error::Error) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}

impl From<StoreError> for HandleError {
    fn from(error: StoreError) -> Self {
        Self::Ours(error.into())
    }
}

/// How long to look for the primary before a request fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// The database cannot even be looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the MongoDB URL cannot be used")]
    Url(#[from] mongodb::error::Error),
    #[error("the MongoDB URL names no database in its path")]
    Unnamed,
}

/// The database that `url` names in its path.
pub(crate) async fn connect(url: &str) -> Result<Database, ConnectError> {
    let mut options = ClientOptions::parse(url).await?;
    options.app_name = Some("inventory".to_owned());
    options.server_selection_timeout = Some(PATIENCE);
    Client::with_options(options)?.default_database().ok_or(ConnectError::Unnamed)
}

/// Creates the collections that are missing: a transaction cannot do that reliably.
///
/// # Errors
/// Whatever the database says.
pub(crate) async fn prepare(db: &Database) -> mongodb::error::Result<()> {
    create(db, product::COLLECTION, doc! {}).await?;
    create(db, stock::COLLECTION, stock::validator()).await?;
    create(db, hold::COLLECTION, hold::validator()).await?;
    create(db, movement::COLLECTION, movement::validator()).await?;
    create(db, receipt::COLLECTION, receipt::validator()).await?;
    create(db, shipment::COLLECTION, shipment::validator()).await?;
    db.collection::<Document>(shipment::COLLECTION).create_index(shipment::index()).await?;
    Ok(())
}

/// More documents than any reply has.
const WHOLE: u32 = i32::MAX.cast_unsigned();

/// All documents of `collection` that match, as `tx` sees them: in one round trip, where the driver would fetch the
/// hundred-and-second document and all behind it in another.
async fn all<T: DeserializeOwned + Send + Sync>(
    tx: &mut Transaction,
    collection: &str,
    filter: Document,
) -> Result<Vec<T>, StoreError> {
    let (session, db) = tx.parts();
    let collection = db.collection::<T>(collection);
    let mut cursor = collection.find(filter).batch_size(WHOLE).session(&mut *session).await?;
    let mut found = Vec::new();
    while let Some(document) = cursor.next(session).await.transpose()? {
        found.push(document);
    }
    Ok(found)
}

async fn create(db: &Database, collection: &str, validator: Document) -> mongodb::error::Result<()> {
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    match db.create_collection(collection).validator(validator).write_concern(durable).await {
        Err(error) if exists(&error) => Ok(()),
        other => other,
    }
}

fn exists(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == NAMESPACE_EXISTS)
}

//! The stores as the services want them: a database and a role for each, and a replica set.

use std::{path::Path, time::Duration};

use mongodb::{
    Client, Database,
    bson::{Document, doc},
    error::ErrorKind,
    options::ClientOptions,
};
use servers::mongo::is_primary;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::{host, secrets::Logins};
use crate::{ShopError, databases};

/// How long a store that says it is healthy may take to do what it is asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a store.
const LOOK: Duration = Duration::from_millis(200);

/// The role of the inventory service, and its user. The role is of the database `admin`, else it could reach no other
/// database than its own.
const INVENTORY: &str = "inventory_service";

/// What the inventory service changes.
const CHANGED: [&str; 8] =
    ["product", "stock", "hold", "outbox", "inbox", "consumer_offset", "parked_message", "relay"];

/// What it only adds to: what happened stays as it was written.
const ADDED_TO: [&str; 3] = ["movement", "receipt", "shipment"];

/// The server's codes for a role and for a user that exists, from MongoDB's `error_codes.yml`.
const EXISTS: [i32; 2] = [51002, 51003];

/// Makes databases, roles and the replica set of the shop in `folder`, as far as they are missing.
///
/// # Errors
/// [`ShopError::Database`] and [`ShopError::Inventory`] if a store refuses.
pub async fn prepare_stores(folder: &Path) -> Result<(), ShopError> {
    let logins = Logins::of(folder)?;
    for ((database, url, password), role) in logins.postgres().into_iter().zip(["order_service", "billing_service"]) {
        let prepared = databases::prepare(&url, database, role, password).await;
        prepared.map_err(|source| ShopError::Database { database, source })?;
        info!("The database {database} is there, and its role {role}.");
    }
    prepare_inventory(&logins).await.map_err(|source| ShopError::Inventory(Box::new(source)))?;
    info!("The database inventory is there, and its role {INVENTORY}.");
    Ok(())
}

async fn prepare_inventory(logins: &Logins) -> mongodb::error::Result<()> {
    let mut options = ClientOptions::parse(logins.inventory_as_root()).await?;
    // Before it is initiated it belongs to no replica set.
    options.repl_set_name = None;
    options.server_selection_timeout = Some(PATIENCE);
    let client = Client::with_options(options)?;
    let (admin, host) = (client.database("admin"), format!("{}:27017", host::MONGO));
    // Whether it answers at all, and lets us in: else a wrong password would be waited for.
    admin.run_command(doc! { "ping": 1 }).await?;
    let deadline = Instant::now() + PATIENCE;
    while !is_primary(&admin, &host).await {
        if Instant::now() > deadline {
            return Err(mongodb::error::Error::custom(format!("{host} has not become the primary of its replica set")));
        }
        sleep(LOOK).await;
    }
    let db = client.database("inventory");
    let role = doc! { "privileges": privileges(), "roles": [] };
    let its_role = doc! { "role": INVENTORY, "db": "admin" };
    let user = doc! { "pwd": logins.inventory_service(), "roles": [its_role] };
    make_or_change(&admin, "createRole", "updateRole", role).await?;
    make_or_change(&db, "createUser", "updateUser", user).await
}

/// What the service may do, by collection. Of the server's log it sees how far that reaches back, for its relay.
fn privileges() -> Vec<Document> {
    let reads = ["find", "changeStream", "listIndexes", "collStats"];
    let makes = ["createCollection", "createIndex"];
    let may = |collection: &str, actions: &[&str]| {
        let actions: Vec<&str> = reads.iter().chain(&makes).chain(actions).copied().collect();
        doc! { "resource": { "db": "inventory", "collection": collection }, "actions": actions }
    };
    let changed = CHANGED.iter().map(|collection| may(collection, &["insert", "update", "remove"]));
    let log = doc! { "resource": { "db": "local", "collection": "oplog.rs" }, "actions": ["find"] };
    changed.chain(ADDED_TO.iter().map(|collection| may(collection, &["insert"]))).chain([log]).collect()
}

/// Makes our role or our user as `wanted`, or changes the one that is there.
async fn make_or_change(db: &Database, make: &str, change: &str, wanted: Document) -> mongodb::error::Result<()> {
    let command = |name: &str| {
        let mut command = doc! { name: INVENTORY };
        command.extend(wanted.clone());
        command
    };
    match db.run_command(command(make)).await {
        Err(error) if exists(&error) => db.run_command(command(change)).await.map(drop),
        made => made.map(drop),
    }
}

fn exists(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(refusal) if EXISTS.contains(&refusal.code))
}

//! Many updates of one collection in one command.

use bson::{Document, doc};
use mongodb::{
    ClientSession, Database,
    error::{Error, Result},
};
use serde::Deserialize;

/// One update: which documents, what becomes of them.
#[derive(Debug, Clone)]
pub struct Statement {
    filter: Document,
    change: Document,
    upsert: bool,
}

impl Statement {
    /// Changes the one document that `filter` matches.
    pub fn new(filter: Document, change: Document) -> Self {
        Self { filter, change, upsert: false }
    }

    /// Changes the one document that `filter` matches, or inserts it.
    pub fn upsert(filter: Document, change: Document) -> Self {
        Self { filter, change, upsert: true }
    }
}

/// The server would not carry out one statement: a broken unique index or a failed validation.
#[derive(Debug, Clone, thiserror::Error)]
#[error("statement {index} was refused with code {code}: {message}")]
pub struct StatementRefused {
    /// Which one, from zero.
    pub index: usize,
    /// The server's code.
    pub code: i32,
    /// The server's words.
    pub message: String,
}

/// How many documents matched or were inserted: the caller compares it with the number of its statements.
pub(super) async fn run(
    session: Option<&mut ClientSession>,
    db: &Database,
    collection: &str,
    statements: &[Statement],
) -> Result<u64> {
    if statements.is_empty() {
        return Ok(0);
    }
    let updates: Vec<Document> = statements
        .iter()
        .map(|one| doc! { "q": one.filter.clone(), "u": one.change.clone(), "upsert": one.upsert })
        .collect();
    let mut command = doc! { "update": collection, "updates": updates, "ordered": true };
    let reply = match session {
        // The concern of a transaction is that of its commit.
        Some(session) => db.run_command(command).session(session).await?,
        None => {
            command.insert("writeConcern", doc! { "w": "majority", "j": true });
            db.run_command(command).await?
        }
    };
    let reply: Reply = bson::deserialize_from_document(reply).map_err(Error::custom)?;
    match reply.write_errors.into_iter().next() {
        None => Ok(reply.matched),
        Some(error) => Err(Error::custom(StatementRefused::from(error))),
    }
}

/// What the server answers. A conflict that aborts the transaction fails the whole command instead and comes as an
/// error with its labels.
#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "n")]
    matched: u64,
    #[serde(rename = "writeErrors", default)]
    write_errors: Vec<WriteError>,
}

#[derive(Deserialize)]
struct WriteError {
    index: usize,
    code: i32,
    #[serde(rename = "errmsg")]
    message: String,
}

impl From<WriteError> for StatementRefused {
    fn from(error: WriteError) -> Self {
        Self { index: error.index, code: error.code, message: error.message }
    }
}

//! All SQL of this service.

pub(crate) mod catalogue;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod orders;
pub(crate) mod rebuild;
pub(crate) mod references;
pub(crate) mod sagas;

/// Whether the transaction was the victim of a deadlock (40P01) or of a conflict (40001), and is worth another try.
pub(crate) fn lost_a_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "40P01" || code == "40001")
}

/// What is stored cannot be read back: written by another version of this service, or by hand.
pub(crate) fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

//! All SQL of this service.

pub(crate) mod catalogue;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod orders;
pub(crate) mod rebuild;
pub(crate) mod references;
pub(crate) mod sagas;

use messaging::HandleError;

/// Whether the transaction was the victim of a deadlock (40P01) or of a conflict (40001), and is worth another try.
pub(crate) fn lost_a_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "40P01" || code == "40001")
}

/// What is stored cannot be read back: written by another version of this service, or by hand.
pub(crate) fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// Whether `error` says so: of what is stored, or of a column of it.
pub(crate) fn is_unreadable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
}

/// Whose fault `error` is. A row that cannot be read is as it is at the next try, and no other order's business: so it
/// counts as the fault of who needs it, who is found by halves and parked with the reason, and all others go on.
pub(crate) fn fault(error: sqlx::Error) -> HandleError {
    if is_unreadable(&error) { HandleError::Message(error.into()) } else { error.into() }
}

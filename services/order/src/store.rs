//! All SQL of this service.

pub(crate) mod catalogue;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod orders;
pub(crate) mod rebuild;
pub(crate) mod references;
pub(crate) mod sagas;

use sqlx::{Database, Decode, Type, error::BoxDynError};

/// Whether the transaction was the victim of a deadlock (40P01) or of a conflict (40001), and is worth another try.
pub(crate) fn lost_a_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "40P01" || code == "40001")
}

/// What is stored cannot be read back: written by another version of this service, or by hand.
pub(crate) fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// A column that is read only when the rest of its row is there. A query ends at the first column that cannot be read, and
/// with it all rows would be lost that can.
#[derive(Debug)]
pub(crate) struct Stored<T>(Result<T, BoxDynError>);

impl<DB: Database, T: Type<DB>> Type<DB> for Stored<T> {
    fn type_info() -> DB::TypeInfo {
        T::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        T::compatible(ty)
    }
}

impl<'r, DB: Database, T: Decode<'r, DB>> Decode<'r, DB> for Stored<T> {
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(T::decode(value)))
    }
}

impl<T> Stored<T> {
    /// What is stored in `column`.
    pub(crate) fn read(self, column: &str) -> sqlx::Result<T> {
        self.0.map_err(|source| sqlx::Error::ColumnDecode { index: column.to_owned(), source })
    }
}

//! Typed ids. All are UUIDs of version 7, so they sort by the time they were minted.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Declares an id type over a UUIDv7.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later than every id minted before in this process.
            pub fn mint() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id as it is stored.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// One order. Also the key of its hold in inventory and of its payment in billing.
    OrderId
}

id! {
    /// Whoever places orders. Opaque: names and addresses live in billing alone.
    CustomerId
}

id! {
    /// Pieces of one order that left one warehouse together.
    ShipmentId
}

/// Names one command of one saga: saga, step, do or undo, attempt.
///
/// Minted by the orchestrator and the same over retries and restarts, so that a participant can tell a command it has
/// answered from a new one. Everybody else treats it as opaque.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, min_length = 1, max_length = 120)]
pub struct CommandId(Box<str>);

/// The text is no command id: 1 to 120 visible ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command id has 1 to {} visible ASCII characters", CommandId::MAX_LEN)]
pub struct NotACommandId;

impl CommandId {
    /// The longest command id, in characters.
    pub const MAX_LEN: usize = 120;

    /// The id as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CommandId {
    type Error = NotACommandId;

    fn try_from(text: String) -> Result<Self, NotACommandId> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.into_boxed_str())) } else { Err(NotACommandId) }
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.0.into_string()
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Bodies, paths, queries and headers of a request. Every rejection is a [`Problem`](crate::problem::Problem).

mod idempotency_key;
mod json;
mod parts;
mod prefer;

pub use idempotency_key::{IdempotencyKey, NotAnIdempotencyKey};
pub use json::Json;
pub use parts::{Path, Query};
pub use prefer::{MAX_WAIT, Prefer};

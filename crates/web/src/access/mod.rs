//! Who is asking: signed tokens (JWT, EdDSA over Ed25519), and the principals they name.
//!
//! A token has the claims `iss` and `aud` (both [`NAME`]), `role` (`customer` or `operator`), `sub` (the customer's id;
//! for an operator a name that nobody reads), `iat` and `exp`. Services hold the public key only.

mod extract;
mod keys;
mod signer;
mod verifier;

use contracts::CustomerId;
pub use extract::Operator;
pub use keys::{NotAKey, generate_keys};
use serde::{Deserialize, Serialize};
pub use signer::Signer;
pub use verifier::{TokenRefused, Verifier};

/// Who issues tokens, and whom they are for: claims `iss` and `aud`.
pub const NAME: &str = "ironmonger";

/// Who is asking. As an argument of a handler it refuses, with 401, a request without a valid token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Places orders, and sees its own.
    Customer(CustomerId),
    /// Runs the shop.
    Operator,
}

/// The claim `role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Customer,
    Operator,
}

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
pub(crate) use extract::principal;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A signer, its verifier, and a time.
    fn pair() -> (Signer, Verifier, Timestamp) {
        let (private, public) = generate_keys();
        let verifier = Verifier::from_pem(&public).unwrap();
        (Signer::from_pem(&private).unwrap(), verifier, "2026-03-01T12:00:00Z".parse().unwrap())
    }

    fn after(now: Timestamp, seconds: i64) -> Timestamp {
        now + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_token_that_was_verified_expires_all_the_same() {
        let (signer, verifier, now) = pair();
        let token = signer.sign_at(&Principal::Operator, MINUTE, now);
        assert_eq!(verifier.verify_at(&token, now), Ok(Principal::Operator));
        assert_eq!(verifier.remembered(), 1, "what follows comes from memory");
        assert_eq!(verifier.verify_at(&token, after(now, 64)), Ok(Principal::Operator), "within the leeway");
        assert_eq!(verifier.verify_at(&token, after(now, 65)), Err(TokenRefused));
    }

    #[test]
    fn a_fresh_token_expires_at_the_same_second() {
        let (signer, verifier, now) = pair();
        let token = signer.sign_at(&Principal::Operator, MINUTE, now);
        assert_eq!(verifier.verify_at(&token, after(now, 65)), Err(TokenRefused));
    }

    #[test]
    fn what_is_refused_is_not_remembered() {
        let (_, verifier, now) = pair();
        let (stranger, ..) = pair();
        for seconds in 0..10 {
            let token = stranger.sign_at(&Principal::Operator, MINUTE, after(now, seconds));
            assert_eq!(verifier.verify_at(&token, now), Err(TokenRefused));
        }
        assert_eq!(verifier.remembered(), 0);
    }

    #[test]
    fn keys_are_told_apart() {
        let (private, public) = generate_keys();
        assert_eq!(Signer::from_pem(&public).unwrap_err(), NotAKey::Private);
        assert_eq!(Verifier::from_pem(&private).unwrap_err(), NotAKey::Public);
        assert!(Verifier::from_pem("").is_err() && Signer::from_pem("-----BEGIN").is_err());
        assert_ne!(generate_keys().0, private, "every pair is new");
        assert!(
            private.starts_with("-----BEGIN PRIVATE KEY-----\n") && private.ends_with("-----END PRIVATE KEY-----\n")
        );
    }

    #[test]
    fn a_key_that_verifies_anything_is_refused() {
        // The point of order one, as a public key.
        let weak = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----";
        assert_eq!(Verifier::from_pem(weak).unwrap_err(), NotAKey::Public);
    }
}

//! Tells from a token who is asking.

use std::{fmt, sync::Arc};

use contracts::CustomerId;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation};
use moka::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{NAME, NotAKey, Principal, Role, keys, signer::now};

/// The longest token, in bytes. Ours have about 300.
const MAX_LEN: usize = 8 * 1024;

/// How far apart the clocks of issuer and service may be, in seconds.
const LEEWAY: i64 = 5;

/// How many verified tokens are remembered.
const REMEMBERED: u64 = 10_000;

/// Verifies tokens. Clones share what they remember.
///
/// A signature is verified once and remembered, for that costs more than all else of a request; the times are checked
/// each time. A token cannot be taken back before it expires.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    key: DecodingKey,
    validation: Validation,
    /// By SHA-256 of the token, so that a dump of the memory has no tokens.
    known: Cache<[u8; 32], Known>,
}

/// What a token with a good signature says.
#[derive(Debug, Clone, Copy)]
struct Known {
    principal: Principal,
    /// Seconds since the Unix epoch.
    not_before: i64,
    /// Seconds since the Unix epoch.
    expires: i64,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    role: Role,
    exp: i64,
    nbf: Option<i64>,
}

/// The token is not valid. Why is nobody's business: the answer would help only whoever forges one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct TokenRefused;

impl Verifier {
    /// Accepts tokens signed with the private half of this key.
    ///
    /// # Errors
    /// [`NotAKey`] if the text is no public key.
    pub fn from_pem(public_pem: &str) -> Result<Self, NotAKey> {
        let key = DecodingKey::from_ed_der(keys::public_key(public_pem)?.as_bytes());
        Ok(Self(Arc::new(Inner { key, validation: validation(), known: Cache::new(REMEMBERED) })))
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// [`TokenRefused`] unless the token is well formed, signed with our key, for us, and valid now.
    pub fn verify(&self, token: &str) -> Result<Principal, TokenRefused> {
        self.verify_at(token, now())
    }

    pub(super) fn verify_at(&self, token: &str, now: Timestamp) -> Result<Principal, TokenRefused> {
        if token.len() > MAX_LEN {
            return Err(TokenRefused);
        }
        let fingerprint = Sha256::digest(token).into();
        let known = match self.0.known.get(&fingerprint) {
            Some(known) => known,
            None => {
                let known = self.0.read(token).ok_or(TokenRefused)?;
                self.0.known.insert(fingerprint, known);
                known
            }
        };
        let now = now.as_second();
        let valid = known.not_before.saturating_sub(LEEWAY) <= now && now < known.expires.saturating_add(LEEWAY);
        if valid { Ok(known.principal) } else { Err(TokenRefused) }
    }
}

#[cfg(test)]
impl Verifier {
    /// How many tokens are remembered.
    pub(super) fn remembered(&self) -> u64 {
        self.0.known.run_pending_tasks();
        self.0.known.entry_count()
    }
}

impl Inner {
    fn read(&self, token: &str) -> Option<Known> {
        let TokenData { header, claims } = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).ok()?;
        // RFC 7515: whoever does not know an extension that the issuer calls critical refuses the token.
        if header.typ.as_deref() != Some("JWT") || header.crit.is_some() {
            return None;
        }
        let principal = match claims.role {
            Role::Customer => Principal::Customer(claims.sub.parse::<CustomerId>().ok()?),
            Role::Operator => Principal::Operator,
        };
        Some(Known { principal, not_before: claims.nbf.unwrap_or(0), expires: claims.exp })
    }
}

/// All but the times, which are checked here for fresh and for remembered tokens alike.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&[NAME]);
    validation.set_issuer(&[NAME]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

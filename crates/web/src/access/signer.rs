//! Makes tokens: for the `shop` command and for tests. No service holds a private key.

use std::{fmt, time::Duration};

use ed25519_dalek::pkcs8::EncodePrivateKey;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::{NAME, Principal, Role, keys};

/// Signs tokens.
#[derive(Clone)]
pub struct Signer(EncodingKey);

#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    sub: String,
    role: Role,
    iat: i64,
    exp: i64,
}

impl Signer {
    /// Signs with this private key, as [`generate_keys`](super::generate_keys) makes it.
    ///
    /// # Errors
    /// [`NotAKey`](super::NotAKey) if the text is no private key.
    pub fn from_pem(private_pem: &str) -> Result<Self, super::NotAKey> {
        let key = keys::private_key(private_pem)?.to_pkcs8_der().map_err(|_| super::NotAKey::Private)?;
        Ok(Self(EncodingKey::from_ed_der(key.as_bytes())))
    }

    /// A token for `principal` that is valid from now on for `ttl`, in whole seconds.
    pub fn sign(&self, principal: &Principal, ttl: Duration) -> String {
        self.sign_at(principal, ttl, now())
    }

    pub(super) fn sign_at(&self, principal: &Principal, ttl: Duration, now: Timestamp) -> String {
        let (role, sub) = match principal {
            Principal::Customer(id) => (Role::Customer, id.to_string()),
            Principal::Operator => (Role::Operator, "operator".to_owned()),
        };
        let iat = now.as_second();
        let exp = iat.saturating_add_unsigned(ttl.as_secs());
        let claims = Claims { iss: NAME, aud: NAME, sub, role, iat, exp };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.0);
        token.expect("the key was read when the signer was made, and the claims are plain texts and numbers")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(***)")
    }
}

#[expect(clippy::disallowed_methods, reason = "a token is valid by the world's time, not by the domain's")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

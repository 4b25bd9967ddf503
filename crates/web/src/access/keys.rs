//! The keys tokens are signed and verified with.

use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes, spki::der::pem::LineEnding,
    },
};

/// The text is no Ed25519 key in PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// It is no private key.
    #[error("this is no private Ed25519 key in PEM (PKCS#8, `BEGIN PRIVATE KEY`)")]
    Private,
    /// It is no public key.
    #[error("this is no public Ed25519 key in PEM (`BEGIN PUBLIC KEY`)")]
    Public,
}

/// A new pair: the private key, then the public one, both as PEM.
pub fn generate_keys() -> (String, String) {
    let key = SigningKey::from_bytes(&rand::random());
    // Without the public half, for that is the form every version of OpenSSL reads.
    let private = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    let private = private.to_pkcs8_pem(LineEnding::LF).expect("32 bytes are always a PKCS#8 document");
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF).expect("a public key is always a document");
    (private.as_str().to_owned(), public)
}

pub(super) fn private_key(pem: &str) -> Result<SigningKey, NotAKey> {
    SigningKey::from_pkcs8_pem(pem.trim()).map_err(|_| NotAKey::Private)
}

pub(super) fn public_key(pem: &str) -> Result<VerifyingKey, NotAKey> {
    let key = VerifyingKey::from_public_key_pem(pem.trim()).map_err(|_| NotAKey::Public)?;
    // A key of small order verifies signatures that nobody made.
    if key.is_weak() { Err(NotAKey::Public) } else { Ok(key) }
}

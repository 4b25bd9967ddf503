//! The keys that tokens are signed and verified with, and the tokens.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{Rng, distr::Alphanumeric};
use web::access::{Principal, Signer, generate_keys};

use crate::ShopError;

/// The folder of the keys. Services are told the public one only.
pub(crate) fn keys(folder: &Path) -> PathBuf {
    folder.join("keys")
}

/// What the services verify tokens with.
pub(crate) fn public_key_file(folder: &Path) -> PathBuf {
    keys(folder).join("public.pem")
}

fn private_key_file(folder: &Path) -> PathBuf {
    keys(folder).join("private.pem")
}

/// Makes the keys of the shop in `folder`, unless it has some.
pub(crate) fn make_keys(folder: &Path) -> Result<(), ShopError> {
    servers::require_writable(&keys(folder))?;
    // The private key is written last: if it is there, both are.
    if private_key_file(folder).exists() {
        return Ok(());
    }
    let (private, public) = generate_keys();
    write_for_owner(&public_key_file(folder), &public)?;
    write_for_owner(&private_key_file(folder), &private)
}

/// What the payment provider signs its webhooks with, and billing checks them with. Made if there is none.
pub(crate) fn webhook_secret(folder: &Path) -> Result<String, ShopError> {
    let path = keys(folder).join("webhook.secret");
    if let Ok(known) = fs::read_to_string(&path) {
        return Ok(known);
    }
    // Letters and digits are base64 too; 40 of them are 30 bytes.
    let random = rand::rng().sample_iter(Alphanumeric).take(40).map(char::from);
    let secret: String = "whsec_".chars().chain(random).collect();
    write_for_owner(&path, &secret)?;
    Ok(secret)
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_for_owner(path: &Path, text: &str) -> Result<(), ShopError> {
    let write = || {
        let folder = path.parent().unwrap_or(path);
        let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map(drop).map_err(std::io::Error::from)
    };
    write().map_err(ShopError::system(format!("writing {}", path.display())))
}

/// A token for `principal` at the shop in `folder`, valid for `ttl`.
///
/// # Errors
/// [`ShopError::Keys`] if the shop has no usable keys.
pub fn sign(folder: &Path, principal: &Principal, ttl: Duration) -> Result<String, ShopError> {
    let path = private_key_file(folder);
    let pem = fs::read_to_string(&path).map_err(|_| ShopError::NotRunning)?;
    let signer = Signer::from_pem(&pem).map_err(|_| ShopError::Keys(keys(folder)))?;
    Ok(signer.sign(principal, ttl))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use contracts::CustomerId;
    use web::access::Verifier;

    use super::*;

    #[test]
    fn services_believe_the_tokens_also_after_a_second_start() {
        let folder = tempfile::tempdir().unwrap();
        make_keys(folder.path()).unwrap();
        let verifier = Verifier::from_pem(&fs::read_to_string(public_key_file(folder.path())).unwrap()).unwrap();
        make_keys(folder.path()).unwrap();
        let customer = Principal::Customer(CustomerId::mint());
        let token = sign(folder.path(), &customer, Duration::from_secs(60)).unwrap();
        assert_eq!(verifier.verify(&token), Ok(customer));
    }

    #[test]
    fn the_private_key_is_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        make_keys(folder.path()).unwrap();
        assert_eq!(fs::metadata(private_key_file(folder.path())).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn without_keys_there_is_no_shop() {
        let folder = tempfile::tempdir().unwrap();
        let refused = sign(folder.path(), &Principal::Operator, Duration::from_secs(60)).unwrap_err();
        assert!(matches!(refused, ShopError::NotRunning), "{refused}");
    }
}

//! The programs: where they are, and building them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::ShopError;

/// The payment provider's program.
pub(crate) const PROVIDER: &str = "provider-simulator";

/// Every program that runs beside the servers. Each is in the package of its name.
pub(crate) const NAMES: [&str; 4] = ["order", "inventory", "billing", PROVIDER];

/// The folder of the running program, in which cargo puts the services too. A test's program lies one folder deeper.
///
/// # Errors
/// [`ShopError::System`] if the program does not know where it is.
pub fn our_folder() -> Result<PathBuf, ShopError> {
    let program = env::current_exe().map_err(ShopError::system("looking for our own program"))?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_owned())
}

/// Builds the services into `folder`, which is `<target>/debug` or `<target>/release`. Cargo shows what it does.
///
/// # Errors
/// [`ShopError::Build`] if cargo fails, [`ShopError::System`] if there is no cargo.
pub fn build(folder: &Path) -> Result<(), ShopError> {
    let selection = NAMES.into_iter().flat_map(|name| ["--package", name, "--bin", name]);
    cargo_build(folder, selection)
}

/// Builds the services next to the running test program and returns their folder.
///
/// The selection is that of `cargo test --workspace`: with any other, cargo would build half of the dependencies once
/// more, because their features would differ.
///
/// # Errors
/// See [`build`].
pub fn for_test() -> Result<PathBuf, ShopError> {
    let folder = our_folder()?;
    cargo_build(&folder, ["--workspace", "--bins", "--tests"])?;
    Ok(folder)
}

fn cargo_build<'a>(folder: &Path, selection: impl IntoIterator<Item = &'a str>) -> Result<(), ShopError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")]).args(selection);
    if !folder.ends_with("debug") {
        build.arg("--release");
    }
    if let Some(target) = folder.parent() {
        build.arg("--target-dir").arg(target);
    }
    let status = build.status().map_err(ShopError::system("running cargo"))?;
    if status.success() { Ok(()) } else { Err(ShopError::Build) }
}

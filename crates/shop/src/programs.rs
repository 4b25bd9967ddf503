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

/// How the variables begin that cargo sets for a program that it runs, by the Cargo Book's "Environment Variables".
const TOLD: [&str; 5] = ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_"];

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
    let mut build = cargo();
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

/// Cargo, as if called from a shell. What it tells the programs that it runs (`cargo run`, `cargo test`) about their package
/// must not come back to it: build scripts such as `ring`'s look at the same variables, would run again because they have
/// changed, and half of all crates would be built anew, here and once more at the next call from the shell.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let told = |name: &str| TOLD.iter().any(|begin| name.starts_with(begin));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
        cargo.env_remove(name);
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_what_it_tells_its_programs() {
        assert_eq!(env::var("CARGO_PKG_NAME").as_deref(), Ok("shop"), "cargo tells us");
        let cargo = cargo();
        let removed: Vec<_> = cargo.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR", "CARGO_MANIFEST_DIR"] {
            assert!(removed.contains(&name.as_ref()), "{name}: {removed:?}");
        }
    }
}

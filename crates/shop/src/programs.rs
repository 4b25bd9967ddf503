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

/// The workspace's.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");

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
    let programs = NAMES.into_iter().flat_map(|name| ["--bin", name]);
    cargo_build(folder, packages().chain(programs))
}

/// The packages of the services, and ours: `cargo shop` has just built our dependencies with the features that we need.
/// Without us, cargo would take fewer for some of them, and build these and all that is made of them once more.
fn packages() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().chain([env!("CARGO_PKG_NAME")]).flat_map(|name| ["--package", name])
}

/// Builds the services next to the running test program and returns their folder.
///
/// The selection is that of `cargo test --workspace`: with any other, cargo would build half of the dependencies once
/// more, because their features would differ. Tests of release programs are run alone, for their figures, so there the
/// programs are those of `cargo shop up`, and no other test is built.
///
/// # Errors
/// See [`build`].
pub fn for_test() -> Result<PathBuf, ShopError> {
    let folder = our_folder()?;
    if folder.ends_with("debug") {
        cargo_build(&folder, ["--workspace", "--bins", "--tests"])?;
    } else {
        build(&folder)?;
    }
    Ok(folder)
}

fn cargo_build<'a>(folder: &Path, selection: impl IntoIterator<Item = &'a str>) -> Result<(), ShopError> {
    let mut build = cargo();
    build.args(["build", "--manifest-path", MANIFEST]).args(selection);
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
    use std::collections::BTreeSet;

    use super::*;

    const CONFIG: &str = include_str!("../../../.cargo/config.toml");

    /// Each crate that cargo would build for `packages`, with its features: a line for each set of them. What runs during
    /// the build is a crate of its own.
    fn crates<'a>(packages: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let mut tree = cargo();
        tree.args(["tree", "--locked", "--offline", "--manifest-path", MANIFEST]);
        tree.args(["--edges", "normal,build", "--prefix", "none", "--format", "{p} [{f}]"]).args(packages);
        let tree = tree.output().expect("cargo runs");
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        // What has stood before is marked.
        let crates = String::from_utf8(tree.stdout).expect("text");
        crates.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    }

    #[test]
    fn nothing_that_cargo_shop_has_compiled_is_compiled_again_for_the_services() {
        let alias: Vec<_> =
            CONFIG.lines().find_map(|line| line.strip_prefix("shop = ")).expect("the alias").split(' ').collect();
        let package = alias.iter().position(|word| *word == "--package").expect("the alias names its package");
        let (first, then) = (crates(alias[package..].iter().take(2).copied()), crates(packages()));
        assert!(first.len() > 200, "the dependencies are seen: {first:?}");
        assert!(then.len() > first.len(), "the services' own are seen: {then:?}");
        let again: Vec<_> = first.difference(&then).collect();
        assert!(again.is_empty(), "give the shop command the same features, in [workspace.dependencies]: {again:#?}");
    }

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

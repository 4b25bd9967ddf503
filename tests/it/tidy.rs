//! House rules that a machine can see.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use serde_json::Value;

/// No source file is longer than this, in lines.
const LONGEST_FILE: usize = 400;

#[test]
fn no_file_is_too_long() {
    let files = sources();
    assert!(files.len() > 50, "only {} files were looked at", files.len());
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", file.display());
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let begins = text.starts_with("//!") || text.starts_with("#![doc = include_str!");
        assert!(begins, "{} has no module comment", file.display());
    }
}

/// Messaging's tables are the same wherever they are: each migration has them word for word.
#[test]
fn each_postgres_service_has_the_schema_of_messaging() {
    let schema = fs::read_to_string(root().join("crates/messaging/schema.sql")).unwrap();
    for first in ["services/order/migrations", "services/billing/migrations"] {
        let mut files: Vec<_> = fs::read_dir(root().join(first)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let migration = fs::read_to_string(&files[0]).unwrap();
        assert!(migration.contains(&schema), "{} differs from crates/messaging/schema.sql", files[0].display());
    }
}

/// The version of the workspace is that of all that is delivered: cargo's manifests take it over, what follows names it.
#[test]
fn whatever_names_the_version_names_that_of_the_workspace() {
    let packages = packages();
    let version = &packages[0].version;
    assert!(packages.iter().all(|package| &package.version == version), "{packages:?}");
    for (file, before) in [
        ("docker-compose.yml", "ironmonger/shop:"),
        ("docker-compose.yml", "VERSION: "),
        ("deploy/README.md", "offline-shop:"),
        ("deploy/offline/images.env", "offline-shop:"),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let named = text.split(before).skip(1).filter(|after| after.starts_with(|char: char| char.is_ascii_digit()));
        let named: Vec<&str> = named.map(|after| after.split(['`', '}', ' ', '\n']).next().unwrap()).collect();
        assert_eq!(named, [version.as_str()], "{file}, behind {before:?}");
    }
}

/// What crosses a process boundary depends on nothing of ours, nor do the crates that other teams take home.
#[test]
fn contracts_saga_and_messaging_depend_on_no_other_crate_of_the_workspace() {
    let packages = packages();
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for name in ["contracts", "saga", "messaging"] {
        let package = packages.iter().find(|package| package.name == name).unwrap();
        assert!(package.dependencies.len() > 3, "{name} has dependencies, so the manifest was read");
        // Tests may use whatever they like.
        let mut needed = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        let found = needed.find(|dependency| ours.contains(&dependency.name.as_str()));
        assert!(found.is_none(), "{name} depends on {found:?}");
    }
}

/// A service knows the others by what they say, never by their code.
#[test]
fn no_service_depends_on_another() {
    let mut packages = packages();
    packages.retain(|package| package.manifest_path.starts_with(root().join("services")));
    assert!(packages.len() >= 3, "{packages:?}");
    let services: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for Package { name, dependencies, .. } in &packages {
        let found = dependencies.iter().find(|dependency| services.contains(&dependency.name.as_str()));
        assert!(found.is_none(), "{name} depends on {found:?}");
    }
}

/// What the services were checked against is what they ask: a build without a database takes it on trust. That the
/// answers still have the types of the migrations only a database can tell.
#[test]
fn every_query_was_prepared_and_no_other() {
    for service in ["order", "billing"] {
        let folder = root().join("services").join(service);
        let mut files = Vec::new();
        collect(&folder.join("src"), &mut files);
        let asked: BTreeSet<String> =
            files.iter().flat_map(|file| queries(&fs::read_to_string(file).unwrap())).collect();
        let prepared = fs::read_dir(folder.join(".sqlx")).unwrap().map(|file| {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()["query"].as_str().unwrap().to_owned()
        });
        let prepared: BTreeSet<String> = prepared.collect();
        assert!(asked.len() > 5, "{service}: {asked:?}");
        let differ: Vec<&String> = asked.symmetric_difference(&prepared).collect();
        assert!(differ.is_empty(), "{service}: prepare again, these differ: {differ:#?}");
    }
}

/// The first text of each `query…!(…)`.
fn queries(code: &str) -> Vec<String> {
    let calls = ["query!(", "query_as!(", "query_scalar!("].into_iter().flat_map(|call| code.split(call).skip(1));
    calls
        .map(|call| {
            let (before, text) = call.split_once('"').expect("a query has a text");
            let end = if before.ends_with("r#") { "\"#" } else { "\"" };
            text.split_once(end).expect("its text ends").0.to_owned()
        })
        .collect()
}

#[test]
fn no_marks_are_left_behind() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for mark in ["todo!", "unimplemented!", "FIXME", "TODO", "#[ignore]"].map(|mark| mark.to_owned()) {
            let found = text.lines().any(|line| line.contains(&mark) && !line.contains("for mark in"));
            assert!(!found, "{} contains {mark}", file.display());
        }
    }
}

/// The README says which test shows what: each of them exists.
#[test]
fn what_the_readme_says_is_shown_by_a_test_is() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme.split("## What cannot happen").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|') && line.contains('`'));
    let named: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() >= 14, "{named:?}");
    let code: String = sources().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for name in named {
        assert!(code.contains(&format!("fn {name}()")), "README names the test {name}, which does not exist");
    }
}

/// A package of the workspace, as cargo understands its manifest.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    /// That of the package, whatever it is called where it is used.
    name: String,
    /// `dev` or `build`; none for what the program itself needs.
    kind: Option<String>,
}

fn packages() -> Vec<Package> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let mut cargo = Command::new(env!("CARGO"));
    let cargo = cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(root());
    serde_json::from_slice::<Metadata>(&cargo.output().unwrap().stdout).unwrap().packages
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "services", "tests"] {
        collect(&root().join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Programs that must not compile say so in what the compiler says of them.
            if !path.ends_with("saga/tests/shapes") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

//! House rules that a machine can see.

use std::{
    fs,
    path::{Path, PathBuf},
};

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

/// What crosses a process boundary depends on nothing of ours, nor do the crates that other teams take home.
#[test]
fn contracts_saga_and_messaging_depend_on_no_other_crate_of_the_workspace() {
    let ours = ["contracts", "saga", "messaging", "web", "service", "servers", "shop", "order", "inventory", "billing"];
    for name in ["contracts", "saga", "messaging"] {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
        for other in ours {
            let depends = dependencies.lines().any(|line| line.starts_with(&format!("{other}.")));
            assert!(!depends, "{name} depends on {other}");
        }
    }
}

/// A service knows the others by what they say, never by their code.
#[test]
fn no_service_depends_on_another() {
    for name in ["order", "inventory", "billing"] {
        let manifest = fs::read_to_string(root().join("services").join(name).join("Cargo.toml")).unwrap();
        for other in ["order", "inventory", "billing"] {
            assert!(!manifest.lines().any(|line| line.starts_with(&format!("{other}."))), "{name} depends on {other}");
        }
    }
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

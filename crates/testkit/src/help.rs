//! What a program says of its settings.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Set, it has what a program says written down instead of compared.
const WRITE: &str = "WRITE_HELP";

/// Checks that `program --help` says what is written in `file`, word for word, and nothing of the settings that are named
/// `secrets`, which are set.
///
/// # Panics
/// If it says something else.
pub fn says_what_is_written(program: &str, secrets: &[&str], file: &Path) {
    // What is set where the test runs would be shown as well.
    let mut asked = Command::new(program);
    asked.arg("--help").env_clear();
    for secret in secrets {
        asked.env(secret, "scheme://user:canary@host/database");
    }
    let Output { status, stdout, .. } = asked.output().expect("the program was built");
    let said = String::from_utf8(stdout).expect("help is a text");
    assert!(status.success(), "{said}");
    assert!(!said.contains("canary"), "a secret is shown: {said}");
    for secret in secrets {
        assert!(said.contains(secret), "{secret} is missing in: {said}");
    }
    // Whether a line that is empty ends in blanks is nobody's business.
    let said: String = said.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    if std::env::var_os(WRITE).is_some() {
        fs::write(file, &said).expect("the file can be written");
    }
    let written = fs::read_to_string(file).unwrap_or_default();
    let place = said.lines().zip(written.lines()).position(|(said, written)| said != written);
    let place = place.unwrap_or(said.lines().count().min(written.lines().count()));
    assert!(
        said == written,
        "the settings are not those in {}, from line {}:\n  said    {:?}\n  written {:?}\nIf it shall be so, have it \
         written anew: run this test with {WRITE}=1, and look at what has changed.",
        file.display(),
        place + 1,
        said.lines().nth(place),
        written.lines().nth(place),
    );
}

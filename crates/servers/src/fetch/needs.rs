//! What the machine itself must have.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::ServerError;

/// The oldest Java that runs Kafka 4.
const OLDEST_JAVA: u32 = 17;

/// Java, new enough.
pub(super) fn require_java() -> Result<(), ServerError> {
    let missing = ServerError::Missing { what: "Java 17", install: "apt-get install openjdk-17-jre-headless maven" };
    let said = find_program("java").and_then(|java| Command::new(java).arg("-version").output().ok());
    let version = said.and_then(|ran| major_version(&String::from_utf8_lossy(&ran.stderr)));
    if version.is_some_and(|version| version >= OLDEST_JAVA) { Ok(()) } else { Err(missing) }
}

/// Maven.
pub(super) fn require_maven() -> Result<(), ServerError> {
    let missing = ServerError::Missing { what: "Maven", install: "apt-get install openjdk-17-jre-headless maven" };
    find_program("mvn").map(drop).ok_or(missing)
}

/// Python with pip.
pub(super) fn require_pip() -> Result<(), ServerError> {
    let missing = ServerError::Missing { what: "Python 3 with pip", install: "apt-get install python3-pip" };
    let ran = Command::new("python3").args(["-m", "pip", "--version"]).output();
    if ran.is_ok_and(|ran| ran.status.success()) { Ok(()) } else { Err(missing) }
}

/// The libraries that the dynamic linker misses in `said`.
pub(super) fn require_libraries(said: &str) -> Result<(), ServerError> {
    let known = [
        ("libcurl.so.4", "libcurl 4", "apt-get install libcurl4"),
        ("libssl.so.3", "OpenSSL 3", "apt-get install libssl3"),
        ("libcrypto.so.3", "OpenSSL 3", "apt-get install libssl3"),
    ];
    let missing = known.into_iter().find(|(file, ..)| said.contains(file));
    missing.map_or(Ok(()), |(_, what, install)| Err(ServerError::Missing { what, install }))
}

/// The program `name`: in `$JAVA_HOME/bin` if it is Java, else in `$PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let java_home = env::var_os("JAVA_HOME").filter(|_| name == "java").map(|home| Path::new(&home).join("bin"));
    let folders = java_home.into_iter().chain(env::split_paths(&path));
    let runs = |file: &PathBuf| fs::metadata(file).is_ok_and(|f| f.is_file() && f.permissions().mode() & 0o111 != 0);
    folders.map(|folder| folder.join(name)).find(runs)
}

/// The first number of `version "17.0.15"`.
fn major_version(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("version \"")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version_of_java() {
        assert_eq!(major_version("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
        assert_eq!(major_version("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(major_version("java version \"1.8.0_392\""), Some(1));
        assert_eq!(major_version("sh: 1: java: not found"), None);
    }

    #[test]
    fn names_the_package_of_a_missing_library() {
        let said = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file";
        let refused = require_libraries(said).unwrap_err().to_string();
        assert_eq!(refused, "libcurl 4 is missing: apt-get install libcurl4");
        assert!(require_libraries("db version v6.0.5").is_ok());
    }
}

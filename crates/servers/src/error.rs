//! What can go wrong, each in one sentence that says what to do.

use std::{io, path::PathBuf};

/// Why a server is not there.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program or library of the machine is missing.
    #[error("{what} is missing: {install}")]
    Missing {
        /// What is missing, such as `Java 17`.
        what: &'static str,
        /// The command that brings it.
        install: &'static str,
    },
    /// There are no binaries for this kind of machine.
    #[error("there is no {server} to fetch for {arch}: x86_64 and aarch64 are known")]
    UnknownMachine {
        /// Which server.
        server: &'static str,
        /// The architecture of this machine.
        arch: &'static str,
    },
    /// Maven or pip failed.
    #[error("{server} could not be fetched, is the network reachable? {tool} says: {last_words}")]
    Fetch {
        /// Which server.
        server: &'static str,
        /// Who was to fetch it.
        tool: &'static str,
        /// The line it complained in.
        last_words: String,
    },
    /// What was fetched is not what was expected.
    #[error("{server} was fetched but cannot be used: {reason}")]
    Unusable {
        /// Which server.
        server: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The state folder cannot be written to.
    #[error("{} cannot be written to ({source}): set IRONMONGER_HOME to a folder you may write to", .folder.display())]
    NotWritable {
        /// Which folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// PostgreSQL does not run as root, and the user it would run as cannot get to its files.
    #[error(
        "PostgreSQL does not run as root, and the user {user} may not enter {}: \
         run `chmod o+x {}`, or set IRONMONGER_HOME to a folder that all may enter",
        .folder.display(), .folder.display()
    )]
    NotEnterable {
        /// The folder that is closed.
        folder: PathBuf,
        /// Who needs to enter it.
        user: &'static str,
    },
    /// Somebody else listens already.
    #[error("port {port}, wanted by {name}, is in use")]
    PortInUse {
        /// Which port.
        port: u16,
        /// Who wanted it.
        name: String,
    },
    /// The server ended before it was healthy.
    #[error("{name} ended while it was starting ({last_words}); its log is {}", .log.display())]
    Died {
        /// Which server.
        name: String,
        /// The last line of its log.
        last_words: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The server lives but does not answer.
    #[error("{name} did not answer within {seconds} s; its log is {}", .log.display())]
    Silent {
        /// Which server.
        name: String,
        /// How long it was given.
        seconds: u64,
        /// The log.
        log: PathBuf,
    },
    /// A file or a process of our own.
    #[error("{doing} failed: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ServerError {
    /// For `map_err`: the system refused while `doing`.
    pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }

    /// For `map_err`: `folder` cannot be written to.
    pub(crate) fn not_writable(folder: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let folder = folder.into();
        move |source| Self::NotWritable { folder, source }
    }
}

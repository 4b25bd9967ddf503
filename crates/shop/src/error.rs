//! Why the shop is not up, each in one sentence that says what to do.

use std::{io, path::PathBuf};

use servers::ServerError;

use crate::containers::DockerError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// Docker would not do what the shop in containers needs.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A server or a service would not start.
    #[error(transparent)]
    Server(ServerError),
    /// Somebody else listens on one of our ports.
    #[error("{0}: stop what listens there, or choose other ports with --port-base")]
    PortInUse(ServerError),
    /// Another shop has this folder.
    #[error("the shop is up already (process {pid}): see `cargo shop status`, stop it with `cargo shop down`")]
    Running {
        /// The process that supervises it.
        pid: u32,
    },
    /// There is no shop to ask.
    #[error("the shop is not up: start it with `cargo shop up`")]
    NotRunning,
    /// A shop in the background would not start; it has said why.
    #[error("{0}")]
    Background(String),
    /// The shop was told to stop, and did not.
    #[error(
        "the shop (process {pid}) does not stop: look at `cargo shop logs`, or kill the process; nothing outlives it"
    )]
    WouldNotStop {
        /// The process that supervises it.
        pid: u32,
    },
    /// The services' programs are not where they should be.
    #[error("there is no program {}: build it, or let `cargo shop up` build it", .0.display())]
    NoProgram(PathBuf),
    /// The services could not be built.
    #[error("the services could not be built: see what cargo says above")]
    Build,
    /// A database could not be prepared.
    #[error("the database {database} could not be prepared: {source}")]
    Database {
        /// Which one.
        database: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// The database of inventory could not be prepared.
    #[error("the database inventory could not be prepared: {0}")]
    Inventory(Box<mongodb::error::Error>),
    /// A service did not do what was asked of it.
    #[error("the catalogue could not be filled: {0}")]
    Seed(String),
    /// There is no part of this name.
    #[error("there is no {wanted}: the parts are {known}")]
    UnknownPart {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// A part does not tell its metrics.
    #[error("{part} tells no metrics: {source}")]
    NoMetrics {
        /// Which one.
        part: String,
        /// What came instead.
        source: reqwest::Error,
    },
    /// No service has anything parked there.
    #[error("nothing is parked under {key}: `cargo shop dead list` shows what is")]
    NotParked {
        /// As it was asked for.
        key: String,
    },
    /// More than one parked key is meant.
    #[error("{key} is parked in several places ({places}): say which with --service and --topic")]
    Ambiguous {
        /// As it was asked for.
        key: String,
        /// Services and topics.
        places: String,
    },
    /// The service has tried, and would not.
    #[error("the {service} service still cannot take it in ({reason}): it stays parked")]
    StillAtFault {
        /// Which service.
        service: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The service has not tried yet.
    #[error(
        "not taken in within {after_s} s, and marked still: the service does it once it is up, see `cargo shop status`"
    )]
    NotReplayed {
        /// How long it was waited for, in seconds.
        after_s: u64,
    },
    /// Nobody knows anything of it.
    #[error("no service knows the {what}")]
    Unknown {
        /// What was asked for.
        what: String,
    },
    /// A service would not send its messages again.
    #[error("the {service} service has not republished: {why}")]
    NotRepublished {
        /// Which service.
        service: &'static str,
        /// What it says.
        why: String,
    },
    /// A service gives no answer that can be read.
    #[error("the {service} service gave no answer that can be read: see `cargo shop status` and its log ({source})")]
    Silent {
        /// Which service.
        service: &'static str,
        /// What happened instead.
        source: reqwest::Error,
    },
    /// The order service would not let a saga go on.
    #[error("the saga does not go on: {why}")]
    NotResumed {
        /// What it says.
        why: String,
    },
    /// The order service would not fold its orders anew.
    #[error("the order service has not folded its orders anew: {said}")]
    Rebuild {
        /// What it said.
        said: String,
    },
    /// The keys that tokens are signed with cannot be used.
    #[error("{} holds no usable key: remove the folder and start again, old tokens are then void", .0.display())]
    Keys(PathBuf),
    /// A file or process of our own.
    #[error("{doing} failed: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

impl From<ServerError> for ShopError {
    fn from(error: ServerError) -> Self {
        if matches!(error, ServerError::PortInUse { .. }) { Self::PortInUse(error) } else { Self::Server(error) }
    }
}

impl ShopError {
    /// For `map_err`: the system refused while `doing`.
    pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }
}

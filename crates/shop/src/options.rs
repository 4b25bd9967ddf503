//! What kind of shop is wanted.

use std::path::PathBuf;

use servers::{Data, Home, ServerError, free_port};

/// How to run one shop.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the servers were, or will be, fetched.
    pub servers: Home,
    /// The folder of this shop: data, logs, keys, state. One shop at a time.
    pub folder: PathBuf,
    /// The folder of the services' programs.
    pub bin_dir: PathBuf,
    /// Where to listen.
    pub ports: Ports,
    /// How many processes of each service.
    pub replicas: u16,
    /// What to fill the catalogue with.
    pub seed: Seed,
    /// What the data is worth: kept, or thrown away after a test.
    pub worth: Data,
    /// What the services are set to besides, by the variables that their `--help` names. They see the shop's own
    /// environment anyway, such as where their spans go.
    pub settings: Vec<(&'static str, String)>,
}

/// Which ports of the loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// Services from base + 1, servers from base + 11; each further replica of the services 100 higher.
    From(u16),
    /// Whatever is free.
    Free,
}

/// What the catalogue is filled with, as far as it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// Nothing.
    Nothing,
    /// The first so many products.
    First(usize),
    /// All 200 products.
    Whole,
}

impl Options {
    /// The shop of this user, on ports from 7000, with the programs in `bin_dir`.
    pub fn of_this_user(bin_dir: PathBuf) -> Self {
        let servers = Home::of_this_user();
        Self {
            folder: servers.path().join("shop"),
            servers,
            bin_dir,
            ports: Ports::From(7000),
            replicas: 1,
            seed: Seed::Whole,
            worth: Data::Kept,
            settings: Vec::new(),
        }
    }

    /// A shop for tests: in `folder`, on free ports, a few products, nothing worth keeping.
    pub fn for_test(folder: PathBuf, bin_dir: PathBuf) -> Self {
        Self {
            folder,
            ports: Ports::Free,
            seed: Seed::First(20),
            worth: Data::Throwaway,
            ..Self::of_this_user(bin_dir)
        }
    }
}

impl Ports {
    /// The port that lies `offset` above the base, or a free one.
    pub(crate) fn at(self, offset: u16) -> Result<u16, ServerError> {
        match self {
            Self::From(base) => Ok(base.saturating_add(offset)),
            Self::Free => free_port(),
        }
    }
}

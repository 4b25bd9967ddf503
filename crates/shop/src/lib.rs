//! The shop on this machine: real servers and services as child processes, started, watched, filled, measured, checked.
//!
//! | module | holds |
//! |---|---|
//! | [`options`], `plan` | what is to run where: ports, folders, programs |
//! | [`up`], `supervise`, `databases` | starting in order of health, and starting again what dies |
//! | [`programs`], [`seed`] | building the services; the catalogue |
//! | [`background`] | a shop that outlives the command that started it |
//! | [`state`], [`status`], [`logs`], [`metrics`], [`token`] | what a running shop tells about itself |
//! | [`load`], [`audit`], `running` | what is done to a running shop: orders, and whether the books add up |
//! | [`containers`] | the same shop in containers: starting and stopping it, and having it asked |
//! | [`compose`] | what `docker-compose.yml` has done by this program: secrets, databases, catalogue |
//! | [`dead`], [`republish`], [`sagas`] | what a service could not take in; what its owners send again; what waits for an operator |
//! | [`topics`] | what the services say to each other, described |
//! | [`demo`] | one order of every outcome, and its story |
//!
//! The command is `src/main.rs` over this library, with a module for each way in which a shop can run; the system tests use the library itself.

pub mod audit;
pub mod background;
pub mod compose;
pub mod containers;
mod databases;
pub mod dead;
pub mod demo;
mod error;
pub mod load;
pub mod logs;
pub mod metrics;
pub mod options;
mod plan;
pub mod process;
pub mod programs;
pub mod rebuild;
pub mod republish;
mod running;
pub mod sagas;
pub mod seed;
pub mod state;
pub mod status;
mod supervise;
pub mod token;
pub mod topics;
pub mod up;

pub use error::ShopError;
pub use options::{Options, Ports, Seed};
pub use state::{Service, State};
pub use up::Shop;

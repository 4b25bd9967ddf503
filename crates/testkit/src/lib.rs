//! Real stores for tests.
//!
//! One server per test process and kind, started when the first test asks for it and shared by all tests of the
//! process; each test gets a database of its own. Nothing is left behind, however the process ends: the servers die
//! with it, their folder is removed, and a folder that could not be is swept by the next run.
//!
//! `TEST_POSTGRES_URL`, `TEST_MONGODB_URL` and `TEST_KAFKA_BROKERS` name servers to use instead; the databases of dead
//! processes are then dropped when the next one begins.
//!
//! Else the shared servers run in containers, of the images of `docker-compose.yml`, where a Docker engine answers and has these,
//! and as child processes elsewhere; `IRONMONGER_TEST_SERVERS` may ask for `containers` or for `native` ones. A line on standard
//! error tells which. A server that a test breaks is a child process of its own in any case.
//!
//! These servers flush nothing to disk: what a test needs of durability it needs of a process, not of a machine.
//! A server that does not start fails the test with one sentence that says what to do.

pub mod access;
mod collector;
mod containers;
mod contents;
mod examples;
pub mod help;
mod kafka;
mod log;
mod mongo;
mod postgres;
mod proxy;
mod run;

pub use collector::{Collected, Collector};
pub use contents::{mongo_contents, postgres_contents};
pub use kafka::{TestKafka, kafka};
pub use log::log;
pub use mongo::{TestMongo, TestMongoDatabase, mongo};
pub use postgres::{TestDatabase, TestPostgres, postgres};
pub use proxy::Proxy;
pub use run::folder;

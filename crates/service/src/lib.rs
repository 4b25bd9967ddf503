//! What surrounds any service process: telemetry, traces, metrics, health, clock, supervised tasks, secrets,
//! connections to PostgreSQL, and the way from the contracts to the messaging.
//!
//! | module | holds |
//! |---|---|
//! | [`tasks`] | the long-running parts of a process; one that ends early ends all |
//! | [`telemetry`] | where logs go and what they look like |
//! | [`traces`] | where spans go; what the taking in of a batch is |
//! | [`metrics`] | what is counted and measured, as text for Prometheus |
//! | [`health`] | whether the process is ready, part by part |
//! | [`clock`] | the only source of the time |
//! | [`crash_point`] | where a test lets a process die |
//! | [`settings`] | the settings that every service has |
//! | [`secret`] | a setting that is never shown |
//! | [`message`] | a message of the contracts as a row of the outbox |
//! | [`postgres`] | the connections to a service's PostgreSQL |
//! | [`work`] | how long work at the database may take before the process is started again |
//! | [`topics`] | the topics of the contracts as the broker shall have them |

pub mod clock;
mod crash;
pub mod health;
pub mod message;
pub mod metrics;
pub mod postgres;
pub mod secret;
pub mod settings;
pub mod tasks;
pub mod telemetry;
pub mod topics;
pub mod traces;
pub mod work;

pub use crash::crash_point;

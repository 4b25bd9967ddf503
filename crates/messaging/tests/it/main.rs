//! From a committed transaction to an effect that happens once, over real servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "tests have no database when they are built, and no task supervisor")]

mod backlog;
mod consuming;
mod example;
mod generations;
mod letters;
mod losing;
mod measure;
mod metrics;
#[path = "../shared/mistaking.rs"]
mod mistaking;
mod parking;
mod pruning;
mod relaying;
mod silence;
mod stopping;
mod support;
mod topics;
mod vanishing;
mod visible;

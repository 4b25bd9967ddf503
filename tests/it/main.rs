//! The whole shop under test: real servers, the services as processes, orders over HTTP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod buying;
mod crashes;
mod money;
mod tidy;
mod world;

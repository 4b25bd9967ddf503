//! The whole shop under test: real servers, the services as processes, orders over HTTP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api;
mod buying;
mod compose;
mod crashes;
mod currencies;
mod demo;
mod erased;
mod frozen;
mod killed;
mod life;
mod logs;
mod lost;
mod money;
mod operating;
mod poison;
mod readiness;
mod readme;
mod replayed;
mod slow;
mod slow_clients;
mod stopping;
mod stores;
mod tidy;
mod topics;
mod traces;
mod traffic;
mod webhooks;
mod witness;
mod world;

//! What every HTTP API of the shop shares.
//!
//! | module | holds |
//! |---|---|
//! | [`problem`] | every answer that is no success: RFC 9457, with a stable `code` |
//! | [`extract`] | bodies, paths, queries and headers of a request, whose rejections are problems |
//! | [`page`] | lists, a page at a time |
//! | [`condition`] | changes that are wanted only of the state that the client has seen |
//! | [`openapi`] | the description of an API, made from its handlers |
//! | [`access`] | who is asking: signed tokens, and the principals they name |
//! | [`limits`], [`gate`] | how much is taken in: every limit; what a request must pass before it is worked on |
//! | [`health`] | is the process alive, is it ready |
//! | [`metrics`] | what is measured of requests, and the page that Prometheus reads |
//! | [`text`] | which characters no text has that is kept and printed |
//! | [`trace`] | the trace that a request belongs to |
//! | [`serve`] | serves a router within its limits: panics, timeouts and unknown routes become problems; ends when told to |
//!
//! A handler takes what it needs as arguments and returns `Result<_, Problem>`; a router goes through
//! [`serve::guarded`], in tests as in the process.

pub mod access;
pub mod condition;
pub mod extract;
pub mod gate;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod serve;
pub mod text;
pub mod trace;

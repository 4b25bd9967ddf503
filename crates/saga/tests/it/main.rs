//! The machine's rules, one test each; its properties under random inputs; shapes that must not compile.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod definitions;
mod log;
mod properties;
mod rules;
mod trip;

//! Tests of definitions: [`Run`] tells one story, [`exhaust()`] tries every failure.
//!
//! Both are strict. A command that a story does not mention, or that differs from the expected one in any value, ends
//! the test; and `exhaust` fails if a case it promises was not reached.

mod exhaust;
mod judge;
mod plan;
mod run;
mod world;

pub use exhaust::{Reached, exhaust};
pub use run::Run;

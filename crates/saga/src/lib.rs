#![doc = include_str!("../README.md")]

mod command;
mod definition;
mod instance;
mod log;
mod machine;
pub mod testing;
mod transition;

pub use command::{CommandId, Direction, NotACommandId};
pub use definition::{Begun, Data, Named, Pivoted, Saga, Step, step};
pub use instance::{Asking, Did, Ended, Instance, Phase, Progress, Undo, Why};
pub use log::{LogEntry, Word};
pub use transition::{Answer, Impossible, Input, Transition};

#![doc = include_str!("../README.md")]

mod backoff;
pub mod batch;
pub mod broker;
pub mod consumer;
pub mod envelope;
mod generation;
mod headers;
pub mod kept;
mod meters;
pub mod mongo;
pub mod pace;
pub mod parked;
pub mod postgres;
pub mod producer;
pub mod pulse;

pub use batch::{Batch, Dropped, Place, Position};
pub use broker::{Broker, Retention, TopicSpec};
pub use consumer::{Consumer, HandleError, Handler, Offsets};
pub use envelope::{Outgoing, Record, TooLarge, Undecodable};
pub use generation::Loss;
pub use headers::Headers;
pub use pulse::{Condition, Pulse};

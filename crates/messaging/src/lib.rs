//! At-least-once delivery with exactly one effect.

pub mod batch;
pub mod consumer;
pub mod envelope;
pub mod mongo;
pub mod postgres;

pub use batch::{Batch, Position};
pub use consumer::{HandleError, Handler};
pub use envelope::{Outgoing, Record, Undecodable};

//! Everything that was waiting, handed over at once.

use crate::Record;

/// The records that were waiting, in the order of their partitions' logs, and how far they move each partition.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The messages; those of one key in the order they were written.
    pub records: Vec<Record>,
    /// One per partition that has records here.
    pub positions: Vec<Position>,
}

/// How far a batch moves one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The topic, without the prefix of the installation.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to read as the database had it when this batch was read: what the fence compares.
    pub from: i64,
    /// The next offset to read once the batch is done.
    pub to: i64,
}

//! Everything that was waiting, handed over at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::Record;

/// The records that were waiting, in the order of their partitions' logs, and how far they move each partition.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The messages; those of one key in the order they were written.
    pub records: Vec<Record>,
    /// One per partition that has records here.
    pub positions: Vec<Position>,
    /// What `accept` found to be known already. Clones of a batch share it.
    pub dropped: Dropped,
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
    /// The generation that the database had with `from`: the fence compares it, too.
    pub from_generation: i64,
    /// The generation of what the batch has read.
    pub to_generation: i64,
}

/// Where a consumer has come to in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The highest generation of the writer that was read; 0 before the first message.
    pub generation: i64,
    /// The next offset to read.
    pub offset: i64,
}

/// How many records of a batch were dropped, for their ids were in the inbox.
#[derive(Debug, Clone, Default)]
pub struct Dropped(Arc<AtomicUsize>);

impl Dropped {
    /// The number that the last `accept` found.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Of so many records so many are fresh.
    pub(crate) fn note(&self, records: usize, fresh: usize) {
        self.0.store(records - fresh, Ordering::Relaxed);
    }
}

//! Everything that was waiting, handed over at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use uuid::Uuid;

use crate::{Record, parked, parked::ParkedMessage};

/// The records that were waiting, in the order of their partitions' logs, and how far they move each partition.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The messages; those of one key in the order they were written.
    pub records: Vec<Record>,
    /// One per partition that has records here, or messages at fault.
    pub positions: Vec<Position>,
    /// What `accept` found to be known already. Clones of a batch share it.
    pub dropped: Dropped,
    /// Messages at fault: `accept` parks them.
    pub faulty: Vec<ParkedMessage>,
    /// The one record was parked: `accept` takes it from there and moves no offset.
    pub replayed: bool,
    /// How many keys may be parked, all in all: `accept` parks no more.
    pub parked_keys_max: usize,
}

/// How far a batch moves one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Whether something of this partition is parked, as the database had it with `from`: the fence compares it, too.
    pub parked: bool,
}

/// Where a consumer has come to in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The highest generation of the writer that was read; 0 before the first message.
    pub generation: i64,
    /// The next offset to read.
    pub offset: i64,
    /// Whether something of the partition is parked.
    pub parked: bool,
}

impl Batch {
    /// The message `id` is at fault: it moves to those to be parked. False if it is not among the records.
    pub(crate) fn reject(&mut self, id: Uuid, reason: &str) -> bool {
        let records = std::mem::take(&mut self.records);
        let (guilty, others): (Vec<Record>, Vec<Record>) = records.into_iter().partition(|record| record.id == id);
        self.records = others;
        self.faulty.extend(guilty.iter().map(|record| ParkedMessage::of(record, Some(reason))));
        !guilty.is_empty()
    }

    /// The first half of the records, and the second; to be done one after the other. The batch has two records at least.
    pub(crate) fn split(self) -> (Self, Self) {
        let Self { mut records, positions, faulty, parked_keys_max, .. } = self;
        let behind = records.split_off(records.len() / 2);
        let half = |records, faulty| Self { records, faulty, parked_keys_max, ..Self::default() };
        // Where the first half ends in the partition of `position`, if it has anything there.
        let cut = |position: &Position| {
            let of_it =
                records.iter().rev().find(|one| (one.partition, &one.topic) == (position.partition, &position.topic));
            of_it.map(|last| last.offset + 1)
        };
        let is_before = |one: &ParkedMessage| {
            let mut position = positions.iter().filter(|at| (at.partition, &at.topic) == (one.partition, &one.topic));
            position.next().and_then(cut).is_some_and(|cut| one.offset < cut)
        };
        let (bad_before, bad_behind): (Vec<_>, Vec<_>) = faulty.into_iter().partition(is_before);
        let mut first = Vec::new();
        let mut second = Vec::new();
        for position in &positions {
            let here = |one: (i32, &String)| one == (position.partition, &position.topic);
            let goes_on = behind.iter().any(|one| here((one.partition, &one.topic)))
                || bad_behind.iter().any(|one| here((one.partition, &one.topic)));
            match cut(position) {
                None => second.push(position.clone()),
                Some(_) if !goes_on => first.push(position.clone()),
                Some(cut) => {
                    first.push(Position { to: cut, ..position.clone() });
                    let parked = position.parked || bad_before.iter().any(|one| here((one.partition, &one.topic)));
                    let from_generation = position.to_generation;
                    second.push(Position { from: cut, from_generation, parked, ..position.clone() });
                }
            }
        }
        (Self { positions: first, ..half(records, bad_before) }, Self { positions: second, ..half(behind, bad_behind) })
    }

    /// A parked message, to be taken in after all.
    pub(crate) fn replay(record: Record) -> Self {
        Self { records: vec![record], replayed: true, ..Self::default() }
    }

    /// What the one record of a replay is parked under.
    pub(crate) fn replayed_key(&self) -> Option<(&Record, String)> {
        let record = self.records.first().filter(|_| self.replayed)?;
        Some((record, parked::key_of(record.key.as_bytes())))
    }
}

/// How many records of a batch were dropped, for their ids were in the inbox.
#[derive(Debug, Clone, Default)]
pub struct Dropped(Arc<AtomicUsize>);

impl Dropped {
    /// The number that the last `accept` found.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Of so many messages so many are fresh.
    pub(crate) fn note(&self, messages: usize, fresh: usize) {
        self.0.store(messages - fresh, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64) -> Record {
        Record { topic: "a".into(), partition, offset, id: Uuid::now_v7(), ..Record::default() }
    }

    fn position(partition: i32, from: i64, to: i64) -> Position {
        let generations = Position { from_generation: 1, to_generation: 2, ..Position::default() };
        Position { topic: "a".into(), partition, from, to, ..generations }
    }

    #[test]
    fn the_halves_of_a_batch_move_each_partition_one_after_the_other() {
        let records = vec![record(0, 5), record(1, 0), record(0, 7), record(2, 3), record(0, 9), record(2, 4)];
        let faulty = [(0, 6), (0, 10), (3, 8)].map(|(at, offset)| ParkedMessage::of(&record(at, offset), Some("bad")));
        let positions = vec![position(0, 4, 11), position(1, 0, 1), position(2, 3, 5), position(3, 8, 9)];
        let (first, second) = Batch { records, faulty: faulty.to_vec(), positions, ..Batch::default() }.split();
        let offsets = |batch: &Batch| batch.records.iter().map(|one| (one.partition, one.offset)).collect::<Vec<_>>();
        let bad = |batch: &Batch| batch.faulty.iter().map(|one| (one.partition, one.offset)).collect::<Vec<_>>();
        assert_eq!((offsets(&first), bad(&first)), (vec![(0, 5), (1, 0), (0, 7)], vec![(0, 6)]));
        assert_eq!(first.positions, [position(0, 4, 8), position(1, 0, 1)]);
        assert_eq!((offsets(&second), bad(&second)), (vec![(2, 3), (0, 9), (2, 4)], vec![(0, 10), (3, 8)]));
        let rest = Position { from_generation: 2, parked: true, ..position(0, 8, 11) };
        assert_eq!(second.positions, [rest, position(2, 3, 5), position(3, 8, 9)]);
    }

    #[test]
    fn all_copies_of_a_message_at_fault_leave_the_records() {
        let (bad, good) = (record(0, 1), record(0, 2));
        let mut batch = Batch { records: vec![bad.clone(), good.clone(), bad.clone()], ..Batch::default() };
        assert!(batch.reject(bad.id, "bad"));
        assert!(!batch.reject(bad.id, "bad"), "it is gone");
        assert_eq!(batch.records, [good]);
        assert_eq!(batch.faulty.len(), 2);
    }
}

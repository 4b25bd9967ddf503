//! Where each partition stands that this member may read: in the database, and in the topic.

use std::collections::BTreeMap;

use crate::{Batch, Place, Position, Record, parked::ParkedMessage};

/// Empty until the offsets are loaded; a partition without a position is not read.
#[derive(Debug, Default)]
pub(super) struct Positions {
    topics: Vec<Topic>,
}

#[derive(Debug)]
struct Topic {
    /// At the broker.
    full_name: String,
    name: String,
    partitions: BTreeMap<i32, Reading>,
}

/// How one partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// As the database has it.
    pub(super) stored: Place,
    /// The next offset to read; another than the stored one where reading began anew.
    pub(super) next: i64,
    /// The highest generation that was read.
    pub(super) generation: i64,
    /// Reading begins with the first record that the topic has, and it has not come yet.
    pub(super) fresh: bool,
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due<'a> {
    /// It is of this topic (without the prefix), and comes next.
    Yes(&'a str),
    /// Its partition is gone, or it is done already.
    No,
    /// Its generation is new: what we have read of the partition may have been replaced, so read it anew.
    Anew,
}

impl Positions {
    pub(super) fn set(&mut self, full_name: &str, name: &str, partition: i32, reading: Reading) {
        let at = self.topics.iter().position(|topic| topic.name == name).unwrap_or_else(|| {
            let (full_name, name) = (full_name.to_owned(), name.to_owned());
            self.topics.push(Topic { full_name, name, partitions: BTreeMap::new() });
            self.topics.len() - 1
        });
        self.topics[at].partitions.insert(partition, reading);
    }

    /// Whether the record of `generation` at `offset` is due.
    pub(super) fn due(&mut self, full_name: &str, partition: i32, offset: i64, generation: i64) -> Due<'_> {
        let Some(topic) = self.topics.iter_mut().find(|topic| topic.full_name == full_name) else { return Due::No };
        let Some(reading) = topic.partitions.get_mut(&partition) else { return Due::No };
        if generation > reading.generation && !reading.fresh {
            return Due::Anew;
        }
        if offset < reading.next {
            return Due::No;
        }
        reading.generation = reading.generation.max(generation);
        reading.fresh = false;
        Due::Yes(&topic.name)
    }

    /// `records` and `faulty`, which are due and each in the order of their partitions, with how far they move each
    /// partition.
    ///
    /// `from` is what the database has, even where compaction or retention have left a gap up to the first record.
    pub(super) fn batch(&self, records: Vec<Record>, faulty: Vec<ParkedMessage>) -> Batch {
        let mut positions: Vec<Position> = Vec::new();
        let ends = records.iter().map(|one| (&one.topic, one.partition, one.offset + 1));
        for (topic, partition, to) in ends.chain(faulty.iter().map(|one| (&one.topic, one.partition, one.offset + 1))) {
            let known = |position: &&mut Position| position.partition == partition && position.topic == *topic;
            if let Some(position) = positions.iter_mut().find(known) {
                position.to = position.to.max(to);
            } else if let Some(reading) = self.reading(topic, partition) {
                positions.push(Position {
                    topic: topic.clone(),
                    partition,
                    from: reading.stored.offset,
                    to,
                    from_generation: reading.stored.generation,
                    to_generation: reading.generation,
                    parked: reading.stored.parked,
                });
            }
        }
        Batch { records, positions, faulty, ..Batch::default() }
    }

    /// `batch` is committed. A partition that has been loaded anew meanwhile keeps what was loaded.
    pub(super) fn advance(&mut self, batch: &Batch) {
        for position in &batch.positions {
            let topic = self.topics.iter_mut().find(|topic| topic.name == position.topic);
            let from = Place { generation: position.from_generation, offset: position.from, parked: position.parked };
            let here = |one: &ParkedMessage| one.partition == position.partition && one.topic == position.topic;
            if let Some(reading) = topic.and_then(|topic| topic.partitions.get_mut(&position.partition))
                && reading.stored == from
            {
                let parked = position.parked || batch.faulty.iter().any(here);
                reading.stored = Place { generation: position.to_generation, offset: position.to, parked };
                reading.next = position.to;
            }
        }
    }

    /// Forgets all, and says which partitions (by their topics' names at the broker) there were.
    pub(super) fn take(&mut self) -> Vec<(String, i32)> {
        let topics = std::mem::take(&mut self.topics);
        topics
            .into_iter()
            .flat_map(|topic| topic.partitions.into_keys().map(move |partition| (topic.full_name.clone(), partition)))
            .collect()
    }

    /// The offsets of a partition (by its topic's name at the broker) that are still to be done if it ends at `end`, with
    /// the topic's own name. Nothing if the partition is not ours.
    pub(super) fn lag(&self, full_name: &str, partition: i32, end: i64) -> Option<(&str, i64)> {
        let topic = self.topics.iter().find(|topic| topic.full_name == full_name)?;
        Some((&topic.name, end - topic.partitions.get(&partition)?.next))
    }

    /// The partitions that have something parked.
    pub(super) fn parked(&self) -> Vec<(String, i32)> {
        let of = |topic: &Topic| {
            let parked = topic.partitions.iter().filter(|(_, reading)| reading.stored.parked);
            parked.map(|(partition, _)| (topic.name.clone(), *partition)).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of).collect()
    }

    fn reading(&self, name: &str, partition: i32) -> Option<Reading> {
        self.topics.iter().find(|topic| topic.name == name)?.partitions.get(&partition).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, partition: i32, offset: i64) -> Record {
        let (kind, key) = ("kind".into(), "key".into());
        Record { topic: topic.into(), partition, offset, id: uuid::Uuid::now_v7(), kind, key, ..Record::default() }
    }

    fn position(topic: &str, partition: i32, from: i64, to: i64) -> Position {
        let generations = Position { from_generation: 1, to_generation: 1, ..Position::default() };
        Position { topic: topic.into(), partition, from, to, ..generations }
    }

    fn place(generation: i64, offset: i64) -> Place {
        Place { generation, offset, parked: false }
    }

    fn reading(next: i64) -> Reading {
        Reading { stored: place(1, next), next, generation: 1, fresh: false }
    }

    fn positions() -> Positions {
        let mut positions = Positions::default();
        positions.set("x.a", "a", 0, reading(5));
        positions.set("x.a", "a", 1, reading(0));
        positions.set("x.b", "b", 0, reading(7));
        positions
    }

    #[test]
    fn a_batch_moves_each_partition_from_the_stored_offset_past_its_last_record() {
        let batch =
            positions().batch(vec![record("a", 0, 5), record("b", 0, 9), record("a", 0, 8), record("a", 1, 3)], vec![]);
        assert_eq!(batch.positions, [position("a", 0, 5, 9), position("b", 0, 7, 10), position("a", 1, 0, 4)]);
        assert_eq!(batch.records.len(), 4);
    }

    #[test]
    fn only_records_at_or_after_the_position_of_a_partition_that_is_ours_are_due() {
        let mut positions = positions();
        assert_eq!(positions.due("x.a", 0, 4, 1), Due::No);
        assert_eq!(positions.due("x.a", 0, 5, 1), Due::Yes("a"));
        assert_eq!(positions.due("x.a", 2, 5, 1), Due::No);
        assert_eq!(positions.due("a", 0, 5, 1), Due::No);
        assert_eq!(positions.due("x.a", 0, 4, 2), Due::Anew, "done already, but not what we did");
    }

    #[test]
    fn a_new_generation_is_read_from_its_beginning_once() {
        let mut positions = positions();
        assert_eq!(positions.due("x.a", 0, 6, 2), Due::Anew, "what was before it may be new as well");
        let stored = place(1, 5);
        positions.set("x.a", "a", 0, Reading { stored, next: 0, generation: 2, fresh: true });
        assert_eq!(positions.due("x.a", 0, 0, 1), Due::Yes("a"), "what an old relay has sent meanwhile");
        assert_eq!(positions.due("x.a", 0, 1, 2), Due::Yes("a"));
        let batch = positions.batch(vec![record("a", 0, 0), record("a", 0, 1)], vec![]);
        assert_eq!(batch.positions, [Position { from: 5, to: 2, to_generation: 2, ..position("a", 0, 0, 0) }]);
        positions.advance(&batch);
        assert_eq!(positions.due("x.a", 0, 2, 2), Due::Yes("a"));
        assert_eq!(positions.due("x.a", 0, 3, 3), Due::Anew);
    }

    #[test]
    fn the_first_record_of_all_brings_its_generation() {
        let mut positions = positions();
        positions.set("x.a", "a", 0, Reading { stored: Place::default(), next: 40, generation: 0, fresh: true });
        assert_eq!(positions.due("x.a", 0, 40, 3), Due::Yes("a"));
        assert_eq!(positions.due("x.a", 0, 41, 4), Due::Anew);
    }

    #[test]
    fn a_committed_batch_advances_only_what_has_not_been_loaded_anew() {
        let mut positions = positions();
        let moved = vec![position("a", 0, 5, 9), position("b", 0, 6, 10), position("a", 7, 0, 1)];
        positions.advance(&Batch { positions: moved, ..Batch::default() });
        assert_eq!(positions.reading("a", 0), Some(reading(9)));
        assert_eq!(positions.lag("x.a", 0, 12), Some(("a", 3)));
        assert_eq!(positions.lag("x.a", 7, 12), None);
        assert_eq!(positions.reading("b", 0), Some(reading(7)));
        assert_eq!(positions.reading("a", 7), None);
        assert_eq!(positions.take().len(), 3);
        assert_eq!(positions.reading("a", 0), None);
    }
    #[test]
    fn a_message_at_fault_moves_its_partition_and_marks_it() {
        let mut positions = positions();
        let faulty = |offset| ParkedMessage::of(&record("b", 0, offset), Some("bad"));
        let batch = positions.batch(vec![record("b", 0, 8)], vec![faulty(7), faulty(9)]);
        assert_eq!(batch.positions, [position("b", 0, 7, 10)]);
        assert_eq!(positions.parked(), []);
        positions.advance(&batch);
        assert_eq!(positions.parked(), [("b".to_owned(), 0)]);
        let next = positions.batch(vec![record("b", 0, 10)], vec![]);
        assert_eq!(next.positions, [Position { parked: true, ..position("b", 0, 10, 11) }], "what the fence compares");
    }
}

//! The next offset of each partition this member may read, as the database has it.

use std::collections::BTreeMap;

use crate::{Batch, Position, Record};

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
    next: BTreeMap<i32, i64>,
}

impl Positions {
    pub(super) fn set(&mut self, full_name: &str, name: &str, partition: i32, next: i64) {
        let at = self.topics.iter().position(|topic| topic.name == name).unwrap_or_else(|| {
            let (full_name, name) = (full_name.to_owned(), name.to_owned());
            self.topics.push(Topic { full_name, name, next: BTreeMap::new() });
            self.topics.len() - 1
        });
        self.topics[at].next.insert(partition, next);
    }

    /// The name of the topic without its prefix, if the record at `offset` is due: not of a partition that is gone, and
    /// not done already.
    pub(super) fn due(&self, full_name: &str, partition: i32, offset: i64) -> Option<&str> {
        let topic = self.topics.iter().find(|topic| topic.full_name == full_name)?;
        topic.next.get(&partition).is_some_and(|next| offset >= *next).then_some(topic.name.as_str())
    }

    /// `records`, which are due and in the order of their partitions, with how far they move each partition.
    ///
    /// `from` is what the database has, even where compaction or retention have left a gap up to the first record.
    pub(super) fn batch(&self, records: Vec<Record>) -> Batch {
        let mut positions: Vec<Position> = Vec::new();
        for record in &records {
            let to = record.offset + 1;
            let known =
                |position: &&mut Position| position.partition == record.partition && position.topic == record.topic;
            if let Some(position) = positions.iter_mut().find(known) {
                position.to = to;
            } else if let Some(from) = self.next(&record.topic, record.partition) {
                positions.push(Position { topic: record.topic.clone(), partition: record.partition, from, to });
            }
        }
        Batch { records, positions }
    }

    /// The batch of `moved` is committed. A partition that has been loaded anew meanwhile keeps what was loaded.
    pub(super) fn advance(&mut self, moved: &[Position]) {
        for position in moved {
            let topic = self.topics.iter_mut().find(|topic| topic.name == position.topic);
            if let Some(next) = topic.and_then(|topic| topic.next.get_mut(&position.partition))
                && *next == position.from
            {
                *next = position.to;
            }
        }
    }

    /// Forgets all, and says which partitions (by their topics' names at the broker) there were.
    pub(super) fn take(&mut self) -> Vec<(String, i32)> {
        let topics = std::mem::take(&mut self.topics);
        topics
            .into_iter()
            .flat_map(|topic| topic.next.into_keys().map(move |partition| (topic.full_name.clone(), partition)))
            .collect()
    }

    fn next(&self, name: &str, partition: i32) -> Option<i64> {
        self.topics.iter().find(|topic| topic.name == name)?.next.get(&partition).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, partition: i32, offset: i64) -> Record {
        Record {
            topic: topic.into(),
            partition,
            offset,
            id: uuid::Uuid::now_v7(),
            kind: "kind".into(),
            key: "key".into(),
            payload: vec![],
            traceparent: None,
        }
    }

    fn position(topic: &str, partition: i32, from: i64, to: i64) -> Position {
        Position { topic: topic.into(), partition, from, to }
    }

    fn positions() -> Positions {
        let mut positions = Positions::default();
        positions.set("x.a", "a", 0, 5);
        positions.set("x.a", "a", 1, 0);
        positions.set("x.b", "b", 0, 7);
        positions
    }

    #[test]
    fn a_batch_moves_each_partition_from_the_stored_offset_past_its_last_record() {
        let batch = positions().batch(vec![record("a", 0, 5), record("b", 0, 9), record("a", 0, 8), record("a", 1, 3)]);
        assert_eq!(batch.positions, [position("a", 0, 5, 9), position("b", 0, 7, 10), position("a", 1, 0, 4)]);
        assert_eq!(batch.records.len(), 4);
    }

    #[test]
    fn only_records_at_or_after_the_position_of_a_partition_that_is_ours_are_due() {
        let positions = positions();
        assert_eq!(positions.due("x.a", 0, 4), None);
        assert_eq!(positions.due("x.a", 0, 5), Some("a"));
        assert_eq!(positions.due("x.a", 2, 5), None);
        assert_eq!(positions.due("a", 0, 5), None);
    }

    #[test]
    fn a_committed_batch_advances_only_what_has_not_been_loaded_anew() {
        let mut positions = positions();
        let moved = [position("a", 0, 5, 9), position("b", 0, 6, 10), position("a", 7, 0, 1)];
        positions.advance(&moved);
        assert_eq!(positions.next("a", 0), Some(9));
        assert_eq!(positions.next("b", 0), Some(7));
        assert_eq!(positions.next("a", 7), None);
        assert_eq!(positions.take().len(), 3);
        assert_eq!(positions.next("a", 0), None);
    }
}

//! Where the reading of a partition begins.

use super::positions::Reading;
use crate::Place;

/// A partition, its stored place and its ends.
pub(super) struct Loaded {
    pub(super) full_name: String,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) stored: Place,
    /// Read it anew, because of this generation.
    pub(super) generation: Option<i64>,
    pub(super) low: i64,
    pub(super) high: i64,
}

impl Loaded {
    /// Where to begin: see [`super`].
    pub(super) fn reading(&self) -> Reading {
        let Self { topic, partition, stored, low, high, .. } = self;
        let at = format!("{topic}/{partition}");
        let from_low = |generation| Reading { stored: *stored, next: *low, generation, fresh: true };
        match (self.generation, stored.offset) {
            (Some(generation), _) if generation > stored.generation => {
                tracing::warn!(at, from = low, generation, known = stored.generation, "a new generation is read anew");
                from_low(generation)
            }
            (_, 0) => {
                if low < high {
                    tracing::info!(at, low, high, "no offset is stored, the partition is read from its beginning");
                }
                from_low(stored.generation)
            }
            (_, next) if (*low..=*high).contains(&next) => {
                Reading { stored: *stored, next, generation: stored.generation, fresh: false }
            }
            (_, next) if next < *low => {
                tracing::error!(
                    at,
                    next,
                    low,
                    "unread messages are gone from the topic: their owner must republish them"
                );
                from_low(stored.generation)
            }
            (_, next) => {
                tracing::warn!(at, next, low, high, "the topic has lost its end or was made anew, it is read anew");
                from_low(stored.generation)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(next: i64, low: i64, high: i64, generation: Option<i64>) -> (i64, i64, bool) {
        let stored = Place { generation: 2, offset: next, parked: false };
        let loaded = Loaded { full_name: "x.a".into(), topic: "a".into(), partition: 0, stored, generation, low, high };
        let reading = loaded.reading();
        assert_eq!(reading.stored, stored, "what the fence compares");
        (reading.next, reading.generation, reading.fresh)
    }

    #[test]
    fn reading_begins_at_the_stored_offset_or_else_with_all_there_is() {
        assert_eq!(reading(0, 0, 0, None), (0, 2, true));
        assert_eq!(reading(0, 40, 50, None), (40, 2, true));
        assert_eq!(reading(40, 40, 50, None), (40, 2, false));
        assert_eq!(reading(50, 40, 50, None), (50, 2, false));
        assert_eq!(reading(39, 40, 50, None), (40, 2, true), "retention was quicker");
        assert_eq!(reading(51, 40, 50, None), (40, 2, true), "made anew");
        assert_eq!(reading(45, 40, 50, Some(3)), (40, 3, true), "a new generation");
        assert_eq!(reading(45, 40, 50, Some(2)), (45, 2, false), "another instance has met it first");
    }
}

//! The topics of the contracts as the broker shall have them.

use contracts::topic::{Kept, PARTITIONS, TOPICS};
use messaging::broker::{Retention, TopicSpec};

const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

/// Every topic of the shop, for [`messaging::broker::Broker::ensure_topics`].
pub fn specs() -> Vec<TopicSpec> {
    TOPICS
        .iter()
        .map(|spec| TopicSpec { name: spec.name.to_owned(), partitions: PARTITIONS, retention: retention(spec.kept) })
        .collect()
}

fn retention(kept: Kept) -> Retention {
    match kept {
        Kept::Days(days) => Retention::Millis(i64::from(days) * MILLIS_PER_DAY),
        Kept::Compacted => Retention::Compacted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_a_line_for_every_topic() {
        let specs = specs();
        assert_eq!(specs.len(), TOPICS.len());
        let named = |name: &str| specs.iter().find(|spec| spec.name == name).unwrap();
        assert!(matches!(named("order.events").retention, Retention::Millis(604_800_000)));
        assert!(matches!(named("inventory.commands").retention, Retention::Millis(86_400_000)));
        assert!(matches!(named("inventory.catalogue").retention, Retention::Compacted));
        assert!(specs.iter().all(|spec| spec.partitions == 4));
    }
}

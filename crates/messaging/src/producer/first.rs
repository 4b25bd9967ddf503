//! What a producer sends to a partition first.

use std::collections::{BTreeSet, HashMap};

use super::Committed;
use crate::broker::Ends;

/// The partitions that hold something and that a producer has sent nothing to, by topic without its prefix. In one that holds
/// nothing there is nothing to be taken for.
pub(super) struct Untouched(HashMap<String, Topic>);

struct Topic {
    partitions: usize,
    untouched: BTreeSet<i32>,
}

impl Untouched {
    /// All that hold something, of partitions that end there.
    pub(super) fn new(ends: &Ends) -> Self {
        let topic = |partitions: &std::collections::BTreeMap<i32, i64>| Topic {
            partitions: partitions.len(),
            untouched: partitions.iter().filter(|(_, end)| **end > 0).map(|(partition, _)| *partition).collect(),
        };
        let topics = ends.iter().map(|(name, partitions)| (name.clone(), topic(partitions)));
        Self(topics.filter(|(_, topic)| !topic.untouched.is_empty()).collect())
    }

    /// The first message to each of them, which is then touched; and all others.
    pub(super) fn split(&mut self, messages: Vec<Committed>) -> (Vec<Committed>, Vec<Committed>) {
        if self.0.is_empty() {
            return (Vec::new(), messages);
        }
        messages.into_iter().partition(|message| self.touch(&message.topic, &message.key))
    }

    /// Whether it was untouched where `key` goes.
    fn touch(&mut self, topic: &str, key: &str) -> bool {
        let Some(known) = self.0.get_mut(topic) else { return false };
        let first = known.untouched.remove(&partition_of(key, known.partitions));
        if known.untouched.is_empty() {
            self.0.remove(topic);
        }
        first
    }
}

/// Where Kafka's own clients, and ours as it is set, write the messages of `key`. Source: `BuiltInPartitioner.partitionForKey`.
pub(super) fn partition_of(key: &str, partitions: usize) -> i32 {
    let positive = murmur2(key.as_bytes()) & 0x7fff_ffff;
    i32::try_from(positive as usize % partitions.max(1)).expect("below a number of 31 bits")
}

/// 32 bits, with Kafka's seed. Source: A. Appleby, `MurmurHash2.cpp`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word = little_endian(word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ word >> 24).wrapping_mul(M);
    }
    if !words.remainder().is_empty() {
        hash = (hash ^ little_endian(words.remainder())).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hashed_as_kafka_does() {
        // Source: Kafka's `UtilsTest.testMurmur2`.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn each_partition_that_holds_something_has_one_first_message() {
        let held = (0..8).map(|partition| (partition, i64::from(partition % 2)));
        let mut untouched = Untouched::new(&Ends::from([("t".to_owned(), held.collect())]));
        let firsts = (0..200).filter(|n| untouched.touch("t", &n.to_string())).count();
        assert_eq!(firsts, 4);
        assert!(untouched.0.is_empty());
        assert!(!untouched.touch("of another service", "1"));
    }
}

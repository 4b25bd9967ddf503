//! Whether the topics still have what was written to them.
//!
//! A relay knows the offset of the last message that each partition has acknowledged. A partition that ends before that
//! has lost messages: the topic was made anew, or the broker's data is gone. Then a new *generation* begins: the relay
//! sends all messages again that its outbox still has, each with the number of the generation, and whoever reads a
//! higher number than it knows begins to read the partition anew.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::error::KafkaError;
use serde::{Deserialize, Serialize};

use crate::{Broker, TopicSpec, broker::Ends};

/// The first generation of a relay.
pub(crate) const FIRST: i64 = 1;

/// The last offset that each partition has acknowledged. Stored as a list of topic (without its prefix), partition and
/// offset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<(String, i32, i64)>", from = "Vec<(String, i32, i64)>")]
pub(crate) struct Acknowledged(BTreeMap<String, BTreeMap<i32, i64>>);

/// A topic has lost what it had acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{topic}/{partition} has lost messages: {offset} was acknowledged, it goes on at {end}")]
pub struct Loss {
    /// The topic, without its prefix.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The last offset that was acknowledged.
    pub offset: i64,
    /// Where the partition ends now; 0 if it is missing.
    pub end: i64,
}

impl Acknowledged {
    /// A message was written at `offset`.
    ///
    /// # Errors
    /// [`Loss`] if one was written there before.
    pub(crate) fn note(&mut self, topic: &str, partition: i32, offset: i64) -> Result<(), Loss> {
        // The broker had it already, from a request whose answer was lost, and does not say where.
        if offset < 0 {
            return Ok(());
        }
        if !self.0.contains_key(topic) {
            self.0.insert(topic.to_owned(), BTreeMap::new());
        }
        let last = self.0.get_mut(topic).and_then(|partitions| partitions.insert(partition, offset));
        match last {
            Some(last) if last >= offset => Err(Loss { topic: topic.into(), partition, offset: last, end: offset }),
            Some(_) | None => Ok(()),
        }
    }

    /// Looks whether all of it is still there.
    pub(crate) async fn loss(&self, broker: &Broker) -> Result<Option<Loss>, KafkaError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        Ok(self.loss_at(&self.ends(broker, &[]).await?))
    }

    /// Where the partitions of `topics` end, and those of all that have acknowledged something. Of a topic that is missing there
    /// is nothing.
    pub(crate) async fn ends(&self, broker: &Broker, topics: &[TopicSpec]) -> Result<Ends, KafkaError> {
        let topics: BTreeSet<_> = topics.iter().map(|topic| &topic.name).chain(self.0.keys()).cloned().collect();
        broker.ends_of(topics).await
    }

    /// What is lost, if the partitions end there.
    pub(crate) fn loss_at(&self, ends: &Ends) -> Option<Loss> {
        let mut known = self.0.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |one| (topic, one)));
        known.find_map(|(topic, (partition, offset))| {
            let end = ends.get(topic).and_then(|partitions| partitions.get(partition)).copied().unwrap_or(0);
            (end <= *offset).then(|| Loss { topic: topic.clone(), partition: *partition, offset: *offset, end })
        })
    }
}

impl From<Acknowledged> for Vec<(String, i32, i64)> {
    fn from(Acknowledged(topics): Acknowledged) -> Self {
        let partitions = |(topic, partitions): (String, BTreeMap<i32, i64>)| {
            partitions.into_iter().map(move |(partition, offset)| (topic.clone(), partition, offset))
        };
        topics.into_iter().flat_map(partitions).collect()
    }
}

impl From<Vec<(String, i32, i64)>> for Acknowledged {
    fn from(list: Vec<(String, i32, i64)>) -> Self {
        let mut topics: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for (topic, partition, offset) in list {
            topics.entry(topic).or_default().insert(partition, offset);
        }
        Self(topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_comes_again_is_a_loss() {
        let mut acknowledged = Acknowledged::default();
        for (partition, offset) in [(0, 5), (1, 2), (0, 6)] {
            acknowledged.note("t", partition, offset).unwrap();
        }
        acknowledged.note("t", 0, -1001).unwrap();
        let loss = acknowledged.clone().note("t", 0, 6).unwrap_err();
        assert_eq!(loss, Loss { topic: "t".into(), partition: 0, offset: 6, end: 6 });
        let stored = serde_json::to_string(&acknowledged).unwrap();
        assert_eq!(stored, r#"[["t",0,6],["t",1,2]]"#);
        assert_eq!(serde_json::from_str::<Acknowledged>(&stored).unwrap(), acknowledged);
    }
}

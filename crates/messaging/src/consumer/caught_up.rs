//! Whether what there was to read has been read.

use std::{collections::BTreeMap, time::Duration};

use super::Offsets;
use crate::{Broker, backoff::Backoff, broker::chain};

/// Between two looks at the stored offsets.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until `offsets` have reached the ends that `topic` (its name without the prefix) has at the time of the call.
///
/// It asks the consumer's database, so it holds whoever reads: this process or others of its group. A place beyond the
/// end is that in another topic, which had this name before: its reader will find out and begin anew, and is waited for.
/// So is a broker or a database that is away.
pub async fn caught_up(broker: &Broker, topic: &str, offsets: &impl Offsets) {
    let ends = ends(broker, topic).await;
    let partitions: Vec<i32> = ends.keys().copied().collect();
    let mut backoff = Backoff::new();
    loop {
        let wait = match offsets.load(topic, &partitions).await {
            Ok(next) => {
                let next = |partition: &i32| next.get(partition).map_or(0, |place| place.offset);
                let are_reached = ends.iter().all(|(partition, end)| next(partition) >= *end);
                if are_reached {
                    let are_passed = ends.iter().any(|(partition, end)| next(partition) > *end);
                    // More may have come since, and been read.
                    let now = if are_passed { self::ends(broker, topic).await } else { ends.clone() };
                    if partitions.iter().all(|partition| now.get(partition).is_some_and(|now| next(partition) <= *now))
                    {
                        return;
                    }
                }
                LOOK_AGAIN
            }
            Err(error) => {
                tracing::warn!(topic, error = %chain(&*error), "how far a topic is read cannot be looked up");
                backoff.next_wait()
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Where the partitions end. One with nothing in it needs no reader and is left out.
async fn ends(broker: &Broker, topic: &str) -> BTreeMap<i32, i64> {
    let mut backoff = Backoff::new();
    loop {
        match broker.ends(topic).await {
            Ok(ends) => {
                let filled = ends.into_iter().filter(|(_, kept)| !kept.is_empty());
                return filled.map(|(partition, kept)| (partition, kept.end)).collect();
            }
            Err(error) => tracing::warn!(topic, error = %chain(&error), "the ends of a topic cannot be looked up"),
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

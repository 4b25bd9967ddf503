//! Whether what there was to read has been read.

use std::time::Duration;

use super::Offsets;
use crate::{Broker, backoff::Backoff, broker::chain};

/// Between two looks at the stored offsets.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits until `offsets` have reached the ends that `topic` (its name without the prefix) has at the time of the call.
///
/// It asks the consumer's database, so it holds whoever reads: this process or others of its group. A broker or a database
/// that is away is waited for.
pub async fn caught_up(broker: &Broker, topic: &str, offsets: &impl Offsets) {
    let mut backoff = Backoff::new();
    let ends = loop {
        match broker.ends(topic).await {
            Ok(ends) => break ends,
            Err(error) => tracing::warn!(topic, error = %chain(&error), "the ends of a topic cannot be looked up"),
        }
        tokio::time::sleep(backoff.next_wait()).await;
    };
    // A partition with nothing in it needs no reader.
    let ends: Vec<(i32, i64)> =
        ends.into_iter().filter(|end| !end.1.is_empty()).map(|(at, kept)| (at, kept.end)).collect();
    let partitions: Vec<i32> = ends.iter().map(|(partition, _)| *partition).collect();
    let mut backoff = Backoff::new();
    loop {
        let wait = match offsets.load(topic, &partitions).await {
            Ok(next)
                if ends.iter().all(|(partition, end)| next.get(partition).is_some_and(|next| next.offset >= *end)) =>
            {
                return;
            }
            Ok(_) => LOOK_AGAIN,
            Err(error) => {
                tracing::warn!(topic, error = %chain(&*error), "how far a topic is read cannot be looked up");
                backoff.next_wait()
            }
        };
        tokio::time::sleep(wait).await;
    }
}

//! Holds a token back until the broker has written to disk what it acknowledged.

use std::{collections::VecDeque, time::Duration};

use bson::Document;
use tokio::time::Instant;

/// The broker flushes every second; until then a loss of power takes what it acknowledged.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Where the stream goes on, and the time of a message before that, if there was one since the last.
pub(super) type Settled = (Document, Option<u32>);

/// Tokens on their way from acknowledged to settled.
#[derive(Debug, Default)]
pub(super) struct Settling {
    latest: Option<Settled>,
    waiting: VecDeque<(Instant, Settled)>,
}

impl Settling {
    /// All messages up to `token` are acknowledged; some without a token, if there is none.
    pub(super) fn acknowledged(&mut self, settled: Option<Settled>) {
        if let Some((token, time)) = settled {
            let earlier = self.latest.take().and_then(|(_, time)| time);
            self.latest = Some((token, time.or(earlier)));
        }
    }

    /// The newest token that is settled, once. Ask every second or so: only what was acknowledged before one question
    /// can be the answer to a later one, so few tokens are kept, however many come.
    pub(super) fn settled(&mut self, now: Instant) -> Option<Settled> {
        if let Some(latest) = self.latest.take() {
            self.waiting.push_back((now, latest));
        }
        let settled = self.waiting.partition_point(|(since, _)| *since + SETTLED_AFTER <= now);
        let settled = self.waiting.drain(..settled).map(|(_, settled)| settled);
        settled.reduce(newest)
    }

    /// The newest token of all, however lately it was acknowledged: there is no time to wait for the broker's disk.
    pub(super) fn settled_at_once(&mut self) -> Option<Settled> {
        let waiting = self.waiting.drain(..).map(|(_, settled)| settled);
        waiting.chain(self.latest.take()).reduce(newest)
    }
}

/// The later of two, with the time of the last message of both.
fn newest(earlier: Settled, (token, time): Settled) -> Settled {
    (token, time.or(earlier.1))
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn a_token_is_stored_only_when_the_broker_has_flushed() {
        let mut settling = Settling::default();
        let begin = Instant::now();
        let token = |n: u32| Some((doc! { "n": n }, (n == 3).then_some(n)));
        let after = |seconds| begin + Duration::from_secs(seconds);
        settling.acknowledged(token(1));
        settling.acknowledged(token(2));
        assert_eq!(settling.settled(after(0)), None);
        settling.acknowledged(token(3));
        assert_eq!(settling.settled(after(1)), None);
        settling.acknowledged(token(4));
        assert_eq!(settling.settled(after(3)), token(2));
        assert_eq!(
            settling.settled(after(6)),
            Some((doc! { "n": 4_u32 }, Some(3))),
            "the newest of those that are settled"
        );
        assert_eq!(settling.settled(after(60)), None, "each once");
        settling.acknowledged(token(5));
        assert_eq!(settling.settled_at_once(), token(5));
        settling.acknowledged(token(6));
        assert_eq!(settling.settled(after(61)), None);
        assert_eq!(settling.settled_at_once(), token(6), "also what waits for the broker's disk");
    }
}

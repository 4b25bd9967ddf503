//! Holds a token back until the broker has written to disk what it acknowledged.

use std::{collections::VecDeque, time::Duration};

use bson::Document;
use tokio::time::Instant;

/// The broker flushes every second; until then a loss of power takes what it acknowledged.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Tokens on their way from acknowledged to settled.
#[derive(Debug, Default)]
pub(super) struct Settling {
    latest: Option<Document>,
    waiting: VecDeque<(Instant, Document)>,
}

impl Settling {
    /// All messages up to `token` are acknowledged; some without a token, if there is none.
    pub(super) fn acknowledged(&mut self, token: Option<Document>) {
        if token.is_some() {
            self.latest = token;
        }
    }

    /// The newest token that is settled, once. Ask every second or so: only what was acknowledged before one question
    /// can be the answer to a later one, so few tokens are kept, however many come.
    pub(super) fn settled(&mut self, now: Instant) -> Option<Document> {
        if let Some(latest) = self.latest.take() {
            self.waiting.push_back((now, latest));
        }
        let settled = self.waiting.partition_point(|(since, _)| *since + SETTLED_AFTER <= now);
        self.waiting.drain(..settled).next_back().map(|(_, token)| token)
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn a_token_is_stored_only_when_the_broker_has_flushed() {
        let mut settling = Settling::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        settling.acknowledged(Some(doc! { "n": 1 }));
        settling.acknowledged(Some(doc! { "n": 2 }));
        assert_eq!(settling.settled(after(0)), None);
        settling.acknowledged(Some(doc! { "n": 3 }));
        assert_eq!(settling.settled(after(1)), None);
        settling.acknowledged(Some(doc! { "n": 4 }));
        assert_eq!(settling.settled(after(3)), Some(doc! { "n": 2 }));
        assert_eq!(settling.settled(after(6)), Some(doc! { "n": 4 }), "the newest of those that are settled");
        assert_eq!(settling.settled(after(60)), None, "each once");
    }
}

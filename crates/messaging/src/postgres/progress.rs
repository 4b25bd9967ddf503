//! How far the log may be confirmed: what is confirmed will never be sent again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use pgwire_replication::Lsn;

/// From the broker's acknowledgement to our confirmation. The broker writes to its disk every second; until it has, an
/// acknowledged message can be lost with the broker's memory, and is sent again from the log.
pub(super) const CONFIRM_AFTER: Duration = Duration::from_secs(3);

/// What was sent and is not confirmed, oldest first.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: VecDeque<Sent>,
    /// Ends of commits, with the time the broker had all of them.
    acknowledged: VecDeque<(Instant, Lsn)>,
    unacknowledged: usize,
}

#[derive(Debug)]
struct Sent {
    messages: usize,
    /// The end of the last commit that these messages complete, if they complete one.
    end: Option<Lsn>,
}

impl Progress {
    /// `messages` were handed to the producer; with them all commits up to `end` are.
    pub(super) fn sent(&mut self, messages: usize, end: Option<Lsn>) {
        self.sent.push_back(Sent { messages, end });
        self.unacknowledged += messages;
    }

    /// The broker has the oldest that was sent.
    pub(super) fn acknowledged(&mut self, now: Instant) {
        if let Some(oldest) = self.sent.pop_front() {
            self.unacknowledged -= oldest.messages;
            self.acknowledged.extend(oldest.end.map(|end| (now, end)));
        }
    }

    /// How many messages the broker does not have yet.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unacknowledged
    }

    /// The end of the last commit that may be confirmed by now.
    pub(super) fn confirm(&mut self, now: Instant) -> Option<Lsn> {
        let ripe = self.acknowledged.partition_point(|(at, _)| *at + CONFIRM_AFTER <= now);
        self.acknowledged.drain(..ripe).next_back().map(|(_, end)| end)
    }

    /// The end of the last commit that is acknowledged, however lately: there is no time to wait for the broker's disk.
    pub(super) fn confirm_at_once(&mut self) -> Option<Lsn> {
        self.acknowledged.drain(..).next_back().map(|(_, end)| end)
    }

    /// Whether everything that was read is confirmed, so that the log up to wherever it was read can be.
    pub(super) fn is_settled(&self) -> bool {
        self.sent.is_empty() && self.acknowledged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn commits_are_confirmed_in_order_and_only_after_the_delay() {
        let start = Instant::now();
        let mut progress = Progress::default();
        progress.sent(2, Some(Lsn(10)));
        progress.sent(1, Some(Lsn(20)));
        progress.sent(1, Some(Lsn(30)));
        assert_eq!(progress.unacknowledged(), 4);
        progress.acknowledged(start);
        progress.acknowledged(start + SECOND);
        assert_eq!(progress.unacknowledged(), 1);
        assert_eq!(progress.confirm(start + CONFIRM_AFTER - Duration::from_millis(1)), None);
        assert_eq!(progress.confirm(start + CONFIRM_AFTER), Some(Lsn(10)));
        assert_eq!(progress.confirm(start + CONFIRM_AFTER), None);
        progress.acknowledged(start + SECOND);
        assert_eq!(progress.confirm(start + CONFIRM_AFTER + SECOND), Some(Lsn(30)));
        assert!(progress.is_settled());
        progress.sent(1, Some(Lsn(40)));
        progress.sent(1, Some(Lsn(50)));
        progress.acknowledged(start);
        assert_eq!(progress.confirm_at_once(), Some(Lsn(40)), "what is acknowledged, and no more");
    }

    #[test]
    fn a_part_of_a_commit_confirms_nothing() {
        let start = Instant::now();
        let mut progress = Progress::default();
        progress.sent(1000, None);
        progress.acknowledged(start);
        assert_eq!(progress.confirm(start + CONFIRM_AFTER), None);
        progress.sent(1, Some(Lsn(10)));
        assert!(!progress.is_settled());
        progress.acknowledged(start);
        assert!(!progress.is_settled());
        assert_eq!(progress.confirm(start + CONFIRM_AFTER), Some(Lsn(10)));
        assert!(progress.is_settled());
    }
}

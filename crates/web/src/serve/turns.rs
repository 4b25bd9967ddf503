//! Whose turn it is on a connection, and since when: what its client is waited for, or that it waits for us.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The first byte of all.
    First,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// Our answer: the only turn that is not the client's.
    Answer,
    /// The next request, or that the answer to the last is read.
    Next,
}

/// The turns of one connection. Clones are the same. Among the extensions of a request, so that whoever waits for its body
/// can say so.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Mutex<(Awaited, Instant)>>);

/// A turn, until it is dropped.
#[must_use]
pub(crate) struct Turn {
    turns: Turns,
    then: Awaited,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((Awaited::First, Instant::now()))))
    }
}

impl Turns {
    /// What is waited for, and since when.
    pub(super) fn now(&self) -> (Awaited, Instant) {
        *self.lock()
    }

    pub(super) fn awaited(&self) -> Awaited {
        self.now().0
    }

    /// For how long the client has kept us waiting for what is now awaited; `None` if it waits for us.
    pub(super) fn kept_waiting_for(&self) -> Option<Duration> {
        let (awaited, since) = self.now();
        (awaited != Awaited::Answer).then(|| since.elapsed())
    }

    /// The client has sent something. Its head has its time from the first byte on, which no further one prolongs.
    pub(super) fn heard(&self, bytes: &[u8]) {
        let mut now = self.lock();
        if !bytes.is_empty() && matches!(now.0, Awaited::First | Awaited::Next) {
            *now = (Awaited::Head, Instant::now());
        }
    }

    /// A request is in work from now on, until its answer is made.
    pub(super) fn begin(&self) -> Turn {
        self.turn(Awaited::Answer, Awaited::Next)
    }

    /// The body of the request in work is waited for.
    pub(crate) fn await_body(&self) -> Turn {
        self.turn(Awaited::Body, Awaited::Answer)
    }

    fn turn(&self, awaited: Awaited, then: Awaited) -> Turn {
        self.pass(awaited);
        Turn { turns: self.clone(), then }
    }

    fn pass(&self, awaited: Awaited) {
        *self.lock() = (awaited, Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, (Awaited, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.pass(self.then);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_time_anew_for_each_thing_that_it_is_waited_for_and_not_for_each_byte() {
        let turns = Turns::default();
        let waited = async |millis| {
            advance(Duration::from_millis(millis)).await;
            turns.kept_waiting_for().map(|waited| waited.as_millis())
        };
        assert_eq!(waited(5_000).await, Some(5_000), "with nothing");
        turns.heard(b"GET /");
        assert_eq!(waited(300).await, Some(300), "with its head, which has just begun");
        turns.heard(b" HTTP/1.1");
        assert_eq!(waited(300).await, Some(600));
        let answer = turns.begin();
        assert_eq!(waited(300).await, None, "the head is whole");
        let body = turns.await_body();
        assert_eq!(waited(200).await, Some(200), "with its body");
        turns.heard(b"{");
        assert_eq!(waited(200).await, Some(400));
        drop(body);
        assert_eq!(waited(300).await, None, "the body is whole");
        drop(answer);
        turns.heard(b"");
        assert_eq!(waited(5_000).await, Some(5_000), "with the next request");
        turns.heard(b"GET /");
        assert_eq!(waited(100).await, Some(100), "which has just begun");
    }
}

//! What becomes of a batch: done, tried again, or done without the messages at fault; and of what is marked to be replayed.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{LOAD_TIMEOUT, Reader};
use crate::{
    Batch,
    backoff::Backoff,
    broker::chain,
    consumer::{BoxError, ConsumerError, HandleError, Handler, Offsets},
    meters::ConsumerMeters,
    parked::ParkedMessage,
};

/// Between two looks for messages that are marked, where any are parked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For so long marked messages are taken in before new ones have their turn.
const REPLAY_TURN: Duration = Duration::from_secs(2);

/// How a batch ended.
pub(super) enum Outcome {
    Done,
    Fenced,
    /// This message is at fault.
    ThisMessage(Uuid, BoxError),
    /// One of its messages is.
    Fault(BoxError),
    /// Some are, and cannot be parked: so many keys are, and no more than so many may be.
    TooManyParked {
        parked: usize,
        max: usize,
    },
    /// Stopped between two attempts.
    Abandoned,
    /// An attempt took too long.
    Stuck,
}

impl<O: Offsets, H: Handler> Reader<O, H> {
    /// Has `batch` done: without the messages at fault, which are parked, and in halves until they are found.
    pub(super) fn settle(&mut self, batch: Batch) -> Result<(), ConsumerError> {
        let mut left = vec![batch];
        while let Some(mut batch) = left.pop() {
            match self.drive(&batch)? {
                Outcome::Done => self.done(&batch),
                Outcome::Fenced => {
                    self.meters.fenced.increment(1);
                    tracing::info!(
                        group = self.settings.group,
                        "another instance has moved the offsets, loading them again"
                    );
                    return if self.unloaded.is_empty() { self.reload() } else { Ok(()) };
                }
                Outcome::ThisMessage(id, error) => {
                    batch.reject(id, &chain(&*error));
                    left.push(batch);
                }
                Outcome::Fault(error) => match batch.records.as_slice() {
                    [only] => {
                        let id = only.id;
                        batch.reject(id, &chain(&*error));
                        left.push(batch);
                    }
                    _ => {
                        let (first, second) = batch.split();
                        left.extend([second, first]);
                    }
                },
                Outcome::TooManyParked { parked, max } => {
                    let message = batch.faulty.first().map(place_and_reason).unwrap_or_default();
                    return Err(ConsumerError::TooManyParked { message, parked, max });
                }
                Outcome::Abandoned => return Ok(()),
                Outcome::Stuck => return Err(self.stuck()),
            }
            if !self.unloaded.is_empty() {
                // The group has decided anew: the rest is read again, by whoever has it now.
                return Ok(());
            }
        }
        Ok(())
    }

    fn done(&mut self, batch: &Batch) {
        for message in &batch.faulty {
            let (group, at, key) = (&self.settings.group, place_and_reason(message), &message.key);
            tracing::error!(group, key, "a message is at fault and parked with its key: {at}");
        }
        self.positions.advance(batch);
        self.meters.batches.increment(1);
        self.meters.records.increment((batch.records.len() + batch.faulty.len()) as u64);
        self.meters.duplicates.increment(batch.dropped.count() as u64);
        self.meters.parked.increment(batch.faulty.len() as u64);
        self.load_backoff = Backoff::new();
        self.store(&batch.positions);
    }

    /// Takes in what is parked in our partitions and marked by an operator, now and then.
    pub(super) fn replay_marked(&mut self) -> Result<(), ConsumerError> {
        if Instant::now() < self.look_at {
            return Ok(());
        }
        let parked = self.positions.parked();
        if parked.is_empty() {
            return Ok(());
        }
        let turn = Instant::now() + REPLAY_TURN;
        let mut replayed = false;
        while Instant::now() < turn && !self.stop.is_cancelled() {
            let marked = match self.runtime.block_on(within(self.settings.offsets.marked(&parked))) {
                Ok(marked) => marked,
                Err(error) => {
                    self.complain(&*error);
                    return Ok(());
                }
            };
            if marked.is_empty() {
                self.look_at = Instant::now() + LOOK_EVERY;
                break;
            }
            for message in marked {
                replayed = true;
                if !self.replay(message)? || !self.unloaded.is_empty() {
                    self.look_at = Instant::now() + LOOK_EVERY;
                    return if self.unloaded.is_empty() { self.reload() } else { Ok(()) };
                }
            }
        }
        // Nothing may be parked there any more.
        if replayed { self.reload() } else { Ok(()) }
    }

    /// Takes in one parked message. False if it is not the first of its key any more, or not yet.
    fn replay(&mut self, message: ParkedMessage) -> Result<bool, ConsumerError> {
        let at = place_and_reason(&message);
        let outcome = match message.clone().record() {
            Some(record) => self.drive(&Batch::replay(record))?,
            None => Outcome::Fault(message.reason.clone().unwrap_or_default().into()),
        };
        match outcome {
            Outcome::Done => {
                let (group, key) = (&self.settings.group, &message.key);
                tracing::info!(group, key, "a parked message is replayed: {at}");
                Ok(true)
            }
            Outcome::ThisMessage(_, error) | Outcome::Fault(error) => {
                let reason = chain(&*error);
                tracing::error!(
                    group = self.settings.group,
                    key = message.key,
                    "a parked message is still at fault: {reason}"
                );
                let unmarked = self.runtime.block_on(within(self.settings.offsets.unmark(&message, &reason)));
                if let Err(error) = &unmarked {
                    self.complain(&**error);
                }
                Ok(unmarked.is_ok())
            }
            Outcome::Fenced | Outcome::TooManyParked { .. } | Outcome::Abandoned => Ok(false),
            Outcome::Stuck => Err(self.stuck()),
        }
    }

    fn stuck(&self) -> ConsumerError {
        ConsumerError::Stuck { limit: self.settings.batch_timeout }
    }

    fn complain(&mut self, error: &(dyn std::error::Error + 'static)) {
        tracing::warn!(group = self.settings.group, error = %chain(error), "parked messages cannot be looked at");
        self.look_at = Instant::now() + LOOK_EVERY;
    }
}

async fn within<T>(question: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    timeout(LOAD_TIMEOUT, question).await?
}

fn place_and_reason(message: &ParkedMessage) -> String {
    let ParkedMessage { topic, partition, offset, reason, .. } = message;
    format!("{topic}/{partition}@{offset}: {}", reason.as_deref().unwrap_or("it waits behind another"))
}

/// Hands over `batch` until it is done, fenced or at fault, or one try takes longer than `limit`.
pub(super) async fn attempts<H: Handler>(
    handler: &H,
    batch: &Batch,
    limit: Duration,
    stop: &CancellationToken,
    group: &str,
    meters: &ConsumerMeters,
) -> Outcome {
    let mut backoff = Backoff::new();
    loop {
        let Ok(handled) = timeout(limit, handler.handle(batch)).await else { return Outcome::Stuck };
        let error = match handled {
            Ok(()) => return Outcome::Done,
            Err(HandleError::Fenced) => return Outcome::Fenced,
            Err(HandleError::TooManyParked { parked, max }) => return Outcome::TooManyParked { parked, max },
            Err(HandleError::ThisMessage { id, source }) if batch.records.iter().any(|record| record.id == id) => {
                return Outcome::ThisMessage(id, source);
            }
            Err(HandleError::Message(error)) if !batch.records.is_empty() => return Outcome::Fault(error),
            // Also a fault of a message that is not there, which is a fault of ours.
            Err(
                HandleError::Ours(error) | HandleError::Message(error) | HandleError::ThisMessage { source: error, .. },
            ) => error,
        };
        meters.retried.increment(1);
        let wait = backoff.next_wait();
        let wait_ms = wait.as_millis();
        tracing::warn!(group, error = %chain(&*error), wait_ms, "a batch could not be done, trying again");
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return Outcome::Abandoned;
        }
    }
}

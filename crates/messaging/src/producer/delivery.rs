//! When the broker has a batch.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::DeliveryError;

/// Done when the broker has all messages of one batch.
#[derive(Debug)]
#[must_use = "a batch is sent when its delivery says so, not before"]
pub struct Delivery(oneshot::Receiver<Result<(), DeliveryError>>);

impl Future for Delivery {
    type Output = Result<(), DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(DeliveryError::Gone)))
    }
}

/// One batch on its way: counted down by the producer's own thread, which wakes the relay once.
#[derive(Debug)]
pub(super) struct Outstanding {
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<Result<(), DeliveryError>>>>,
}

impl Outstanding {
    /// Of so many messages.
    pub(super) fn of(messages: usize) -> (Arc<Self>, Delivery) {
        let (done, delivery) = oneshot::channel();
        let batch = Arc::new(Self { left: AtomicUsize::new(messages), done: Mutex::new(Some(done)) });
        if messages == 0 {
            batch.finish(Ok(()));
        }
        (batch, Delivery(delivery))
    }

    /// So many of its messages are.
    pub(super) fn written(&self, messages: usize) {
        if self.left.fetch_sub(messages, Ordering::AcqRel) == messages {
            self.finish(Ok(()));
        }
    }

    pub(super) fn finish(&self, result: Result<(), DeliveryError>) {
        if let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody waits any more when the relay has given up.
            done.send(result).ok();
        }
    }
}

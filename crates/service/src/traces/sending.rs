//! Spans on their way to the collector. What makes them never waits: beyond so many they are dropped, and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::counter;
use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

/// So many spans may wait; one more is dropped.
const WAITING_MAX: usize = 2_048;
/// The most spans of one request to the collector.
const BATCH: usize = 512;
/// How long the first span of a request waits for others.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one request may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same with its repetitions. Longer, so that the exporter's own reason is told.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(12);
/// How long the end of a process waits for the last spans.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where spans wait.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: mpsc::Sender<SpanData>,
    dropped: Arc<AtomicU64>,
}

/// The task that sends them.
#[derive(Debug)]
pub(crate) struct Sending {
    end: CancellationToken,
    task: JoinHandle<()>,
}

/// Sends by `exporter` what comes into the queue, in a task of its own.
pub(crate) fn start(exporter: impl SpanExporter + 'static) -> (Queue, Sending) {
    let (waiting, queue) = mpsc::channel(WAITING_MAX);
    let (dropped, end) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let task = TaskTracker::new().spawn(send_all(queue, exporter, Arc::clone(&dropped), end.clone()));
    (Queue { waiting, dropped }, Sending { end, task })
}

impl Sending {
    /// Sends what is left, if that does not take long.
    pub(crate) async fn end(self) {
        self.end.cancel();
        if timeout(LAST_WORDS, self.task).await.is_err() {
            info!("The last spans could not be sent in time.");
        }
    }
}

async fn send_all(
    mut queue: mpsc::Receiver<SpanData>,
    exporter: impl SpanExporter,
    dropped: Arc<AtomicU64>,
    end: CancellationToken,
) {
    let lost_total = counter!("spans_lost_total");
    // So that it is shown before any is lost.
    lost_total.increment(0);
    let mut losing = false;
    loop {
        let batch = next_batch(&mut queue, &end).await;
        if batch.is_empty() {
            return;
        }
        let sent = batch.len() as u64;
        let refused = timeout(REQUEST_TIMEOUT, exporter.export(batch)).await;
        let reason = match refused {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(late) => Some(late.to_string()),
        };
        let lost = dropped.swap(0, Ordering::Relaxed) + reason.as_ref().map_or(0, |_| sent);
        lost_total.increment(lost);
        if lost > 0 && !losing {
            let reason = reason.as_deref().unwrap_or("more come than can be sent");
            warn!(spans = lost, reason, "Spans are lost; said once, until none is.");
        }
        losing = lost > 0;
    }
}

/// The spans of the next request; none once all are sent after `end`.
async fn next_batch(queue: &mut mpsc::Receiver<SpanData>, end: &CancellationToken) -> Vec<SpanData> {
    let mut batch = Vec::with_capacity(BATCH);
    let gathered = async {
        queue.recv_many(&mut batch, BATCH).await;
        let until = Instant::now() + PAUSE;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            if timeout_at(until, queue.recv_many(&mut batch, room)).await.is_err() {
                break;
            }
        }
    };
    if end.run_until_cancelled(gathered).await.is_none() {
        queue.close();
        while batch.len() < BATCH
            && let Ok(span) = queue.try_recv()
        {
            batch.push(span);
        }
    }
    batch
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.waiting.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, future::pending, time::SystemTime};

    use opentelemetry::{
        InstrumentationScope,
        trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
    };
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    /// Never answers.
    #[derive(Debug)]
    struct Mute;

    impl SpanExporter for Mute {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            pending().await
        }
    }

    fn span() -> SpanData {
        let ids = (TraceId::from(1_u128), SpanId::from(1_u64));
        SpanData {
            span_context: SpanContext::new(ids.0, ids.1, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: Cow::Borrowed("tried"),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_collector_does_not_take_waits_up_to_a_limit_and_the_rest_is_dropped() {
        let (queue, sending) = start(Mute);
        queue.on_end(span());
        // The first request is under way, and will not end.
        tokio::time::sleep(PAUSE * 2).await;
        for _ in 0..WAITING_MAX + 7 {
            queue.on_end(span());
        }
        assert_eq!((queue.waiting.capacity(), queue.dropped.load(Ordering::Relaxed)), (0, 7));
        tokio::time::sleep(REQUEST_TIMEOUT).await;
        assert_eq!(queue.waiting.capacity(), BATCH, "the next request has begun");
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 0, "what was dropped is told");
        let begun = Instant::now();
        sending.end().await;
        assert_eq!(begun.elapsed(), LAST_WORDS, "and at the end nobody waits for long");
    }
}

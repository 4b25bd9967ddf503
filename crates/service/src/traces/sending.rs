//! Spans on their way to the collector. What makes them never waits: beyond so many they are dropped, and counted.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::counter;
use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

/// So many spans may wait; one more is dropped.
const WAITING_MAX: usize = 2_048;
/// The most spans of one request to the collector.
const BATCH: usize = 512;
/// After a request, as long as not a whole batch is waiting.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one request may take, its repetitions included. Longer than the exporter gives itself, so that its reason is told.
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
pub(crate) fn start(exporter: SpanExporter) -> (Queue, Sending) {
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
    exporter: SpanExporter,
    dropped: Arc<AtomicU64>,
    end: CancellationToken,
) {
    let lost_total = counter!("spans_lost_total");
    // So that it is shown before any is lost.
    lost_total.increment(0);
    let (mut batch, mut losing) = (Vec::with_capacity(BATCH), false);
    loop {
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = end.cancelled(), if !queue.is_closed() => { queue.close(); continue }
        }
        let sent = batch.len() as u64;
        let refused = timeout(REQUEST_TIMEOUT, exporter.export(mem::take(&mut batch))).await;
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
        if queue.len() < BATCH {
            end.run_until_cancelled(sleep(PAUSE)).await;
        }
    }
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

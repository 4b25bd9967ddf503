//! What operators see: counters and gauges of crate `metrics`, for whichever recorder the process has installed.
//!
//! All have handles that are made once, and are moved once per batch at most. Their names and meanings are in the README.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, counter, gauge};

/// Between two looks at what has to be asked for: how much of the log is kept, how old the outbox is.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Those of one member of a consumer group.
pub(crate) struct ConsumerMeters {
    group: String,
    pub(crate) batches: Counter,
    pub(crate) records: Counter,
    pub(crate) retried: Counter,
    pub(crate) fenced: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) parked: Counter,
    lags: RefCell<BTreeMap<(String, i32), Gauge>>,
}

impl ConsumerMeters {
    pub(crate) fn of(group: &str) -> Self {
        let of_group = |name: &'static str| counter!(name, "group" => group.to_owned());
        Self {
            group: group.to_owned(),
            batches: of_group("messaging_batches_total"),
            records: of_group("messaging_records_total"),
            retried: of_group("messaging_retried_batches_total"),
            fenced: of_group("messaging_fenced_total"),
            duplicates: of_group("messaging_duplicates_dropped_total"),
            parked: of_group("messaging_parked_total"),
            lags: RefCell::default(),
        }
    }

    /// So many offsets of the partition, which is ours, are still to be done.
    pub(crate) fn lag(&self, topic: &str, partition: i32, offsets: i64) {
        let group = &self.group;
        let new = || {
            let (group, topic) = (group.clone(), topic.to_owned());
            gauge!("messaging_lag", "group" => group, "topic" => topic, "partition" => partition.to_string())
        };
        let mut lags = self.lags.borrow_mut();
        lags.entry((topic.to_owned(), partition)).or_insert_with(new).set(offsets.max(0) as f64);
    }

    /// No partition is ours any more: whoever has them tells their lag.
    pub(crate) fn forget_lags(&self) {
        self.lags.take().values().for_each(|lag| lag.set(0.0));
    }
}

/// Those of one relay. Clones are the same.
#[derive(Clone)]
pub(crate) struct RelayMeters {
    pub(crate) published: Counter,
    pub(crate) delivery_errors: Counter,
    pub(crate) rescans: Counter,
    pub(crate) unpruned: Counter,
    generation: Gauge,
    streaming: Gauge,
    outbox_age: Gauge,
    pub(crate) parked_keys: Gauge,
    /// When the oldest message was committed that was read and is not confirmed, in microseconds since 1970 by the clock
    /// of the database; 0 if there is none.
    oldest: Arc<AtomicI64>,
}

impl RelayMeters {
    pub(crate) fn of(source: &str) -> Self {
        let counted = |name: &'static str| counter!(name, "source" => source.to_owned());
        let gauged = |name: &'static str| gauge!(name, "source" => source.to_owned());
        Self {
            published: counted("messaging_published_total"),
            delivery_errors: counted("messaging_delivery_errors_total"),
            rescans: counted("messaging_rescans_total"),
            unpruned: counted("messaging_failed_prunings_total"),
            generation: gauged("messaging_generation"),
            streaming: gauged("messaging_relay_streaming"),
            outbox_age: gauged("messaging_outbox_age_seconds"),
            parked_keys: gauged("messaging_parked_keys"),
            oldest: Arc::default(),
        }
    }

    /// The relay streams, until what is returned is dropped.
    pub(crate) fn streams(&self, generation: i64) -> Streaming {
        self.generation.set(generation as f64);
        self.streaming.set(1.0);
        Streaming(self.clone())
    }

    /// When the oldest message was committed that is not confirmed, in microseconds since 1970.
    pub(crate) fn oldest(&self, micros: Option<i64>) {
        self.oldest.store(micros.unwrap_or(0), Ordering::Relaxed);
    }

    /// It is `now`, in microseconds since 1970 by the clock of the database.
    pub(crate) fn tell_age(&self, now: i64) {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let age = if oldest == 0 { 0 } else { u64::try_from(now - oldest).unwrap_or(0) };
        self.outbox_age.set(Duration::from_micros(age));
    }
}

/// Dropped, it says that the relay streams no more.
pub(crate) struct Streaming(RelayMeters);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streaming.set(0.0);
        self.0.oldest(None);
        self.0.outbox_age.set(0.0);
    }
}

//! Counters, gauges and histograms of the process, as the text that Prometheus reads.

use std::{sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often histograms are brought in order, whether somebody reads them or not.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The limits of the buckets of durations. Unit: seconds. A request that waits for its order takes up to 30.
const DURATIONS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// From now on metrics are kept. Call it before anything counts: what has a handle from before counts for nobody. A second
/// call changes nothing.
pub fn init() {
    HANDLE.get_or_init(|| {
        let durations = Matcher::Suffix("_seconds".to_owned());
        let recorder = PrometheusBuilder::new().set_buckets_for_metric(durations, &DURATIONS);
        let recorder = recorder.expect("there are buckets").build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("Metrics are kept by somebody else; ours stay empty.");
        }
        handle
    });
}

/// All metrics of the process, in Prometheus' text format.
pub fn render() -> String {
    HANDLE.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Keeps the memory of histograms bounded, until `stop`.
pub async fn upkeep(stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(sleep(UPKEEP_EVERY)).await.is_some() {
        if let Some(handle) = HANDLE.get() {
            handle.run_upkeep();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        init();
        init();
        metrics::counter!("tried_total", "by" => "us").increment(2);
        metrics::histogram!("took_seconds").record(Duration::from_millis(3));
        let text = render();
        assert!(text.contains("\ntried_total{by=\"us\"} 2\n"), "{text}");
        assert!(text.contains("\ntook_seconds_bucket{le=\"0.005\"} 1\n"), "{text}");
    }
}

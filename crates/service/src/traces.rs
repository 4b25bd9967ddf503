//! Where spans go: by OTLP to a collector, if one is named; else there are none.
//!
//! Two things are spans: a request, and the taking in of a batch of messages ([`Traced`]). Between them the trace travels
//! as `traceparent`, also where no span is made. They are begun by hand and are no spans of `tracing`: what a collector wants
//! to know of them, such as their kind, has no place in each line of the log, and `RUST_LOG` decides of the log alone.

mod sending;
mod traced;

use std::str::FromStr;

use clap::Args;
use opentelemetry::{
    Context, KeyValue,
    global::BoxedTracer,
    trace::{Link, SpanKind, TraceId, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SamplingResult, SdkTracerProvider, ShouldSample, SpanExporter as _},
};
use reqwest::Url;
use tracing::warn;
use web::trace::span;

use sending::Sending;
pub use traced::Traced;

/// Where spans go, and of how many traces. Flattened into the settings of each service, whose `--help` shows them.
#[derive(Debug, Clone, Default, Args)]
#[command(about = None, long_about = None, next_help_heading = "Traces")]
pub struct Traces {
    /// The collector that spans are sent to by OTLP (HTTP, protobuf), such as http://127.0.0.1:4318; empty: there are none.
    #[arg(long, env, default_value = "")]
    pub otel_exporter_otlp_endpoint: Endpoint,

    /// Of the traces that begin here, the ratio that is sent, from 0 to 1. Of those that a client began, those that its
    /// `traceparent` says are.
    #[arg(long, env, default_value = "1")]
    pub otel_traces_sampler_arg: Ratio,
}

/// Where a collector is; or nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint(Option<Url>);

/// From 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Traces {
    /// Sends what `service` does from now on, if that is wanted. Call it in a runtime, and once.
    pub(crate) fn export(&self, service: &'static str) -> Option<Sending> {
        let url = self.otel_exporter_otlp_endpoint.traces()?;
        let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(url);
        // The exporter reads settings of its own, such as for compression. One that does not suit it is not worth a service.
        let mut exporter = match exporter.with_timeout(sending::PATIENCE).build() {
            Ok(exporter) => exporter,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "Spans cannot be sent, so there are none.");
                return None;
            }
        };
        exporter.set_resource(&Resource::builder().with_service_name(service).build());
        let (queue, sending) = sending::start(exporter);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(AsAsked(Sampler::ParentBased(Box::new(self.otel_traces_sampler_arg.sampler()))))
            .build();
        span::export(BoxedTracer::new(Box::new(provider.tracer(env!("CARGO_PKG_NAME")))));
        Some(sending)
    }
}

impl Endpoint {
    /// Where spans go.
    fn traces(&self) -> Option<String> {
        let url = self.0.as_ref()?.as_str();
        Some(format!("{}/v1/traces", url.trim_end_matches('/')))
    }
}

/// No collector can be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a collector is named as http://host:port, and a path if it is below one; TLS is for one that runs beside us")]
pub struct NoEndpoint;

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let url = Url::parse(text).map_err(|_| NoEndpoint)?;
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.password().is_none();
        let fits = url.scheme() == "http" && url.has_host() && url.username().is_empty() && is_plain;
        if fits { Ok(Self(Some(url))) } else { Err(NoEndpoint) }
    }
}

impl Ratio {
    fn sampler(self) -> Sampler {
        Sampler::TraceIdRatioBased(self.0)
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self(1.0)
    }
}

/// It is no ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a ratio is a number from 0 to 1")]
pub struct NotARatio;

impl FromStr for Ratio {
    type Err = NotARatio;

    fn from_str(text: &str) -> Result<Self, NotARatio> {
        // As in all of OpenTelemetry, empty is not set.
        if text.is_empty() {
            return Ok(Self::default());
        }
        let ratio = text.parse().map_err(|_| NotARatio)?;
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err(NotARatio) }
    }
}

/// Samples as it is set up to, but for a span that is linked to others: those are sampled, and so is it.
#[derive(Debug, Clone)]
struct AsAsked(Sampler);

impl ShouldSample for AsAsked {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let sampler = if links.is_empty() { &self.0 } else { &Sampler::AlwaysOn };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanContext;
    use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SamplingDecision};

    use super::*;

    #[test]
    fn a_collector_is_where_an_address_says_and_nothing_is_nowhere() {
        let traces = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.traces());
        assert_eq!(traces(""), Ok(None));
        assert_eq!(traces("http://127.0.0.1:4318"), Ok(Some("http://127.0.0.1:4318/v1/traces".to_owned())));
        assert_eq!(traces("http://otel/below/"), Ok(Some("http://otel/below/v1/traces".to_owned())));
        for bad in
            ["collector:4318", "127.0.0.1:4318", " ", "https://otel", "http://", "http://a:b@otel", "http://o/?a"]
        {
            assert_eq!(traces(bad), Err(NoEndpoint), "{bad}");
        }
    }

    #[test]
    fn a_ratio_is_between_nothing_and_all() {
        for good in ["0", "1", "0.25", "1.0", ""] {
            assert!(good.parse::<Ratio>().is_ok(), "{good}");
        }
        for bad in [" ", "-0.1", "1.1", "half", "NaN", "inf"] {
            assert_eq!(bad.parse::<Ratio>(), Err(NotARatio), "{bad}");
        }
    }

    #[test]
    fn of_traces_that_begin_here_the_ratio_is_sampled_that_is_asked_for() {
        for (ratio, expected) in [("0", 0..=0), ("0.25", 350..=650), ("0.75", 1_350..=1_650), ("1", 2_000..=2_000)] {
            let sampler = AsAsked(Sampler::ParentBased(Box::new(ratio.parse::<Ratio>().unwrap().sampler())));
            let is_sampled = |links: &[Link]| {
                let trace = RandomIdGenerator::default().new_trace_id();
                let decided = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], links);
                decided.decision == SamplingDecision::RecordAndSample
            };
            let sampled = (0..2_000).filter(|_| is_sampled(&[])).count();
            assert!(expected.contains(&sampled), "{ratio}: {sampled}");
            assert!(is_sampled(&[Link::with_context(SpanContext::empty_context())]));
        }
    }
}

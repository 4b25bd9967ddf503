//! A span for each batch of messages that is taken in.
//!
//! One per batch, not one per message: a span per message would cost more than the message. If all messages that somebody
//! wants recorded are of one trace, the batch belongs to that trace, and so does what it causes. That is so for whoever
//! tries out one order. Under load messages of many traces come together; then the batch begins a trace of its own, which
//! names some of the others as links, and each message that it causes stays in the trace of the one it answers.

use messaging::{Batch, HandleError, Handler};
use opentelemetry::{
    KeyValue,
    trace::{Link, SpanBuilder, SpanKind},
};
use web::trace::{
    Traceparent,
    span::{self, Span},
};

/// The most links of one span. Spans wait in memory, and a batch may have thousands of causes.
const LINKS_MAX: usize = 32;

/// A handler, and the group that it works for. Each of its batches is a span, if anybody wants to see it.
#[derive(Debug)]
pub struct Traced<H> {
    handler: H,
    group: String,
}

impl<H> Traced<H> {
    /// `handler`, which takes in batches for the consumer group `group`.
    pub fn new(group: &str, handler: H) -> Self {
        Self { handler, group: group.to_owned() }
    }
}

impl<H: Handler> Handler for Traced<H> {
    async fn handle(&self, batch: &Batch) -> Result<(), HandleError> {
        let Some(mut span) = begun(&self.group, batch) else { return self.handler.handle(batch).await };
        let work = self.handler.handle(batch);
        let done = match span.here() {
            Some(here) => here.scope(work).await,
            None => work.await,
        };
        // A batch that was fenced is done by somebody else, which is no fault.
        if let Err(error) = &done
            && !matches!(error, HandleError::Fenced)
        {
            span.failed(error.to_string());
        }
        done
    }
}

/// The span of `batch`; none if nobody wants any of its messages recorded.
fn begun(group: &str, batch: &Batch) -> Option<Span> {
    if !span::is_exported() {
        return None;
    }
    let (parent, links) = causes(batch)?;
    Span::begin(parent, || described(group, batch, links))
}

/// What a batch belongs to, and what it is linked to beyond that.
fn causes(batch: &Batch) -> Option<(Option<Traceparent>, Vec<Traceparent>)> {
    let came = batch.records.iter().filter_map(|record| Traceparent::parse(record.traceparent.as_deref()?));
    let mut causes: Vec<_> = came.filter(|cause| cause.is_sampled()).collect();
    causes.sort_unstable();
    causes.dedup();
    let first = *causes.first()?;
    let of_one_trace = causes.iter().all(|cause| cause.trace() == first.trace());
    Some(if of_one_trace { (Some(first), causes.split_off(1)) } else { (None, causes) })
}

fn described(group: &str, batch: &Batch, links: Vec<Traceparent>) -> SpanBuilder {
    let mut topics: Vec<&str> = batch.records.iter().map(|record| record.topic.as_str()).collect();
    topics.dedup();
    let mut attributes = vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.operation.name", "process"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.consumer.group.name", group.to_owned()),
        KeyValue::new("messaging.batch.message_count", i64::try_from(batch.records.len()).unwrap_or(i64::MAX)),
    ];
    let mut name = format!("process {group}");
    if let [topic] = topics.as_slice() {
        attributes.push(KeyValue::new("messaging.destination.name", (*topic).to_owned()));
        name = format!("process {topic}");
    }
    let links = links.into_iter().take(LINKS_MAX).map(|cause| Link::with_context(cause.into())).collect();
    SpanBuilder::from_name(name).with_kind(SpanKind::Consumer).with_attributes(attributes).with_links(links)
}

#[cfg(test)]
mod tests {
    use messaging::Record;

    use super::*;

    fn came(traceparent: Option<&str>) -> Record {
        Record { traceparent: traceparent.map(str::to_owned), ..Record::default() }
    }

    fn causes_of(traceparents: &[Option<&str>]) -> Option<(Option<String>, Vec<String>)> {
        let records = traceparents.iter().map(|traceparent| came(*traceparent)).collect();
        let (parent, links) = causes(&Batch { records, ..Batch::default() })?;
        Some((parent.map(|parent| parent.to_string()), links.iter().map(Traceparent::to_string).collect()))
    }

    #[test]
    fn a_batch_belongs_to_the_one_trace_of_its_messages_and_is_else_linked_to_each() {
        let at = |trace: &str, span: &str, flags: &str| format!("00-{trace}{trace}-{span}-{flags}");
        let (one, other) = ("0af7651916cd43dd", "b7ad6b7169203331");
        let (first, second) = (at(one, "0000000000000001", "01"), at(one, "0000000000000002", "01"));
        let (elsewhere, unsampled) = (at(other, "0000000000000003", "01"), at(other, "0000000000000004", "00"));
        let all = |texts: &[&String]| texts.iter().map(|text| (*text).clone()).collect::<Vec<_>>();
        assert_eq!(causes_of(&[None, Some("garbage"), Some(&unsampled)]), None, "nobody wants to see it");
        assert_eq!(causes_of(&[Some(&first), None, Some(&unsampled)]), Some((Some(first.clone()), vec![])));
        assert_eq!(causes_of(&[Some(&second), Some(&first)]), Some((Some(first.clone()), all(&[&second]))));
        assert_eq!(causes_of(&[Some(&elsewhere), Some(&first)]), Some((None, all(&[&first, &elsewhere]))));
    }
}

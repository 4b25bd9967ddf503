//! The trace that a request belongs to (W3C Trace Context): accepted from whoever has one, else begun here. It stands in
//! every line that is logged about the request, in the problem that it is answered with, and in every message that it
//! causes.

pub mod span;

use std::{fmt, num::NonZeroU64};

use axum::http::HeaderMap;
use tracing::Instrument;
use uuid::Uuid;

/// The header that a trace comes in.
const HEADER: &str = "traceparent";

/// Of the flags, the one that says that the trace is recorded.
const SAMPLED: u8 = 1;

tokio::task_local! {
    static CURRENT: Traceparent;
}

/// Names a trace: 32 digits, `0-9` and `a-f`, not all of them zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(Uuid);

/// A trace, and what in it caused whatever follows: the value of `traceparent`. As it is written, it is always a valid one,
/// of 55 characters, whatever was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Traceparent {
    trace: TraceId,
    span: NonZeroU64,
    sampled: bool,
}

impl TraceId {
    /// A new trace. Ids sort by the millisecond they were made in.
    fn mint() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Traceparent {
    /// A new trace, which nobody has decided to record.
    pub fn mint() -> Self {
        Self { trace: TraceId::mint(), span: rand::random(), sampled: false }
    }

    /// Where the request with these headers comes from; none if they do not say, or say what cannot be.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HEADER).iter();
        let one = values.next().filter(|_| values.next().is_none());
        one.and_then(|value| value.to_str().ok()).and_then(Self::parse)
    }

    /// `version-trace-parent-flags`. A version to come may have more behind them.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let fits = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
        let is_known = version != "ff" && (version != "00" || parts.next().is_none());
        if !fits || !is_known {
            return None;
        }
        let trace = Uuid::try_parse(trace).ok().filter(|id| !id.is_nil())?;
        let span = NonZeroU64::new(u64::from_str_radix(parent, 16).ok()?)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self { trace: TraceId(trace), span, sampled: flags & SAMPLED == SAMPLED })
    }

    /// That of whatever is being done within [`scope`](Self::scope).
    pub fn current() -> Option<Self> {
        CURRENT.try_get().ok()
    }

    /// The same, or else a new trace.
    pub fn here() -> Self {
        Self::current().unwrap_or_else(Self::mint)
    }

    /// Where what this has caused is done: within the work at hand, if that is a part of the same trace.
    #[must_use]
    pub fn within(self, work: Option<Self>) -> Self {
        work.filter(|work| work.trace == self.trace).unwrap_or(self)
    }

    /// Does `work` as caused by this.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// Does `work` as caused by this.
    pub fn sync_scope<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    /// The trace.
    pub fn trace(self) -> TraceId {
        self.trace
    }

    /// Whether whoever began the trace has it recorded.
    pub fn is_sampled(self) -> bool {
        self.sampled
    }
}

/// `work` as a part of the trace and the span that this is called in, for a task of its own.
pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    Traceparent::here().scope(work.in_current_span())
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, sampled } = self;
        write!(f, "00-{trace}-{span:016x}-0{}", u8::from(*sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<String> {
        let headers = values.iter().map(|value| (HEADER.parse().unwrap(), value.parse().unwrap())).collect();
        Traceparent::of(&headers).map(|found| found.to_string())
    }

    #[test]
    fn a_trace_is_accepted_and_what_is_none_begins_a_new_one() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(of(&[&good]).as_deref(), Some(good.as_str()));
        let flags = |flags: &str| of(&[&format!("00-{id}-00f067aa0ba902b7-{flags}")]);
        assert_eq!(flags("00"), flags("fe"), "flags that we do not know are not handed on");
        assert_eq!(flags("ff"), Some(good.clone()));
        assert_eq!(of(&[&format!("cc-{id}-00f067aa0ba902b7-01-what-will-be")]), Some(good.clone()), "in our version");
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[&good, &good]), None, "two are none");
        let endless = format!("{good}{}", "0".repeat(10_000));
        for bad in [
            "",
            "00",
            id,
            &endless,
            &format!("ff-{id}-00f067aa0ba902b7-01"),
            &format!("00-{id}-00f067aa0ba902b7-01-more"),
            &format!("00-{id}-00f067aa0ba902b7"),
            &format!("00-{id}-0000000000000000-01"),
            &format!("00-{id}-+0f067aa0ba902b7-01"),
            &format!("00-{id}-f067aa0ba902b7-01"),
            &format!("00-{id}-00f067aa0ba902b7-1"),
            &format!("0-{id}-00f067aa0ba902b7-01"),
            &format!("00-{id}-00f067aa0ba902b7-0\u{7f}"),
            &format!("00-{id}-00f067aa0ba902b7-01\r\nx: y").replace("\r\n", " "),
            &format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
            &format!("00-{}-00f067aa0ba902b7-01", &id[1..]),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            &format!("00-{}-00f067aa0ba902b7-01", Uuid::now_v7()),
        ] {
            assert_eq!(Traceparent::parse(bad), None, "{bad}");
        }
        let (one, other) = (Traceparent::mint(), Traceparent::mint());
        assert_ne!(one.trace, other.trace);
        assert_eq!(Traceparent::parse(&one.to_string()), Some(one));
        assert_eq!(one.to_string().len(), 55);
    }

    #[tokio::test]
    async fn a_task_of_its_own_belongs_to_the_trace_it_was_begun_in() {
        let trace = Traceparent::mint();
        let work = trace.sync_scope(|| carried(async { Traceparent::current() }));
        assert_eq!((work.await, Traceparent::current()), (Some(trace), None));
    }

    #[test]
    fn what_was_caused_elsewhere_belongs_there_also_in_the_midst_of_other_work() {
        let (came, other) = (Traceparent::mint(), Traceparent::mint());
        let work = Traceparent { span: rand::random(), ..came };
        assert_eq!(came.within(Some(work)), work);
        assert_eq!((came.within(Some(other)), came.within(None)), (came, came));
    }
}

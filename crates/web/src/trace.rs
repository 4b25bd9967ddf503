//! The trace that a request belongs to (W3C Trace Context): accepted from whoever has one, else begun here. It stands in
//! every line that is logged about the request, and in the problem that it is answered with.

use std::fmt;

use axum::http::HeaderMap;
use tracing::Instrument;
use uuid::Uuid;

/// The header that a trace comes in.
const HEADER: &str = "traceparent";

tokio::task_local! {
    static CURRENT: TraceId;
}

/// Names a trace: 32 digits, `0-9` and `a-f`, not all of them zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(Uuid);

impl TraceId {
    /// A new trace. Ids sort by the millisecond they were made in.
    pub fn mint() -> Self {
        Self(Uuid::now_v7())
    }

    /// The trace of the request with these headers; a new one if they name none, or none that can be one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(HEADER).iter();
        let one = values.next().filter(|_| values.next().is_none());
        one.and_then(|value| value.to_str().ok()).and_then(Self::parse).unwrap_or_else(Self::mint)
    }

    /// That of whatever is being done within [`scope`](Self::scope).
    pub fn current() -> Option<Self> {
        CURRENT.try_get().ok()
    }

    /// Does `work` as a part of this trace.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// `version-trace-parent-flags`. A version to come may have more behind them.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let fits = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
        let is_known = version != "ff" && (version != "00" || parts.next().is_none());
        let names_something = parent.bytes().any(|digit| digit != b'0');
        let id = Uuid::try_parse(trace).ok().filter(|id| !id.is_nil());
        id.filter(|_| fits && is_known && names_something).map(Self)
    }
}

/// `work` as a part of the trace and the span that this is called in, for a task of its own.
pub fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let trace = TraceId::current().unwrap_or_else(TraceId::mint);
    trace.scope(work.in_current_span())
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<String> {
        let headers = values.iter().map(|value| (HEADER.parse().unwrap(), value.parse().unwrap())).collect();
        let found = TraceId::of(&headers).to_string();
        assert!(found.len() == 32 && found != "0".repeat(32), "{found}");
        values.iter().any(|value| value.contains(&found)).then_some(found)
    }

    #[test]
    fn a_trace_is_accepted_and_what_is_none_begins_a_new_one() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(of(&[&good]).as_deref(), Some(id));
        assert_eq!(of(&[&format!("cc-{id}-00f067aa0ba902b7-01-what-will-be")]).as_deref(), Some(id));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[&good, &good]), None, "two are none");
        for bad in [
            "",
            "00",
            id,
            &format!("ff-{id}-00f067aa0ba902b7-01"),
            &format!("00-{id}-00f067aa0ba902b7-01-more"),
            &format!("00-{id}-00f067aa0ba902b7"),
            &format!("00-{id}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
            &format!("00-{}-00f067aa0ba902b7-01", &id[1..]),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            &format!("00-{}-00f067aa0ba902b7-01", Uuid::now_v7()),
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
        assert_ne!(TraceId::mint(), TraceId::mint());
    }

    #[tokio::test]
    async fn a_task_of_its_own_belongs_to_the_trace_it_was_begun_in() {
        let trace = TraceId::mint();
        let work = CURRENT.sync_scope(trace, || carried(async { TraceId::current() }));
        assert_eq!((work.await, TraceId::current()), (Some(trace), None));
    }
}

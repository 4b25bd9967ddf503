//! The history of an order as one list: its events, and between them the steps of its sagas that led to them. Pure.

use std::{fmt, str::FromStr};

use contracts::order::OrderEvent;
use jiff::Timestamp;
use saga::{LogEntry, Word};
use serde::{Deserialize, Serialize};

use crate::sagas::Refusal;

/// Who wrote something down. Each numbers what it writes 1..n without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Order,
    Checkout,
    Cancellation,
}

/// What was written down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// An event of the order.
    Event(OrderEvent),
    /// A step of a saga.
    Step(Word<Refusal>),
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) source: Source,
    /// Its number among those of its source.
    pub(crate) number: u32,
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

/// How far a list was read, for each source. What is written later is found whatever time it bears.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Cursor {
    order: u32,
    checkout: u32,
    cancellation: u32,
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of this list")]
pub(crate) struct NotACursor;

/// All entries, a cause before its effects. Of two that have nothing to do with each other, the one whose transaction began
/// first: a cancel that had to wait for the confirmation stands before it.
pub(crate) fn timeline(
    events: Vec<OrderEvent>,
    checkout: Vec<LogEntry<Refusal>>,
    cancellation: Vec<LogEntry<Refusal>>,
) -> Vec<Entry> {
    let events = events.into_iter().map(|event| Entry {
        source: Source::Order,
        number: event.version(),
        at: event.at(),
        what: What::Event(event),
    });
    let step = |source| {
        move |entry: LogEntry<Refusal>| Entry { source, number: entry.seq, at: entry.at, what: What::Step(entry.word) }
    };
    let checkout = checkout.into_iter().map(step(Source::Checkout));
    let cancellation = cancellation.into_iter().map(step(Source::Cancellation));
    let mut entries: Vec<(Timestamp, Entry)> =
        in_time(events).chain(in_time(checkout)).chain(in_time(cancellation)).collect();
    entries.sort_by_key(|(time, entry)| (*time, entry.rank(), entry.number));
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// One source's entries, each with a time that is not before that of the one before it. A transaction's time is when it
/// began; one that had to wait for another writes behind it, and bears the earlier time.
fn in_time(entries: impl Iterator<Item = Entry>) -> impl Iterator<Item = (Timestamp, Entry)> {
    entries.scan(Timestamp::MIN, |latest, entry| {
        *latest = entry.at.max(*latest);
        Some((*latest, entry))
    })
}

impl Entry {
    /// Names the entry among all of its order.
    pub(crate) fn key(&self) -> String {
        let source = match self.source {
            Source::Order => "order",
            Source::Checkout => "checkout",
            Source::Cancellation => "cancellation",
        };
        format!("{source}:{}", self.number)
    }

    /// Its place among those of one transaction: the placing begins the sagas, and they lead to the other events.
    fn rank(&self) -> u8 {
        match self.source {
            Source::Order if self.number == 1 => 0,
            Source::Checkout => 1,
            Source::Cancellation => 2,
            Source::Order => 3,
        }
    }
}

impl Cursor {
    /// Of `entries` the next, `at_most` so many, and where the list goes on after them if it does.
    pub(crate) fn page(mut self, entries: Vec<Entry>, at_most: usize) -> (Vec<Entry>, Option<Self>) {
        let mut left = entries.into_iter().filter(|entry| entry.number > *self.clone().of(entry.source));
        let page: Vec<Entry> = left.by_ref().take(at_most).collect();
        let has_more = left.next().is_some();
        drop(left);
        for entry in &page {
            *self.of(entry.source) = entry.number;
        }
        (page, has_more.then_some(self))
    }

    fn of(&mut self, source: Source) -> &mut u32 {
        match source {
            Source::Order => &mut self.order,
            Source::Checkout => &mut self.checkout,
            Source::Cancellation => &mut self.cancellation,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.order, self.checkout, self.cancellation)
    }
}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[order, checkout, cancellation]) => Ok(Self { order, checkout, cancellation }),
            Ok(_) | Err(_) => Err(NotACursor),
        }
    }
}

impl TryFrom<String> for Cursor {
    type Error = NotACursor;

    fn try_from(text: String) -> Result<Self, NotACursor> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

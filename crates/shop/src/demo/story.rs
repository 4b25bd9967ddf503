//! What was written down about an order, told.

use std::fmt;

use anyhow::Context;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::plot::{Ending, Plot, Sign};

/// The story of one order.
#[derive(Debug)]
pub(super) struct Story {
    plot: &'static Plot,
    order: String,
    status: String,
    reason: Option<String>,
    lines: Vec<Line>,
}

/// One thing that happened.
#[derive(Debug)]
struct Line {
    /// Since the order was placed.
    ms: i64,
    /// The type of an event, or what happened to which step, such as `done`, `undo hold-stock`.
    what: What,
    told: String,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Event(String),
    Step { word: String, step: String },
}

/// An order as its service shows it.
#[derive(Deserialize)]
struct View {
    id: String,
    status: String,
    cancel_reason: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
}

/// An entry of `/v1/orders/{id}/events`.
#[derive(Deserialize)]
struct Entry {
    at: Timestamp,
    event: Option<Value>,
    step: Option<Value>,
}

/// Whether `sign` stands in what was written down.
pub(super) fn has_come(events: &Value, sign: &Sign) -> bool {
    let whats = entries(events).unwrap_or_default().into_iter().filter_map(|entry| what(&entry));
    whats.into_iter().any(|what| match (sign, &what) {
        (Sign::Event(wanted), What::Event(kind)) => wanted == kind,
        (Sign::Asked(wanted), What::Step { word, step }) => word == "asked" && wanted == step,
        (Sign::Event(_), What::Step { .. }) | (Sign::Asked(_), What::Event(_)) => false,
    })
}

fn entries(events: &Value) -> anyhow::Result<Vec<Entry>> {
    Ok(Vec::<Entry>::deserialize(&events["data"])?)
}

fn what(entry: &Entry) -> Option<What> {
    if let Some(event) = &entry.event {
        return Some(What::Event(event["type"].as_str()?.to_owned()));
    }
    let step = entry.step.as_ref()?;
    let command = step["command"].as_str().and_then(|command| command.split_once(':'));
    let name = command.map(|(_, command)| {
        let mut parts = command.split(':');
        let (name, direction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if direction == "undo" { format!("undo {name}") } else { name.to_owned() }
    });
    Some(What::Step { word: step["word"].as_str()?.to_owned(), step: name.unwrap_or_default() })
}

impl Story {
    pub(super) fn new(plot: &'static Plot, view: &Value, events: &Value) -> anyhow::Result<Self> {
        let View { id, status, cancel_reason } = View::deserialize(view)?;
        let entries = entries(events).context("its events cannot be read")?;
        let placed_at = entries.first().context("nothing is written down")?.at;
        let line = |entry: Entry| {
            let what = what(&entry)?;
            Some(Line { ms: entry.at.duration_since(placed_at).as_millis() as i64, told: told(&what, &entry), what })
        };
        let lines = entries.into_iter().filter_map(line).collect();
        Ok(Self { plot, order: id, status, reason: cancel_reason.map(|reason| reason.code), lines })
    }

    /// Whether nothing more happens: the status is the promised one, or one that no order leaves.
    pub(super) fn has_ended(&self) -> bool {
        self.status == self.plot.promised.status || matches!(self.status.as_str(), "cancelled" | "shipped")
    }

    pub(super) fn is_as_promised(&self) -> bool {
        let Ending { status, reason, done, never } = &self.plot.promised;
        let is_there = |wanted: &str| {
            self.lines.iter().any(|line| match &line.what {
                What::Event(kind) => kind == wanted,
                What::Step { word, step } => word == "done" && step == wanted,
            })
        };
        self.status == *status
            && self.reason.as_deref() == *reason
            && done.iter().all(|wanted| is_there(wanted))
            && !never.iter().any(|unwanted| is_there(unwanted))
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (order {})", self.plot.name, self.order)?;
        for line in &self.lines {
            writeln!(f, "{:>7} ms  {}", line.ms, line.told)?;
        }
        let reason = self.reason.as_deref().map(|reason| format!(", {reason}")).unwrap_or_default();
        let kept = if self.is_as_promised() { "as promised" } else { "NOT as promised" };
        writeln!(f, "         = {}{reason}: {kept}", self.status)
    }
}

/// One line for people.
fn told(what: &What, entry: &Entry) -> String {
    match what {
        What::Event(kind) => {
            let detail = entry.event.as_ref().map(detail).unwrap_or_default();
            format!("order      * {kind}{detail}")
        }
        What::Step { word, step } => {
            let (undone, name) = step.strip_prefix("undo ").map_or((false, step.as_str()), |name| (true, name));
            let whom = if name.ends_with("stock") { "inventory" } else { "billing" };
            let name = match (undone, name) {
                (false, name) => name.to_owned(),
                (true, "hold-stock") => "release-stock (compensation)".to_owned(),
                (true, "authorize-payment") => "void-payment (compensation)".to_owned(),
                (true, name) => format!("undo of {name} (compensation)"),
            };
            match word.as_str() {
                "asked" => format!("{whom:<9} <- {name}"),
                "asked_again" => format!("{whom:<9} <- {name}, asked again"),
                "done" => format!("{whom:<9} -> {name}: done"),
                "refused" => {
                    let reason = entry.step.as_ref().map(|step| step["reason"].to_string()).unwrap_or_default();
                    format!("{whom:<9} -> {name}: refused, {reason}")
                }
                "cancel_requested" => "customer   ! wants it cancelled".to_owned(),
                "timed_out" => "saga       ! its deadline has come".to_owned(),
                "completed" => "saga       . all is done".to_owned(),
                "unwound" => "saga       . all is undone".to_owned(),
                other => format!("saga       . {other}"),
            }
        }
    }
}

fn detail(event: &Value) -> String {
    match (&event["reason"], &event["complete"], &event["total"]) {
        (Value::Object(reason), ..) => format!(": {}", Value::Object(reason.clone())),
        (_, Value::Bool(true), _) => ": the last of it has left".to_owned(),
        (_, Value::Bool(false), _) => ": a part of it has left".to_owned(),
        (.., Value::Object(total)) => format!(": {}", Value::Object(total.clone())),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::plot::PLOTS, *};

    fn events() -> Value {
        let (at, later) = ("2026-11-21T09:30:00Z", "2026-11-21T09:30:00.012Z");
        json!({ "data": [
            { "key": "order:1", "at": at, "event": { "type": "order.placed.v2", "total": { "amount": 1, "currency": "EUR" } } },
            { "key": "checkout:1", "at": at, "step": { "word": "asked", "command": "0:hold-stock:do:1" } },
            { "key": "checkout:2", "at": later, "step": { "word": "asked", "command": "0:hold-stock:undo:1" } },
            { "key": "checkout:3", "at": later, "step": { "word": "done", "command": "0:hold-stock:undo:1" } },
            { "key": "order:2", "at": later,
              "event": { "type": "order.cancelled.v1", "reason": { "code": "payment_declined" } } },
        ] })
    }

    fn story(code: &str) -> Story {
        let view = json!({ "id": "7", "status": "cancelled", "cancel_reason": { "code": code } });
        Story::new(&PLOTS[1], &view, &events()).unwrap()
    }

    #[test]
    fn a_story_tells_which_message_when_and_which_compensation() {
        let told = story("payment_declined").to_string();
        for line in [
            "declined by the card (order 7)",
            "      0 ms  order      * order.placed.v2: {\"amount\":1,\"currency\":\"EUR\"}",
            "      0 ms  inventory <- hold-stock",
            "     12 ms  inventory <- release-stock (compensation)",
            "     12 ms  inventory -> release-stock (compensation): done",
            "     12 ms  order      * order.cancelled.v1: {\"code\":\"payment_declined\"}",
            "         = cancelled, payment_declined: as promised",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\nis missing in\n{told}");
        }
    }

    #[test]
    fn another_ending_than_the_promised_is_named() {
        let other = story("timed_out");
        assert!(!other.is_as_promised() && other.to_string().contains("NOT as promised"), "{other}");
        assert!(
            !super::super::Report { stories: vec![story("payment_declined")] }.is_as_promised(),
            "others are missing"
        );
        let confirmed = json!({ "id": "7", "status": "confirmed" });
        assert!(!Story::new(&PLOTS[0], &confirmed, &events()).unwrap().is_as_promised(), "nothing was captured");
    }

    #[test]
    fn signs_are_seen() {
        assert!(
            has_come(&events(), &Sign::Asked("hold-stock")) && has_come(&events(), &Sign::Event("order.placed.v2"))
        );
        assert!(!has_come(&events(), &Sign::Asked("capture-payment")) && !has_come(&json!({}), &Sign::Event("x")));
    }
}

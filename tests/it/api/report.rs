//! What schemathesis has asked, and what was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Codes that say nothing about what an operation is for: the request did not come so far.
const BEFORE_THE_HANDLER: [&str; 13] = [
    "unauthenticated",
    "forbidden",
    "customers_only",
    "method_not_allowed",
    "not_found",
    "unsupported_media_type",
    "malformed_json",
    "bad_request",
    "invalid_path",
    "invalid_query",
    "invalid_body",
    "idempotency_key_missing",
    "idempotency_key_invalid",
];

/// Why a request that fits the document is refused all the same: what no schema can say. Each with the part of the answer
/// that says so.
const NO_SCHEMA_SAYS: [(&str, &str); 16] = [
    // What a cursor holds is the list's own business; this one no page has given.
    ("invalid_query", "this is no cursor of this list"),
    // To JSON Schema 2.0 is an integer. To us it is none: who counts in fractions is told so.
    ("invalid_body", "invalid type: floating point"),
    // Characters that nobody sees: patterns know no general categories of Unicode that all readers of schemas know.
    ("invalid_body", "must have no control characters and no invisible ones"),
    ("invalid_body", "must not be blank"),
    ("invalid_customer", "and none that nobody sees"),
    ("invalid_customer", "must be an address like name@host"),
    // Digits that could be the number of a card.
    ("invalid_body", "has no card number in it"),
    // Unique by one field alone.
    ("invalid_body", "each SKU once"),
    ("invalid_order", "stands in two lines"),
    // What holds of several fields together.
    ("invalid_query", "as_of and version say two things"),
    ("invalid_order", "cannot be in one order"),
    ("invalid_order", "the total is too large"),
    // In which currency the payment is.
    ("invalid_refund", "a refund of this payment is in"),
    // What there is in the shop.
    ("unknown_warehouse", ""),
    ("unknown_sku", ""),
    ("idempotency_key_reused", ""),
];

/// What became of the requests to one operation.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Did what they asked for.
    pub(crate) succeeded: usize,
    /// Refused by the operation itself, by code.
    refused: BTreeMap<String, usize>,
    /// Refused before.
    kept_out: usize,
}

/// One request and its answer.
struct Answer {
    operation: String,
    fits_the_document: bool,
    status: u16,
    body: String,
    failed: Vec<String>,
}

/// One run.
pub(crate) struct Report {
    answers: Vec<Answer>,
    said: String,
}

impl Tally {
    pub(crate) fn requests(&self) -> usize {
        self.succeeded + self.kept_out + self.refused.values().sum::<usize>()
    }

    /// Whether a request came through to what the operation is for.
    pub(crate) fn was_reached(&self) -> bool {
        self.succeeded > 0 || !self.refused.is_empty()
    }
}

impl Report {
    pub(crate) fn read(events: &Path, said: String) -> Self {
        let lines = BufReader::new(File::open(events).unwrap()).lines();
        let events = lines.map(|line| line.unwrap()).filter(|line| !line.trim().is_empty());
        let events = events.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let answers = events.flat_map(|event| answers(&event["ScenarioFinished"]["recorder"])).collect();
        Self { answers, said }
    }

    pub(crate) fn add_to(&self, tallies: &mut BTreeMap<String, Tally>) {
        for answer in &self.answers {
            // Methods that there are not belong to no operation.
            if answer.status == 405 {
                continue;
            }
            let tally = tallies.entry(answer.operation.clone()).or_default();
            match answer.code() {
                None => tally.succeeded += 1,
                Some(code) if BEFORE_THE_HANDLER.contains(&code.as_str()) => tally.kept_out += 1,
                Some(code) => *tally.refused.entry(code).or_default() += 1,
            }
        }
    }

    /// What makes schemathesis ask the same again: `--seed`.
    pub(crate) fn seed(&self) -> &str {
        self.said.lines().find(|line| line.starts_with("Seed:")).unwrap_or("without a seed")
    }

    /// All that is wrong; empty if nothing is.
    pub(crate) fn wrong(&self, turned_away: &[u16]) -> String {
        let mut wrong = BTreeSet::new();
        for answer in &self.answers {
            let Answer { operation, status, body, failed, .. } = answer;
            if *status >= 500 || turned_away.contains(status) {
                wrong.insert(format!("{operation}: {status} {body}"));
            }
            if answer.is_unexpected() {
                wrong.insert(format!("{operation} refuses what its document allows: {body}"));
            }
            wrong.extend(failed.iter().map(|check| format!("{operation}: {check}: {status} {body}")));
        }
        let mut text: String = wrong.iter().take(40).map(|line| format!("- {line}\n")).collect();
        // Such as all with a token that has expired, or none at all.
        if !self.answers.iter().any(|answer| answer.status < 300) {
            writeln!(text, "- none of {} requests succeeded: {}", self.answers.len(), self.said).unwrap();
        }
        text.push_str(&failures(&self.said));
        text
    }
}

/// What schemathesis tells of failures, without the rest.
fn failures(said: &str) -> String {
    let parts = ["= FAILURES =", "= ERRORS ="].into_iter().filter_map(|part| said.split_once(part));
    parts
        .map(|(_, text)| text.split("= WARNINGS =").next().unwrap_or(text).chars().take(6_000).collect::<String>())
        .collect()
}

impl Answer {
    fn code(&self) -> Option<String> {
        if self.status < 400 {
            return None;
        }
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        Some(problem["code"].as_str().unwrap_or("no problem").to_owned())
    }

    /// Whether the document allows the request, the operation refuses it, and no reason is known that no schema could say.
    fn is_unexpected(&self) -> bool {
        let code = self.code().unwrap_or_default();
        let says_why = |(known, part): &(&str, &str)| *known == code && self.body.contains(part);
        self.fits_the_document && matches!(self.status, 400 | 422) && !NO_SCHEMA_SAYS.iter().any(says_why)
    }
}

fn answers(recorder: &Value) -> Vec<Answer> {
    let cases = recorder["cases"].as_object().into_iter().flatten();
    let answer = |(id, case): (&String, &Value)| {
        let (case, response) = (&case["value"], &recorder["interactions"][id]["response"]);
        let status = u16::try_from(response["status_code"].as_u64()?).unwrap();
        let content = response["content"]["$base64"].as_str().unwrap_or_default();
        let body = String::from_utf8_lossy(&STANDARD.decode(content).unwrap()).into_owned();
        let checks = recorder["checks"][id].as_array().into_iter().flatten();
        let failed = checks.filter(|check| check["status"] == "failure").map(|check| check["name"].to_string());
        Some(Answer {
            operation: format!("{} {}", case["method"].as_str().unwrap(), case["path"].as_str().unwrap()),
            fits_the_document: case["meta"]["generation"]["mode"] == "positive",
            status,
            body,
            failed: failed.collect(),
        })
    };
    cases.filter_map(answer).collect()
}

/// For people to read.
pub(crate) fn table(tallies: &BTreeMap<String, Tally>) -> String {
    let mut table = String::new();
    for (operation, Tally { succeeded, refused, kept_out }) in tallies {
        writeln!(table, "  {operation:40} {succeeded:5} succeeded, {kept_out:5} kept out, refused: {refused:?}")
            .unwrap();
    }
    table
}

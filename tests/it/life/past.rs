//! The past of orders is what those who looked then had seen, and what the events up to there make of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::world::{Customer, PATIENCE};

/// Instants that are looked back at.
const INSTANTS: usize = 100;

/// In each of these an order stays for long enough to be seen twice. What is cancelled is looked at no more.
const STATUSES: [&str; 4] = ["pending", "confirmed", "partly_shipped", "shipped"];

/// Orders that are looked at, at most.
const WATCHED: usize = 24;

/// Orders that somebody looks at all the time.
#[derive(Default)]
pub(super) struct Polls(Mutex<Vec<Watched>>);

#[derive(Clone)]
struct Watched {
    customer: Customer,
    order: Uuid,
    polls: Arc<Mutex<Vec<Poll>>>,
}

/// What was seen, and between which instants.
#[derive(Clone)]
struct Poll {
    asked: Timestamp,
    answered: Timestamp,
    view: Value,
}

/// What an instant was found to show.
struct Found {
    /// What was seen then; else what was seen next.
    at_once: bool,
    status: String,
}

impl Polls {
    /// Looks at the order again and again, until it has ended; if not too many are looked at.
    pub(super) fn watch(&self, customer: Customer, order: Uuid) {
        let watched = Watched { customer, order, polls: Arc::default() };
        let mut all = self.0.lock().unwrap();
        if all.len() == WATCHED {
            return;
        }
        all.push(watched.clone());
        drop(all);
        tokio::spawn(async move {
            loop {
                let asked = Timestamp::now();
                let view = watched.customer.view(order, "").await;
                let is_over = view["status"] == "cancelled";
                watched.polls.lock().unwrap().push(Poll { asked, answered: Timestamp::now(), view });
                if is_over {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}

/// Looks back at instants while each order was changing, and at one in each status.
pub(super) async fn is_what_was_seen(polls: &Polls) {
    let watched: Vec<Watched> = polls.0.lock().unwrap().clone();
    let (mut looked_back, mut at_once, mut statuses) = (0, 0, BTreeMap::<String, usize>::new());
    for draw in 0..100_000_i64 {
        let one = &watched[usize::try_from(draw).unwrap() % watched.len()];
        let polls = one.polls.lock().unwrap().clone();
        let Some(found) = one.look_back(&polls, drawn(&polls, draw * 7_368_787)).await else { continue };
        at_once += usize::from(found.at_once);
        *statuses.entry(found.status).or_default() += 1;
        looked_back += 1;
        if looked_back == INSTANTS {
            break;
        }
    }
    eprintln!("looked back at {looked_back} instants, {at_once} as they were seen at once: {statuses:?}");
    assert_eq!(looked_back, INSTANTS, "instants at which an order was seen");
    assert!(at_once > INSTANTS * 9 / 10, "{at_once} of {looked_back}");
    for status in STATUSES {
        let seen = async {
            loop {
                if let Some((one, polls, instant)) = watched.iter().find_map(|one| one.while_it_was(status)) {
                    return one.look_back(&polls, instant).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("no order was {status}"));
        assert!(found.is_some(), "two looks in a row saw it {status}");
    }
}

/// An instant while the order was changing, or soon after.
fn drawn(polls: &[Poll], draw: i64) -> Timestamp {
    let (first, last) = (&polls[0], polls.last().expect("it was looked at"));
    let end = polls.iter().find(|poll| poll.view == last.view).expect("the last one is").answered;
    let span = end.duration_since(first.answered).as_micros() + 500_000;
    first.answered + SignedDuration::from_micros((i128::from(draw) % span).try_into().unwrap())
}

/// How many things happened to an order between two looks. That it is wanted no more is no event.
fn changes(before: &Value, after: &Value) -> u64 {
    let version = |view: &Value| view["version"].as_u64().unwrap();
    version(after) - version(before) + u64::from(before["cancellation"] != after["cancellation"])
}

impl Watched {
    /// All that was seen of the order, and an instant between two looks that saw it alike and in this status.
    fn while_it_was(&self, status: &str) -> Option<(&Self, Vec<Poll>, Timestamp)> {
        let polls = self.polls.lock().unwrap().clone();
        let pair = polls.windows(2).find(|two| two[0].view == two[1].view && two[0].view["status"] == status)?;
        let instant = pair[0].answered;
        Some((self, polls, instant))
    }

    /// Holds what is shown as of `instant` against `polls`; `None` if nobody can tell what it must be. An event bears the
    /// time at which its transaction began, so an order may be seen for some more milliseconds as it was before; then what
    /// was seen next must be what is shown, unless more than one thing had changed by then: nobody saw it in between.
    async fn look_back(&self, polls: &[Poll], instant: Timestamp) -> Option<Found> {
        // What was seen before and after the instant, and then something else.
        let after = polls.iter().position(|poll| poll.asked >= instant)?;
        let before = polls[..after].iter().rev().find(|poll| poll.answered <= instant)?;
        if before.view != polls[after].view {
            return None;
        }
        let next = polls[after..].iter().map(|poll| &poll.view).find(|view| **view != before.view);
        let shown = self.customer.view(self.order, &format!("?as_of={instant}")).await;
        let at_once = shown == before.view;
        let as_seen = at_once || next == Some(&shown);
        let can_be_between = next.is_some_and(|next| changes(&before.view, next) > 1);
        assert!(as_seen || can_be_between, "as of {instant}: {shown}; seen then: {}; next: {next:?}", before.view);
        self.is_the_fold(&shown, instant).await;
        as_seen.then(|| Found { at_once, status: shown["status"].as_str().unwrap().to_owned() })
    }

    /// What is shown as of `instant` is what the events up to there make of the order: counted here.
    async fn is_the_fold(&self, shown: &Value, instant: Timestamp) {
        let list = self.customer.view(self.order, "/events?limit=100").await;
        let events = list["data"].as_array().unwrap().iter().filter_map(|entry| entry.get("event"));
        let at = |event: &Value| -> Timestamp { event["at"].as_str().unwrap().parse().unwrap() };
        let until: Vec<&Value> = events.filter(|event| at(event) <= instant).collect();
        let (mut status, mut shipments) = ("pending", 0);
        for event in &until {
            match event["type"].as_str().unwrap() {
                "order.confirmed.v1" => status = "confirmed",
                "order.cancelled.v1" => status = "cancelled",
                "order.shipped.v1" => {
                    status = if event["complete"] == true { "shipped" } else { "partly_shipped" };
                    shipments += 1;
                }
                _ => {}
            }
        }
        let last = until.last().expect("it was placed by then");
        let found = (&shown["version"], &shown["status"], &shown["updated_at"]);
        assert_eq!(found, (&last["version"], &Value::from(status), &last["at"]), "as of {instant}");
        assert_eq!(shown["shipments"].as_array().unwrap().len(), shipments, "as of {instant}");
    }
}

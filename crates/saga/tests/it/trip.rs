//! The saga of these tests: two reservations side by side, a charge, then two steps that only go forward.

use jiff::{SignedDuration, Timestamp};
use saga::{CommandId, Data, Direction, Instance, Saga, step};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) const SAGA: Uuid = Uuid::from_u128(0x0190_a5b2_7c4e_7d3a_9f00_0000_0000_00aa);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trip {
    pub(crate) city: String,
}

/// Carries its id, as real commands do, so that comparing commands compares ids too.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) what: &'static str,
    pub(crate) city: String,
    pub(crate) id: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum No {
    Full,
    Declined,
}

impl Data for Trip {
    type Command = Command;
    type Refusal = No;
}

pub(crate) fn trip() -> Saga<Trip> {
    Saga::named("trip")
        .side_by_side([
            step(
                "reserve room",
                |trip: &Trip, id| trip.says("reserve room", id),
                |trip, id| trip.says("give up room", id),
            ),
            step("reserve seat", |trip, id| trip.says("reserve seat", id), |trip, id| trip.says("give up seat", id)),
        ])
        .pivot("charge card", |trip, id| trip.says("charge card", id))
        .then("send tickets", |trip, id| trip.says("send tickets", id))
        .then("add miles", |trip, id| trip.says("add miles", id))
        .ends()
}

pub(crate) fn to_lisbon() -> Trip {
    Trip { city: "Lisbon".to_owned() }
}

impl Trip {
    pub(crate) fn says(&self, what: &'static str, id: &CommandId) -> Command {
        Command { what, city: self.city.clone(), id: id.to_string() }
    }
}

/// What a story expects.
pub(crate) fn says(what: &'static str) -> impl FnOnce(&CommandId) -> Command {
    move |id| to_lisbon().says(what, id)
}

pub(crate) fn started() -> Instance<Trip> {
    trip().start(SAGA, to_lisbon(), at_s(0)).0
}

pub(crate) fn id(step: &str, direction: Direction) -> CommandId {
    CommandId { saga: SAGA, step: step.to_owned(), direction, attempt: 1 }
}

pub(crate) fn s(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub(crate) fn at_s(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

use saga::{CommandId, Data, Saga};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trip;

impl Data for Trip {
    type Command = ();
    type Refusal = ();
}

fn say(_: &Trip, _: &CommandId) {}

fn wrong() -> Saga<Trip> {
    Saga::named("trip").then("send tickets", say).pivot("charge card", say).ends()
}

fn main() {}

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
    Saga::named("trip").pivot("charge card", say).pivot("charge it again", say).ends()
}

fn main() {}

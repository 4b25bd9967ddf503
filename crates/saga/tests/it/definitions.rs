//! How a definition looks, and which definitions there cannot be.

use saga::{Saga, step};

use crate::trip::{Command, Trip, trip};

#[test]
fn a_definition_prints_as_a_table_of_its_steps() {
    let table = "\
saga trip: 30s to reach the pivot
step          stands        refused                         no answer
reserve room  side by side  the others are undone           asked again; at the deadline undone with the others
reserve seat  side by side  the others are undone           asked again; at the deadline undone with the others
charge card   pivot         all before it are undone        asked again
send tickets  forward only  the saga parks for an operator  asked again
add miles     forward only  the saga parks for an operator  asked again
";
    assert_eq!(trip().to_string(), table);
}

#[test]
fn wrong_shapes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/shapes/*.rs");
}

#[test]
#[should_panic(expected = "\"twice\" has two steps named \"reserve room\"")]
fn two_steps_of_one_name_would_share_command_ids() {
    Saga::named("twice").side_by_side([step("reserve room", say, say)]).pivot("reserve room", say).ends();
}

#[test]
#[should_panic(expected = "\"reserve  room\" cannot name a step")]
fn a_name_must_fit_into_a_command_id() {
    Saga::named("spaces").pivot("reserve  room", say).ends();
}

fn say(trip: &Trip, id: &saga::CommandId) -> Command {
    trip.says("something", id)
}

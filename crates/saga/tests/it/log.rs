//! What is stored: the instance and its log as JSON, and the one rebuilt from the other.

use saga::{Answer, Direction, Impossible, Input, Instance, LogEntry};
use serde_json::json;

use crate::trip::{No, SAGA, Trip, at_s, id, started, to_lisbon, trip};

/// The room is reserved, the seat refused, the room given up: instance and log.
fn unwound() -> (Instance<Trip>, Vec<LogEntry<No>>) {
    let (mut instance, first) = trip().start(SAGA, to_lisbon(), at_s(0));
    let mut log = first.log;
    let answers = [
        (id("reserve-room", Direction::Do), Answer::Done),
        (id("reserve-seat", Direction::Do), Answer::Refused(No::Full)),
        (id("reserve-room", Direction::Undo), Answer::Done),
    ];
    for ((command, answer), second) in answers.into_iter().zip(1..) {
        let input = Input::Answered { command, answer };
        log.extend(trip().advance(&mut instance, input, at_s(second)).unwrap().log);
    }
    (instance, log)
}

#[test]
fn the_log_is_numbered_without_gaps_and_reads_as_it_happened() {
    let (instance, log) = unwound();
    let log = serde_json::to_value(&log).unwrap();
    let room = "0190a5b2-7c4e-7d3a-9f00-0000000000aa:reserve-room";
    let seat = "0190a5b2-7c4e-7d3a-9f00-0000000000aa:reserve-seat";
    let why = json!({"refused": {"step": "reserve-seat", "reason": "full"}});
    let expected = json!([
        {"seq": 1, "at": "1970-01-01T00:00:00Z", "word": "asked", "command": format!("{room}:do:1")},
        {"seq": 2, "at": "1970-01-01T00:00:00Z", "word": "asked", "command": format!("{seat}:do:1")},
        {"seq": 3, "at": "1970-01-01T00:00:01Z", "word": "done", "command": format!("{room}:do:1")},
        {"seq": 4, "at": "1970-01-01T00:00:02Z", "word": "refused", "command": format!("{seat}:do:1"), "reason": "full"},
        {"seq": 5, "at": "1970-01-01T00:00:02Z", "word": "asked", "command": format!("{room}:undo:1")},
        {"seq": 6, "at": "1970-01-01T00:00:03Z", "word": "done", "command": format!("{room}:undo:1")},
        {"seq": 7, "at": "1970-01-01T00:00:03Z", "word": "unwound", "why": why},
    ]);
    assert_eq!(log, expected);
    assert_eq!(instance.seq(), 7);
}

#[test]
fn an_instance_is_stored_as_json() {
    let stored = json!({
        "id": SAGA,
        "data": {"city": "Lisbon"},
        "phase": "begun",
        "steps": {
            "reserve-room": {
                "attempt": 1, "did": "asked", "undo": "no",
                "asking": {"times": 1, "again_at": "1970-01-01T00:00:02Z"},
            },
            "reserve-seat": {
                "attempt": 1, "did": "asked", "undo": "no",
                "asking": {"times": 1, "again_at": "1970-01-01T00:00:02Z"},
            },
        },
        "deadline": "1970-01-01T00:00:30Z",
        "seq": 2,
    });
    assert_eq!(serde_json::to_value(started()).unwrap(), stored);
    assert_eq!(serde_json::from_value::<Instance<Trip>>(stored).unwrap(), started());
}

#[test]
fn a_log_read_back_gives_the_instance() {
    let (instance, log) = unwound();
    let text = serde_json::to_string(&log).unwrap();
    let log: Vec<LogEntry<No>> = serde_json::from_str(&text).unwrap();
    assert_eq!(trip().replay(at_s(30), SAGA, to_lisbon(), &log), Ok(instance));
}

#[test]
fn a_log_with_a_gap_gives_nothing() {
    let (_, mut log) = unwound();
    log.remove(3);
    assert_eq!(trip().replay(at_s(30), SAGA, to_lisbon(), &log), Err(Impossible::MissingEntry { seq: 4 }));
    assert_eq!(trip().replay(at_s(30), SAGA, to_lisbon(), &[]), Err(Impossible::MissingEntry { seq: 1 }));
}

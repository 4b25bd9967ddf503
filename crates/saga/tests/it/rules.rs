//! The rules at the head of `machine.rs`, one test each.

use saga::{
    Answer, Did, Direction, Impossible, Input, Saga, Transition, Why, step,
    testing::{Run, exhaust},
};

use crate::trip::{No, SAGA, Trip, at_s, id, s, says, started, to_lisbon, trip};

/// A story up to the reservations being asked for.
fn reserving() -> Run<Trip> {
    Run::of(&trip(), to_lisbon()).asks("reserve room", says("reserve room")).asks("reserve seat", says("reserve seat"))
}

/// A story up to the charge being asked for.
fn charging() -> Run<Trip> {
    reserving().done("reserve seat").done("reserve room").asks("charge card", says("charge card"))
}

/// A story up to the tickets being asked for.
fn sending() -> Run<Trip> {
    charging().done("charge card").asks("send tickets", says("send tickets"))
}

fn because(step: &str, reason: No) -> Why<No> {
    Why::Refused { step: step.to_owned(), reason }
}

#[test]
fn steps_side_by_side_go_out_together() {
    let (instance, first) = trip().start(crate::trip::SAGA, to_lisbon(), at_s(0));
    let ids: Vec<_> = first.commands.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, [id("reserve-room", Direction::Do), id("reserve-seat", Direction::Do)]);
    assert_eq!(first.ended, None);
    assert_eq!(instance.progress("charge-card"), None);
}

#[test]
fn a_trip_of_which_all_is_done_completes_step_after_step() {
    sending().done("send tickets").asks("add miles", says("add miles")).done("add miles").completes();
}

#[test]
fn a_refusal_before_the_pivot_undoes_what_is_done() {
    reserving()
        .done("reserve room")
        .refused("reserve seat", No::Full)
        .asks_to_undo("reserve room", says("give up room"))
        .undone("reserve room")
        .unwinds(because("reserve-seat", No::Full));
}

#[test]
fn unknown_is_treated_as_done() {
    reserving()
        .refused("reserve seat", No::Full)
        .asks_to_undo("reserve room", says("give up room"))
        .undone("reserve room")
        .unwinds(because("reserve-seat", No::Full));
}

#[test]
fn the_deadline_before_the_pivot_undoes_the_done_and_the_unknown_side_by_side() {
    reserving()
        .done("reserve room")
        .waits(s(30))
        .asks_to_undo("reserve room", says("give up room"))
        .asks_to_undo("reserve seat", says("give up seat"))
        .undone("reserve seat")
        .undone("reserve room")
        .unwinds(Why::TimedOut);
}

#[test]
fn the_second_refusal_changes_neither_the_reason_nor_the_undo() {
    reserving()
        .refused("reserve seat", No::Full)
        .asks_to_undo("reserve room", says("give up room"))
        .refused("reserve room", No::Declined)
        .undone("reserve room")
        .unwinds(because("reserve-seat", No::Full));
}

#[test]
fn with_nothing_to_undo_a_refused_saga_ends_at_once() {
    let alone = Saga::named("alone")
        .side_by_side([step("reserve room", |trip: &Trip, id| trip.says("a", id), |trip, id| trip.says("b", id))])
        .pivot("charge card", |trip, id| trip.says("c", id))
        .ends();
    let refused = Run::of(&alone, to_lisbon()).asks("reserve room", says("a")).refused("reserve room", No::Full);
    refused.unwinds(because("reserve-room", No::Full));
}

#[test]
fn a_late_answer_is_written_down_and_ends_nothing() {
    let late = reserving()
        .refused("reserve seat", No::Full)
        .asks_to_undo("reserve room", says("give up room"))
        .done("reserve room");
    assert_eq!(late.instance().progress("reserve-room").unwrap().did, Did::Done);
    assert_eq!(late.instance().ended(), None);
    late.undone("reserve room").unwinds(because("reserve-seat", No::Full));
}

#[test]
fn an_answer_counts_once() {
    reserving()
        .done("reserve room")
        .done("reserve room")
        .refused("reserve room", No::Full)
        .done("reserve seat")
        .asks("charge card", says("charge card"))
        .done("reserve seat")
        .refused("charge card", No::Declined)
        .asks_to_undo("reserve room", says("give up room"))
        .asks_to_undo("reserve seat", says("give up seat"))
        .undone("reserve room")
        .undone("reserve room")
        .undone("reserve seat")
        .unwinds(because("charge-card", No::Declined));
}

#[test]
fn the_pivot_never_turns_on_time() {
    charging()
        .waits(s(86_400))
        .done("charge card")
        .asks("send tickets", says("send tickets"))
        .done("send tickets")
        .asks("add miles", says("add miles"))
        .done("add miles")
        .completes();
}

#[test]
fn a_refused_pivot_undoes_all_before_it() {
    charging()
        .refused("charge card", No::Declined)
        .asks_to_undo("reserve room", says("give up room"))
        .asks_to_undo("reserve seat", says("give up seat"))
        .undone("reserve room")
        .undone("reserve seat")
        .unwinds(because("charge-card", No::Declined));
}

#[test]
fn after_the_pivot_a_refusal_undoes_nothing_but_parks() {
    let parked = sending().refused("send tickets", No::Full).waits(s(86_400)).parks("send tickets", No::Full);
    assert_eq!(parked.instance().wake_at(), None);
    let resumed = parked.resumed().asks("send tickets", says("send tickets"));
    assert_eq!(resumed.instance().progress("send-tickets").unwrap().attempt, 2);
    resumed
        .resumed() // By a second operator: nothing.
        .done("send tickets")
        .asks("add miles", says("add miles"))
        .done("add miles")
        .completes();
}

#[test]
fn a_cancellation_before_the_pivot_undoes_the_done_and_the_unknown() {
    reserving()
        .done("reserve room")
        .cancelled()
        .asks_to_undo("reserve room", says("give up room"))
        .asks_to_undo("reserve seat", says("give up seat"))
        .cancelled() // Again: nothing.
        .undone("reserve seat")
        .undone("reserve room")
        .unwinds(Why::Cancelled);
}

#[test]
fn a_cancellation_from_the_pivot_on_is_noted_and_turns_nothing() {
    let at_the_pivot = charging().cancelled().done("charge card").asks("send tickets", says("send tickets"));
    assert!(at_the_pivot.instance().is_cancel_requested());
    at_the_pivot.done("send tickets").asks("add miles", says("add miles")).done("add miles").completes();
    let after_it = sending();
    assert!(!after_it.instance().is_cancel_requested());
    assert!(after_it.cancelled().instance().is_cancel_requested());
}

#[test]
fn a_cancelled_pivot_that_is_refused_undoes_all_because_of_the_refusal() {
    charging()
        .cancelled()
        .refused("charge card", No::Declined)
        .asks_to_undo("reserve room", says("give up room"))
        .asks_to_undo("reserve seat", says("give up seat"))
        .undone("reserve room")
        .undone("reserve seat")
        .unwinds(because("charge-card", No::Declined));
}

#[test]
fn a_cancellation_of_a_saga_that_has_turned_is_too_late_to_be_noted() {
    let turned = reserving().refused("reserve seat", No::Full).asks_to_undo("reserve room", says("give up room"));
    let cancelled = turned.cancelled();
    assert!(!cancelled.instance().is_cancel_requested());
    cancelled.undone("reserve room").unwinds(because("reserve-seat", No::Full));
}

#[test]
fn an_answer_to_an_older_attempt_is_ignored() {
    let mut instance = sending()
        .refused("send tickets", No::Full)
        .resumed()
        .asks("send tickets", says("send tickets"))
        .instance()
        .clone();
    let old = saga::CommandId { saga: instance.id, ..id("send-tickets", Direction::Do) };
    let before = instance.clone();
    let done = Input::Answered { command: old, answer: Answer::Done };
    assert_eq!(trip().advance(&mut instance, done, at_s(1)), Ok(nothing()));
    assert_eq!(instance, before);
}

#[test]
fn what_is_waited_for_is_asked_again_with_back_off_in_every_phase() {
    // Asked at 0, 2, 6, 14 and not yet at 30 s, which is the deadline.
    let turned = reserving().done("reserve room").waits(s(29)).has_asked("reserve seat", Direction::Do, 4);
    let turned = turned.has_asked("reserve room", Direction::Do, 1).waits(s(1));
    let turned = turned.asks_to_undo("reserve room", says("give up room"));
    let turned = turned.asks_to_undo("reserve seat", says("give up seat"));
    // Asked at 0, 2, 6, 14, 30, 62, and from then on each minute.
    let turned = turned.waits(s(62 + 600)).has_asked("reserve seat", Direction::Undo, 16);
    turned.undone("reserve seat").undone("reserve room").unwinds(Why::TimedOut);

    let late = charging().waits(s(62 + 600)).has_asked("charge card", Direction::Do, 16).done("charge card");
    let late = late.asks("send tickets", says("send tickets")).waits(s(61)).has_asked("send tickets", Direction::Do, 5);
    late.done("send tickets").asks("add miles", says("add miles")).done("add miles").completes();
}

#[test]
fn a_saga_wakes_at_the_earliest_of_its_deadline_and_the_next_asking() {
    let (saga, mut instance) = (trip(), started());
    // From 30 s on it is the undos that are asked for.
    for second in [2, 6, 14, 30, 32, 36, 44, 60, 92, 152] {
        assert_eq!(instance.wake_at(), Some(at_s(second)));
        saga.advance(&mut instance, Input::Woken, at_s(second)).unwrap();
    }
}

#[test]
fn woken_too_late_it_counts_from_then() {
    let (saga, mut instance) = (trip(), started());
    assert_eq!(saga.advance(&mut instance, Input::Woken, at_s(1)), Ok(nothing()));
    let asked = saga.advance(&mut instance, Input::Woken, at_s(25)).unwrap();
    assert_eq!(asked.commands.len(), 2);
    assert_eq!(instance.wake_at(), Some(at_s(29)));
    let turned = saga.advance(&mut instance, Input::Woken, at_s(1_000)).unwrap();
    assert_eq!(turned.commands.len(), 2);
    assert_eq!(instance.wake_at(), Some(at_s(1_002)));
}

#[test]
fn what_has_no_place_in_a_saga_is_impossible_and_changes_nothing() {
    let of_another = saga::CommandId { saga: uuid::Uuid::nil(), ..id("reserve-room", Direction::Do) };
    let to_come = saga::CommandId { attempt: 2, ..id("reserve-room", Direction::Do) };
    let undo = id("reserve-room", Direction::Undo);
    for (command, impossible) in [
        (of_another, Impossible::OtherSaga as fn(_) -> _),
        (id("walk", Direction::Do), Impossible::UnknownStep),
        (id("charge-card", Direction::Undo), Impossible::UnknownStep),
        (id("charge-card", Direction::Do), Impossible::NeverAsked),
        (undo, Impossible::NeverAsked),
        (to_come, Impossible::NeverAsked),
    ] {
        let mut instance = started();
        let input = Input::Answered { command: command.clone(), answer: Answer::Done };
        assert_eq!(trip().advance(&mut instance, input, at_s(1)), Err(impossible(command)));
        assert_eq!(instance, started());
    }
}

#[test]
fn undos_are_never_refused() {
    let (saga, mut instance) = (trip(), started());
    saga.advance(&mut instance, Input::Woken, at_s(30)).unwrap();
    let (before, undo) = (instance.clone(), id("reserve-room", Direction::Undo));
    let input = Input::Answered { command: undo.clone(), answer: Answer::Refused(No::Full) };
    assert_eq!(saga.advance(&mut instance, input, at_s(31)), Err(Impossible::UndoRefused(undo)));
    assert_eq!(instance, before);
}

#[test]
fn an_ended_saga_ignores_everything() {
    let (saga, mut instance) = (trip(), started());
    for step in ["reserve-room", "reserve-seat"] {
        let command = id(step, Direction::Do);
        saga.advance(&mut instance, Input::Answered { command, answer: Answer::Refused(No::Full) }, at_s(1)).unwrap();
    }
    let command = id("reserve-seat", Direction::Undo);
    saga.advance(&mut instance, Input::Answered { command, answer: Answer::Done }, at_s(2)).unwrap();
    assert!(instance.ended().is_some());
    let ended = instance.clone();
    for command in [id("reserve-room", Direction::Do), id("walk", Direction::Undo)] {
        let input = Input::Answered { command, answer: Answer::Refused(No::Full) };
        assert_eq!(saga.advance(&mut instance, input, at_s(100)), Ok(nothing()));
    }
    assert_eq!(saga.advance(&mut instance, Input::Woken, at_s(100)), Ok(nothing()));
    assert_eq!(saga.advance(&mut instance, Input::Resumed, at_s(100)), Ok(nothing()));
    assert_eq!(saga.advance(&mut instance, Input::CancelRequested, at_s(100)), Ok(nothing()));
    assert_eq!(instance, ended);
}

#[test]
fn a_trip_survives_anything() {
    let reached = exhaust(&trip(), &to_lisbon(), &[No::Full, No::Declined]);
    assert!(reached.times("timed out without: reserve-room, reserve-seat") > 0);
    assert!(reached.times("resumed: add-miles") > 0);
}

#[test]
fn a_saga_that_begins_at_its_pivot_survives_anything() {
    let saga = Saga::named("take back")
        .pivot("charge card", |trip: &Trip, id| trip.says("charge card", id))
        .then("send tickets", |trip, id| trip.says("send tickets", id))
        .ends();
    exhaust(&saga, &to_lisbon(), &[No::Declined]);
}

#[test]
fn a_saga_with_one_step_before_its_pivot_survives_anything() {
    let saga = Saga::named("one")
        .side_by_side([step("reserve room", |trip: &Trip, id| trip.says("a", id), |trip, id| trip.says("b", id))])
        .pivot("charge card", |trip, id| trip.says("c", id))
        .ends();
    exhaust(&saga, &to_lisbon(), &[No::Full]);
}

#[test]
fn three_side_by_side_survive_anything() {
    let saga = Saga::named("three")
        .side_by_side([
            step("reserve room", |trip: &Trip, id| trip.says("a", id), |trip, id| trip.says("b", id)),
            step("reserve seat", |trip, id| trip.says("c", id), |trip, id| trip.says("d", id)),
            step("reserve car", |trip, id| trip.says("e", id), |trip, id| trip.says("f", id)),
        ])
        .pivot("charge card", |trip, id| trip.says("g", id))
        .ends();
    exhaust(&saga, &to_lisbon(), &[No::Full]);
}

fn nothing() -> Transition<Trip> {
    Transition { commands: vec![], ended: None, log: vec![] }
}

#[test]
fn a_saga_may_have_a_deadline_of_its_own() {
    for deadline in [3, 300] {
        let (mut instance, began) = trip().start_until(at_s(deadline), SAGA, to_lisbon(), at_s(0));
        let before = trip().advance(&mut instance, Input::Woken, at_s(deadline - 1)).unwrap();
        assert!(before.commands.iter().all(|(id, _)| id.direction == Direction::Do), "before {deadline} s: {before:?}");
        let then = trip().advance(&mut instance, Input::Woken, at_s(deadline)).unwrap();
        assert!(then.commands.iter().all(|(id, _)| id.direction == Direction::Undo), "after {deadline} s: {then:?}");
        assert_eq!(then.commands.len(), 2);
        let log = [began.log, before.log, then.log].concat();
        assert_eq!(trip().replay(at_s(deadline), SAGA, to_lisbon(), &log), Ok(instance));
    }
}

//! Random inputs, most of them unlikely: what holds whatever comes, and that a saga answered at last always ends.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use saga::{Answer, CommandId, Direction, Ended, Input, Instance, LogEntry, Phase};

use crate::trip::{No, SAGA, Trip, at_s, s, to_lisbon, trip};

#[derive(Debug, Clone)]
enum Op {
    /// The answer to one of the commands sent so far, perhaps not the first.
    Answer {
        which: prop::sample::Index,
        refused: bool,
    },
    Wait {
        seconds: i64,
    },
    Resume,
    Cancel,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (any::<prop::sample::Index>(), prop::bool::weighted(0.2))
            .prop_map(|(which, refused)| Op::Answer { which, refused }),
        2 => (0_i64..20).prop_map(|seconds| Op::Wait { seconds }),
        1 => Just(Op::Resume),
        1 => Just(Op::Cancel),
    ]
}

/// A saga that is stored as JSON between any two inputs, and all that was sent and answered.
struct Life {
    stored: String,
    now: Timestamp,
    sent: Vec<CommandId>,
    answers: BTreeMap<CommandId, Answer<No>>,
    log: Vec<LogEntry<No>>,
}

impl Life {
    fn new() -> Self {
        let (instance, first) = trip().start(SAGA, to_lisbon(), at_s(0));
        Self {
            stored: serde_json::to_string(&instance).unwrap(),
            now: at_s(0),
            sent: first.commands.into_iter().map(|(id, _)| id).collect(),
            answers: BTreeMap::new(),
            log: first.log,
        }
    }

    fn instance(&self) -> Instance<Trip> {
        serde_json::from_str(&self.stored).unwrap()
    }

    fn input(&mut self, input: Input<No>) {
        let mut instance = self.instance();
        let before = instance.clone();
        let made = trip().advance(&mut instance, input, self.now).unwrap();
        assert_eq!(made.log.is_empty(), before == instance);
        assert!(before.ended().is_none() || before == instance, "an ended saga changed");
        self.sent.extend(made.commands.into_iter().map(|(id, _)| id));
        self.log.extend(made.log);
        self.stored = serde_json::to_string(&instance).unwrap();
    }

    /// A participant keeps its answer, and it never refuses to undo.
    fn answer(&mut self, command: CommandId, refused: bool) {
        let refused = refused && command.direction == Direction::Do;
        let answer = if refused { Answer::Refused(No::Full) } else { Answer::Done };
        let answer = self.answers.entry(command.clone()).or_insert(answer).clone();
        self.input(Input::Answered { command, answer });
    }

    fn happens(&mut self, op: &Op) {
        match op {
            Op::Answer { which, refused } => self.answer(which.get(&self.sent).clone(), *refused),
            Op::Wait { seconds } => {
                self.now += s(*seconds);
                self.input(Input::Woken);
            }
            Op::Resume => self.input(Input::Resumed),
            Op::Cancel => self.input(Input::CancelRequested),
        }
    }

    /// From now on everybody answers, and operators resume.
    fn settle(&mut self) {
        for _ in 0..100 {
            match self.instance().phase() {
                Phase::Ended(_) => return,
                Phase::Parked { .. } => self.input(Input::Resumed),
                Phase::Begun | Phase::AtPivot | Phase::PastPivot | Phase::Unwinding(_) => {
                    self.sent.clone().into_iter().for_each(|command| self.answer(command, false));
                }
            }
        }
        panic!("it never ends: {}", self.stored);
    }

    fn is_sent(&self, step: &str, direction: Direction) -> bool {
        self.sent.iter().any(|command| command.step == step && command.direction == direction)
    }

    fn is_done(&self, step: &str, direction: Direction) -> bool {
        let of = |command: &CommandId| command.step == step && command.direction == direction;
        self.answers.iter().any(|(command, answer)| of(command) && *answer == Answer::Done)
    }
}

proptest! {
    // A failure prints its smallest input; it leaves no file behind.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_a_saga_ends_well(ops in prop::collection::vec(op(), 0..40)) {
        let mut life = Life::new();
        ops.iter().for_each(|op| life.happens(op));
        life.settle();
        let instance = life.instance();
        prop_assert_eq!(instance.wake_at(), None);
        match instance.ended().unwrap() {
            Ended::Completed => {
                prop_assert!(trip().steps().iter().all(|step| life.is_done(step.slug(), Direction::Do)));
                prop_assert!(life.sent.iter().all(|command| command.direction == Direction::Do));
            }
            Ended::Unwound(_) => {
                prop_assert!(!life.is_done("charge-card", Direction::Do));
                prop_assert!(!life.is_sent("send-tickets", Direction::Do));
                for step in ["reserve-room", "reserve-seat"] {
                    let refused = instance.progress(step).unwrap().did == saga::Did::Refused;
                    prop_assert!(refused || life.is_done(step, Direction::Undo));
                }
            }
        }
        prop_assert_eq!(trip().replay(at_s(30), SAGA, to_lisbon(), &life.log), Ok(instance));
    }
}

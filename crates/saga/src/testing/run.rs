//! One story, told as given, when, then.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    command::{CommandId, Direction},
    definition::{Data, Saga, Step},
    instance::{Ended, Instance, Phase, Why},
    testing::world::SAGA,
    transition::{Answer, Input, Transition},
};

/// One run of a saga, told step by step; steps are named as in the definition.
///
/// Each command must be told, by value, before the next thing happens; a command asked again must equal the first
/// asking, and is only counted. Everything that is not as told ends the test with the story so far.
#[derive(Debug)]
#[must_use = "a story ends with `completes`, `unwinds` or `parks`"]
pub struct Run<D: Data> {
    saga: Saga<D>,
    instance: Instance<D>,
    now: Timestamp,
    untold: Vec<(CommandId, D::Command)>,
    asked: BTreeMap<CommandId, (D::Command, usize)>,
    story: Vec<String>,
}

impl<D: Data> Run<D> {
    /// The id of the saga in every story.
    pub const SAGA: Uuid = SAGA;

    /// Given: a saga that starts with this data, at the Unix epoch.
    pub fn of(saga: &Saga<D>, data: D) -> Self {
        let now = Timestamp::UNIX_EPOCH;
        let (instance, transition) = saga.start(Self::SAGA, data, now);
        let mut run = Self { saga: saga.clone(), instance, now, untold: vec![], asked: BTreeMap::new(), story: vec![] };
        run.tell("the saga starts");
        run.take(transition);
        run
    }

    /// Then: a step is asked for with the command that `expected` makes of its id.
    pub fn asks(self, step: &str, expected: impl FnOnce(&CommandId) -> D::Command) -> Self {
        self.sent(step, Direction::Do, expected)
    }

    /// Then: the undo of a step is asked for.
    pub fn asks_to_undo(self, step: &str, expected: impl FnOnce(&CommandId) -> D::Command) -> Self {
        self.sent(step, Direction::Undo, expected)
    }

    /// Then: a step, or its undo, has been asked `times` times in all.
    pub fn has_asked(self, step: &str, direction: Direction, times: usize) -> Self {
        let command = self.newest(step, direction);
        let (_, asked) = &self.asked[&command];
        self.must_equal(&format!("how often {command} was asked"), asked, &times);
        self
    }

    /// When: a step is done.
    pub fn done(self, step: &str) -> Self {
        self.answered(step, Direction::Do, Answer::Done)
    }

    /// When: a step is refused.
    pub fn refused(self, step: &str, reason: D::Refusal) -> Self {
        self.answered(step, Direction::Do, Answer::Refused(reason))
    }

    /// When: a step is undone.
    pub fn undone(self, step: &str) -> Self {
        self.answered(step, Direction::Undo, Answer::Done)
    }

    /// When: nobody answers for a while. The saga is woken whenever it asked to be.
    pub fn waits(mut self, time: SignedDuration) -> Self {
        let until = self.now + time;
        while let Some(at) = self.instance.wake_at().filter(|at| *at <= until) {
            self.now = at;
            self = self.input("time passes", Input::Woken);
            if self.instance.wake_at().is_some_and(|next| next <= at) {
                self.fail("woken, it asks to be woken again at once");
            }
        }
        self.now = until;
        self
    }

    /// When: an operator lets a parked saga go on.
    pub fn resumed(self) -> Self {
        self.input("an operator resumes", Input::Resumed)
    }

    /// When: whoever it is for wants it undone.
    pub fn cancelled(self) -> Self {
        self.input("it is cancelled", Input::CancelRequested)
    }

    /// Then: every step is done and the saga has ended.
    pub fn completes(self) {
        self.must_be(&Phase::Ended(Ended::Completed));
    }

    /// Then: everything is undone and the saga has ended.
    pub fn unwinds(self, why: Why<D::Refusal>) {
        self.must_be(&Phase::Ended(Ended::Unwound(why)));
    }

    /// Then: a step after the pivot was refused, and the saga waits for an operator.
    pub fn parks(self, step: &str, reason: D::Refusal) -> Self {
        let step = self.step(step).slug().to_owned();
        self.must_be(&Phase::Parked { step, reason });
        self
    }

    /// The instance as it is now.
    pub fn instance(&self) -> &Instance<D> {
        &self.instance
    }

    fn sent(mut self, step: &str, direction: Direction, expected: impl FnOnce(&CommandId) -> D::Command) -> Self {
        let slug = self.step(step).slug().to_owned();
        let found = self.untold.iter().position(|(id, _)| id.step == slug && id.direction == direction);
        let Some(found) = found else { self.fail(&format!("no command to {direction} {step:?} went out")) };
        let (id, command) = self.untold.remove(found);
        self.must_equal(&id.to_string(), &command, &expected(&id));
        self
    }

    fn answered(self, step: &str, direction: Direction, answer: Answer<D::Refusal>) -> Self {
        let command = self.newest(step, direction);
        self.input(&format!("{command} is answered: {answer:?}"), Input::Answered { command, answer })
    }

    fn input(mut self, what: &str, input: Input<D::Refusal>) -> Self {
        self.must_have_told_all();
        self.tell(what);
        match self.saga.advance(&mut self.instance, input, self.now) {
            Ok(transition) => self.take(transition),
            Err(impossible) => self.fail(&impossible.to_string()),
        }
        self
    }

    fn take(&mut self, transition: Transition<D>) {
        for entry in &transition.log {
            self.tell(format!("    {:?}", entry.word));
        }
        for (id, command) in transition.commands {
            if let Some((first, times)) = self.asked.get_mut(&id) {
                *times += 1;
                let first = first.clone();
                self.must_equal(&format!("{id}, asked again"), &command, &first);
            } else {
                self.asked.insert(id.clone(), (command.clone(), 1));
                self.untold.push((id, command));
            }
        }
    }

    fn must_be(&self, phase: &Phase<D::Refusal>) {
        self.must_have_told_all();
        self.must_equal("the phase of the saga", self.instance.phase(), phase);
    }

    fn must_have_told_all(&self) {
        if let Some((id, command)) = self.untold.first() {
            self.fail(&format!("{id} went out and was not told: {command:?}"));
        }
    }

    fn step(&self, name: &str) -> &Step<D> {
        let step = self.saga.steps().iter().find(|step| step.name() == name);
        step.unwrap_or_else(|| self.fail(&format!("{:?} has no step {name:?}", self.saga.name())))
    }

    fn newest(&self, step: &str, direction: Direction) -> CommandId {
        let slug = self.step(step).slug();
        let of = self.asked.keys().filter(|id| id.step == slug && id.direction == direction);
        let newest = of.max_by_key(|id| id.attempt);
        newest.cloned().unwrap_or_else(|| self.fail(&format!("no command to {direction} {step:?} went out yet")))
    }

    fn tell(&mut self, what: impl fmt::Display) {
        self.story.push(format!("{} {what}", self.now));
    }

    fn must_equal<T: PartialEq + Debug>(&self, what: &str, is: &T, must_be: &T) {
        if is != must_be {
            self.fail(&format!("{what}\n  is      {is:?}\n  must be {must_be:?}"));
        }
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{what}\n\n{}\n", self.story.join("\n"));
    }
}

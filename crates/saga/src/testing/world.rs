//! One run: the participants of a saga answer as the plan says, and time passes when nobody has anything to say.

use std::collections::VecDeque;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    command::CommandId,
    definition::{Data, Saga},
    instance::Instance,
    testing::{
        exhaust::Reached,
        judge::Judge,
        plan::{Plan, Reply, Twice, When},
    },
    transition::{Answer, Input, Transition},
};

/// The saga of every run.
pub(super) const SAGA: Uuid = Uuid::from_u128(0x0190_a5b2_7c4e_7d3a_9f00_0000_0000_0001);

/// More inputs than any run needs.
const INPUTS_MAX: usize = 1_000;

/// When every run starts.
const START: Timestamp = Timestamp::UNIX_EPOCH;

/// An answer on its way.
struct Message<R> {
    command: CommandId,
    reply: Reply<R>,
}

struct World<'a, D: Data> {
    saga: &'a Saga<D>,
    plan: &'a Plan<D::Refusal>,
    instance: Instance<D>,
    judge: Judge<'a, D>,
    now: Timestamp,
    ready: VecDeque<Message<D::Refusal>>,
    held: Vec<Message<D::Refusal>>,
    happened: usize,
    reached: &'a mut Reached,
}

/// Lets one plan happen, from the start to the end and a little beyond. Returns how much happened.
pub(super) fn run<D: Data>(saga: &Saga<D>, data: &D, plan: &Plan<D::Refusal>, reached: &mut Reached) -> usize {
    let (instance, first) = saga.start(SAGA, data.clone(), START);
    let judge = Judge::new(saga, plan, &instance, first.clone(), START);
    let mut world = World {
        saga,
        plan,
        instance,
        judge,
        now: START,
        ready: VecDeque::new(),
        held: Vec::new(),
        happened: 0,
        reached,
    };
    world.ask(&first);
    for _ in 0..INPUTS_MAX {
        if !world.happens() {
            world.echo();
            world.judge.conclude(&world.instance, START);
            return world.happened;
        }
        world.happened += 1;
    }
    world.judge.fail("it never ends");
}

impl<D: Data> World<'_, D> {
    /// Lets the next thing happen; `false` if nothing is left to happen.
    fn happens(&mut self) -> bool {
        if self.plan.cancelled_after == Some(self.happened) && !self.judge.has_ended() {
            self.input(Input::CancelRequested);
            if !self.judge.has_ended() {
                self.quietly(Input::CancelRequested);
            }
        }
        self.release();
        if let Some(message) = self.ready.pop_front() {
            self.deliver(message);
        } else if let Some(at) = self.instance.wake_at() {
            self.now = self.now.max(at);
            self.input(Input::Woken);
        } else if !self.judge.has_ended() {
            // A saga that waits for nothing and has not ended is parked.
            self.input(Input::Resumed);
        } else {
            return false;
        }
        // Woken once more at the same time, it has nothing to do.
        if self.instance.wake_at().is_none_or(|at| at > self.now) {
            self.input(Input::Woken);
        }
        true
    }

    /// Every answer once more, a waking, a resumption and a cancellation: to a saga that has ended, nothing.
    fn echo(&mut self) {
        self.now += self.saga.deadline();
        for (command, answer) in self.judge.answers() {
            self.quietly(Input::Answered { command, answer });
        }
        self.quietly(Input::Woken);
        self.quietly(Input::Resumed);
        self.quietly(Input::CancelRequested);
    }

    fn quietly(&mut self, input: Input<D::Refusal>) {
        let before = self.instance.clone();
        let after = self.saga.advance(&mut self.instance, input, self.now);
        let nothing = Transition { commands: Vec::new(), ended: None, log: Vec::new() };
        if after != Ok(nothing) || self.instance != before {
            self.judge.fail("what must change nothing changed something");
        }
    }

    fn deliver(&mut self, Message { command, mut reply }: Message<D::Refusal>) {
        let answer = reply.refusal.clone().map_or(Answer::Done, Answer::Refused);
        let again = reply.twice.take();
        let message = Message { command: command.clone(), reply };
        match again {
            Some(Twice::AtOnce) => self.ready.push_front(message),
            Some(Twice::Later) => self.ready.push_back(message),
            None => {}
        }
        self.input(Input::Answered { command, answer });
    }

    fn input(&mut self, input: Input<D::Refusal>) {
        let before = self.instance.clone();
        match self.saga.advance(&mut self.instance, input.clone(), self.now) {
            Ok(transition) => {
                if transition.log.is_empty() != (before == self.instance) {
                    self.judge.fail(&format!(
                        "{input:?} changed the instance without a word in the log, or the other way round"
                    ));
                }
                self.judge.check(&self.instance, transition.clone(), Some(input), self.now, self.reached);
                self.ask(&transition);
            }
            Err(impossible) => self.judge.fail(&format!("{input:?}: {impossible}")),
        }
    }

    /// The participants hear what they are told to do.
    fn ask(&mut self, transition: &Transition<D>) {
        let mut heard: Vec<_> = transition.commands.iter().map(|(command, _)| command).collect();
        heard.sort_by_key(|command| self.plan.rank(&command.step));
        for command in heard {
            let message = Message { command: command.clone(), reply: self.plan.reply(command) };
            match message.reply.when {
                When::AtOnce => self.ready.push_back(message),
                When::AskedAgain if self.judge.times(command) == 2 => self.ready.push_back(message),
                When::PastDeadline | When::BeforeUndone | When::AfterUndone | When::AfterEnd
                    if self.judge.times(command) == 1 =>
                {
                    self.held.push(message);
                }
                When::AskedAgain | When::PastDeadline | When::BeforeUndone | When::AfterUndone | When::AfterEnd => {}
            }
        }
    }

    /// Sends the held answers whose moment has come.
    fn release(&mut self) {
        for index in (0..self.held.len()).rev() {
            let message = &self.held[index];
            let has_come = match message.reply.when {
                When::AtOnce | When::AskedAgain => true,
                When::PastDeadline => self.judge.is_past_deadline(self.now),
                When::BeforeUndone => self.judge.has_turned(),
                When::AfterUndone => self.judge.is_undone(&message.command.step),
                When::AfterEnd => self.judge.has_ended(),
            };
            if has_come {
                let message = self.held.remove(index);
                self.ready.push_front(message);
            }
        }
    }
}

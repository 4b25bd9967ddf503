//! What must hold in every run. The judge keeps its own book of what was sent and what was answered, and concludes from
//! that book alone what must follow: which commands, in which transition, when to wake, how to end.

mod conclude;

use std::{collections::BTreeMap, fmt::Debug};

use jiff::{SignedDuration, Timestamp};

use crate::{
    command::{CommandId, Direction, NotACommandId},
    definition::{Data, Kind, Saga},
    instance::{Ended, Instance, Why},
    log::Word,
    testing::{
        exhaust::Reached,
        plan::{Plan, pivot, undoable},
    },
    transition::{Answer, Input, Transition},
};

/// How long after each asking the next one is due, in seconds; the last for ever.
const PAUSES_S: [i64; 6] = [2, 4, 8, 16, 32, 60];

/// More inputs than anyone wants to read of a run that fails.
const STORY_MAX: usize = 100;

pub(super) struct Judge<'a, D: Data> {
    saga: &'a Saga<D>,
    plan: &'a Plan<D::Refusal>,
    data: D,
    deadline: Timestamp,
    sent: BTreeMap<CommandId, Sent>,
    /// The first answer to each command.
    told: BTreeMap<CommandId, Answer<D::Refusal>>,
    turned: Option<Why<D::Refusal>>,
    cancel_requested: bool,
    ended: Option<Ended<D::Refusal>>,
    history: Vec<Happened<D>>,
}

/// An input and what followed from it. Without an input: the start.
struct Happened<D: Data> {
    at: Timestamp,
    input: Option<Input<D::Refusal>>,
    transition: Transition<D>,
}

type Answered<D> = (CommandId, Answer<<D as Data>::Refusal>);

/// How often a command was sent, and when last.
struct Sent {
    times: usize,
    at: Timestamp,
}

impl<'a, D: Data> Judge<'a, D> {
    pub(super) fn new(
        saga: &'a Saga<D>,
        plan: &'a Plan<D::Refusal>,
        instance: &Instance<D>,
        first: Transition<D>,
        now: Timestamp,
    ) -> Self {
        let mut judge = Self {
            saga,
            plan,
            data: instance.data.clone(),
            deadline: now + saga.deadline(),
            sent: BTreeMap::new(),
            told: BTreeMap::new(),
            turned: None,
            cancel_requested: false,
            ended: None,
            history: Vec::new(),
        };
        judge.check(instance, first, None, now, &mut Reached::default());
        judge
    }

    pub(super) fn has_turned(&self) -> bool {
        self.turned.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    pub(super) fn is_undone(&self, step: &str) -> bool {
        self.told.keys().any(|command| command.step == step && command.direction == Direction::Undo)
    }

    pub(super) fn is_past_deadline(&self, now: Timestamp) -> bool {
        self.deadline <= now
    }

    /// How often the command was sent.
    pub(super) fn times(&self, command: &CommandId) -> usize {
        self.sent.get(command).map_or(0, |sent| sent.times)
    }

    /// All answers given so far.
    pub(super) fn answers(&self) -> Vec<Answered<D>> {
        self.told.iter().map(|(command, answer)| (command.clone(), answer.clone())).collect()
    }

    /// Checks one transition, made by `input`, against the book.
    pub(super) fn check(
        &mut self,
        instance: &Instance<D>,
        transition: Transition<D>,
        input: Option<Input<D::Refusal>>,
        now: Timestamp,
        reached: &mut Reached,
    ) {
        let already_over = self.ended.is_some();
        let news = self.news(input.as_ref());
        let due = match &input {
            Some(input) => self.take(input, now, reached),
            None => self.next(),
        };
        self.history.push(Happened { at: now, input, transition: transition.clone() });
        let ids: Vec<_> = transition.commands.iter().map(|(id, _)| id.clone()).collect();
        self.must_equal("the commands sent", &ids, &due);
        for (id, command) in &transition.commands {
            self.must_equal("a command", command, &self.make(id));
            self.must_equal("a command id read back", &id.to_string().parse().as_ref(), &Ok::<_, &NotACommandId>(id));
            let times = self.times(id) + 1;
            self.sent.insert(id.clone(), Sent { times, at: now });
        }
        if !already_over {
            self.ended = self.end();
            self.must_equal("the end", &transition.ended, &self.ended);
            match &self.ended {
                Some(Ended::Completed) => reached.case("completed".to_owned()),
                Some(Ended::Unwound(_)) => reached.case("unwound".to_owned()),
                None => {}
            }
        }
        self.must_equal("the end as the instance says", &instance.ended(), &self.ended.as_ref());
        self.must_equal("the waking", &instance.wake_at(), &self.wake_at());
        self.must_equal("the cancellation noted", &instance.is_cancel_requested(), &self.cancel_requested);
        self.check_log(&transition, news.as_ref(), instance, now);
    }

    /// Notes an input, and says which commands it must send.
    fn take(&mut self, input: &Input<D::Refusal>, now: Timestamp, reached: &mut Reached) -> Vec<CommandId> {
        match input {
            Input::Answered { command, .. } if self.told.contains_key(command) => {
                reached.case(format!("answered twice: {}", name(command)));
                Vec::new()
            }
            Input::Answered { command, .. } if self.ended.is_some() => {
                reached.case(format!("answered after the end: {}", name(command)));
                Vec::new()
            }
            Input::Answered { command, answer } => {
                self.told.insert(command.clone(), answer.clone());
                self.take_first(command, answer, now, reached)
            }
            Input::Woken if self.is_turned_by_time(now) => {
                let silent = undoable(self.saga).filter(|step| self.answer(step.slug(), Direction::Do).is_none());
                let silent: Vec<_> = silent.map(|step| step.slug()).collect();
                reached.case(format!("timed out without: {}", silent.join(", ")));
                self.turn(Why::TimedOut)
            }
            Input::Woken => {
                let due = self.open().filter(|(_, again_at)| *again_at <= now).map(|(id, _)| id);
                let mut due: Vec<_> = due.collect();
                // Side by side, the order of the definition counts.
                due.sort_by_key(|id| self.saga.steps().iter().position(|step| step.slug() == id.step));
                due.iter().for_each(|id| reached.case(format!("asked again: {}", name(id))));
                due
            }
            Input::Resumed => {
                let Some(refused) = self.parked().filter(|_| self.turned.is_none()) else { return Vec::new() };
                reached.case(format!("resumed: {}", refused.step));
                vec![CommandId { attempt: refused.attempt + 1, ..refused.clone() }]
            }
            Input::CancelRequested => self.cancel(reached),
        }
    }

    /// The answer, if nobody gave it before.
    fn news(&self, input: Option<&Input<D::Refusal>>) -> Option<Answered<D>> {
        match input? {
            Input::Answered { command, .. } if self.ended.is_some() || self.told.contains_key(command) => None,
            Input::Answered { command, answer } => Some((command.clone(), answer.clone())),
            Input::Woken | Input::Resumed | Input::CancelRequested => None,
        }
    }

    fn take_first(
        &mut self,
        command: &CommandId,
        answer: &Answer<D::Refusal>,
        now: Timestamp,
        reached: &mut Reached,
    ) -> Vec<CommandId> {
        let step = &command.step;
        let is_late = self.turned.is_some() && command.direction == Direction::Do;
        if self.is_past_deadline(now) && !is_late {
            reached.case(format!("past the deadline: {}", name(command)));
        }
        if self.times(command) > 1 && !is_late {
            reached.case(format!("answered when asked again: {}", name(command)));
        }
        let when = if self.is_undone(step) { "after its undo" } else { "late" };
        match answer {
            Answer::Done if is_late => reached.case(format!("done {when}: {step}")),
            Answer::Refused(_) if is_late => reached.case(format!("refused {when}: {step}")),
            Answer::Refused(reason) => {
                reached.case(format!("refused: {step}"));
                let is_forward = self.saga.step(step).is_some_and(|step| matches!(step.kind, Kind::Forward));
                if !is_forward {
                    return self.turn(Why::Refused { step: step.clone(), reason: reason.clone() });
                }
            }
            Answer::Done if self.turned.is_none() && self.open().next().is_none() => return self.next(),
            Answer::Done => {}
        }
        Vec::new()
    }

    /// A cancellation turns the saga as long as time could; later it is noted.
    fn cancel(&mut self, reached: &mut Reached) -> Vec<CommandId> {
        let moment = match (&self.turned, self.can_time_turn()) {
            (Some(_), _) => "while undoing",
            (None, true) => "before the pivot",
            (None, false) if self.answer(pivot(self.saga).slug(), Direction::Do).is_none() => "at the pivot",
            (None, false) => "after the pivot",
        };
        reached.case(format!("cancelled {moment}"));
        self.cancel_requested = self.turned.is_none();
        if self.can_time_turn() { self.turn(Why::Cancelled) } else { Vec::new() }
    }

    /// The undos of all that may have been done.
    fn turn(&mut self, why: Why<D::Refusal>) -> Vec<CommandId> {
        self.turned = Some(why);
        let undone = undoable(self.saga).filter(|step| self.is_sent(step.slug(), Direction::Do));
        let undone = undone.filter(|step| !matches!(self.answer(step.slug(), Direction::Do), Some(Answer::Refused(_))));
        undone.map(|step| self.id(step.slug(), Direction::Undo)).collect()
    }

    /// The commands that follow once all that was sent is done.
    fn next(&self) -> Vec<CommandId> {
        let unsent = || self.saga.steps().iter().filter(|step| !self.is_sent(step.slug(), Direction::Do));
        let begin = unsent().filter(|step| step.is_undoable());
        let ids: Vec<_> = begin.map(|step| self.id(step.slug(), Direction::Do)).collect();
        if ids.is_empty() { unsent().take(1).map(|step| self.id(step.slug(), Direction::Do)).collect() } else { ids }
    }

    /// How the saga must have ended by now.
    fn end(&self) -> Option<Ended<D::Refusal>> {
        if self.open().next().is_some() {
            return None;
        }
        if let Some(why) = &self.turned {
            return Some(Ended::Unwound(why.clone()));
        }
        let all = self.saga.steps().iter().all(|step| self.answer(step.slug(), Direction::Do) == Some(&Answer::Done));
        all.then_some(Ended::Completed)
    }

    /// The commands waited for, and when each is asked again.
    fn open(&self) -> impl Iterator<Item = (CommandId, Timestamp)> {
        let waited_for = |id: &CommandId| self.turned.is_none() || id.direction == Direction::Undo;
        let open = self.sent.iter().filter(move |(id, _)| waited_for(id) && !self.told.contains_key(*id));
        open.map(|(id, sent)| {
            let pause_s = PAUSES_S[(sent.times - 1).min(PAUSES_S.len() - 1)];
            (id.clone(), sent.at + SignedDuration::from_secs(pause_s))
        })
    }

    fn wake_at(&self) -> Option<Timestamp> {
        let turns_at = (self.ended.is_none() && self.can_time_turn()).then_some(self.deadline);
        self.open().map(|(_, again_at)| again_at).chain(turns_at).min()
    }

    fn is_turned_by_time(&self, now: Timestamp) -> bool {
        self.can_time_turn() && self.deadline <= now
    }

    fn can_time_turn(&self) -> bool {
        let begun_only = self.sent.keys().all(|id| self.saga.step(&id.step).is_some_and(|step| step.is_undoable()));
        self.turned.is_none() && begun_only
    }

    /// The log says what was sent, what was answered for the first time, and nothing else.
    fn check_log(
        &self,
        transition: &Transition<D>,
        news: Option<&Answered<D>>,
        instance: &Instance<D>,
        now: Timestamp,
    ) {
        let written: usize = self.history.iter().map(|happened| happened.transition.log.len()).sum();
        self.must_equal("the number of log entries", &(instance.seq() as usize), &written);
        self.must_equal("the time of log entries", &transition.log.iter().all(|entry| entry.at == now), &true);
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        for entry in &transition.log {
            match &entry.word {
                Word::Asked { command } => asked.push((command, 1)),
                Word::AskedAgain { command } => asked.push((command, 2)),
                Word::Done { command } => answered.push((command.clone(), Answer::Done)),
                Word::Refused { command, reason } => answered.push((command.clone(), Answer::Refused(reason.clone()))),
                Word::TimedOut | Word::Parked { .. } | Word::Resumed => {}
                Word::CancelRequested | Word::Completed | Word::Unwound { .. } => {}
            }
        }
        let sent = transition.commands.iter().map(|(id, _)| (id, self.times(id).min(2)));
        self.must_equal("the askings in the log", &asked, &sent.collect());
        self.must_equal("the answers in the log", &answered, &news.into_iter().cloned().collect());
    }

    fn id(&self, step: &str, direction: Direction) -> CommandId {
        CommandId { saga: super::world::SAGA, step: step.to_owned(), direction, attempt: 1 }
    }

    fn make(&self, id: &CommandId) -> D::Command {
        let step = self.saga.step(&id.step).expect("only ids that the book expects come here");
        match (id.direction, &step.kind) {
            (Direction::Undo, Kind::SideBySide { undo }) => undo(&self.data, id),
            (Direction::Do, _) => (step.run)(&self.data, id),
            (Direction::Undo, Kind::Pivot | Kind::Forward) => self.fail("a step that has no undo is to be undone"),
        }
    }

    /// The command whose refusal parked the saga.
    fn parked(&self) -> Option<&CommandId> {
        let newest = |id: &&CommandId| self.newest(&id.step, Direction::Do) == Some(*id);
        self.sent.keys().filter(newest).find(|id| matches!(self.told.get(*id), Some(Answer::Refused(_))))
    }

    fn is_sent(&self, step: &str, direction: Direction) -> bool {
        self.sent.contains_key(&self.id(step, direction))
    }

    /// The answer to the newest attempt of a command.
    fn answer(&self, step: &str, direction: Direction) -> Option<&Answer<D::Refusal>> {
        self.told.get(self.newest(step, direction)?)
    }

    fn newest(&self, step: &str, direction: Direction) -> Option<&CommandId> {
        let of = |id: &&CommandId| id.step == step && id.direction == direction;
        self.sent.keys().filter(of).max_by_key(|id| id.attempt)
    }

    fn must_equal<T: PartialEq + Debug>(&self, what: &str, is: &T, must_be: &T) {
        if is != must_be {
            self.fail(&format!("{what}\n  is      {is:?}\n  must be {must_be:?}"));
        }
    }

    /// Ends the test with the whole story.
    pub(super) fn fail(&self, what: &str) -> ! {
        let mut story = format!("{what}\n\nanswers first: {}", self.plan.quickest.join(", "));
        self.plan.faults.iter().for_each(|fault| story += &format!("\nplanned: {fault:?}"));
        for Happened { at, input, transition } in self.history.iter().take(STORY_MAX) {
            story += &match input {
                None => format!("\n{at} start"),
                Some(input) => format!("\n{at} {input:?}"),
            };
            transition.log.iter().for_each(|entry| story += &format!("\n    {:?}", entry.word));
        }
        panic!("{story}\n");
    }
}

/// The command as it stands in the names of cases.
pub(super) fn name(command: &CommandId) -> String {
    format!("{} {}", command.direction, command.step)
}

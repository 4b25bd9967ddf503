//! The machine: from a stored instance and one input to the commands that follow. It is the only place that decides to
//! unwind, and it decides by these rules:
//!
//! 1. Steps side by side are asked together. When all are done, the pivot is asked, then one step after the other.
//! 2. Before the pivot, a refusal or the deadline turns the saga. At the pivot, only its refusal does; after it, nothing.
//! 3. A turned saga undoes, all at once, every step that is done or *may* be: unknown is treated as done.
//!    A step that was definitely refused did nothing and is not undone.
//! 4. A turned saga ends when every undo is answered. Undos are never refused.
//! 5. What a saga waits for it asks again, with the same command id, in every phase.
//! 6. An answer counts once. What comes late is written down, what comes twice is ignored.
//! 7. A cancellation turns the saga before the pivot is asked. From then on it is noted and changes nothing: the pivot's
//!    answer decides, and what is completed is undone by another saga.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    command::{CommandId, Direction},
    definition::{Data, Kind, Saga, Step},
    instance::{Asking, Did, Ended, Instance, Phase, Progress, Undo, Why},
    log::{LogEntry, Word},
    transition::{Answer, Impossible, Input, Transition},
};

/// How long after the first asking a command is asked again; doubled from asking to asking.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// The longest time between two askings of a command.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(60);

impl<D: Data> Saga<D> {
    /// Starts a saga: its first commands go out.
    pub fn start(&self, id: Uuid, data: D, now: Timestamp) -> (Instance<D>, Transition<D>) {
        self.start_until(now + self.deadline(), id, data, now)
    }

    /// The same, for one that may take until `deadline` to reach its pivot, whatever its definition says.
    pub fn start_until(&self, deadline: Timestamp, id: Uuid, data: D, now: Timestamp) -> (Instance<D>, Transition<D>) {
        let mut instance = Instance::new(id, data, deadline);
        let mut advance = Advance::new(self, &mut instance, now);
        advance.go_on();
        let transition = advance.transition;
        (instance, transition)
    }

    /// Takes one input. A saga that has ended ignores whatever comes.
    ///
    /// # Errors
    /// [`Impossible`] if the input has no place in this saga: the message is at fault, not the saga.
    pub fn advance(
        &self,
        instance: &mut Instance<D>,
        input: Input<D::Refusal>,
        now: Timestamp,
    ) -> Result<Transition<D>, Impossible> {
        let mut advance = Advance::new(self, instance, now);
        if advance.instance.ended().is_none() {
            match input {
                Input::Answered { command, answer } => advance.answered(command, answer)?,
                Input::Woken => advance.woken(),
                Input::Resumed => advance.resumed(),
                Input::CancelRequested => advance.cancel_requested(),
            }
        }
        Ok(advance.transition)
    }
}

/// One input at work.
struct Advance<'a, D: Data> {
    saga: &'a Saga<D>,
    instance: &'a mut Instance<D>,
    now: Timestamp,
    transition: Transition<D>,
}

impl<'a, D: Data> Advance<'a, D> {
    fn new(saga: &'a Saga<D>, instance: &'a mut Instance<D>, now: Timestamp) -> Self {
        Self { saga, instance, now, transition: Transition { commands: Vec::new(), ended: None, log: Vec::new() } }
    }

    fn answered(&mut self, command: CommandId, answer: Answer<D::Refusal>) -> Result<(), Impossible> {
        if !self.is_current(&command)? {
            return Ok(());
        }
        match (command.direction, answer) {
            (Direction::Do, Answer::Done) => self.done(command),
            (Direction::Do, Answer::Refused(reason)) => self.refused(command, reason),
            (Direction::Undo, Answer::Done) => self.undone(command),
            (Direction::Undo, Answer::Refused(_)) => return Err(Impossible::UndoRefused(command)),
        }
        Ok(())
    }

    /// Whether the command is one this saga has asked: `false` if it belongs to an older attempt.
    fn is_current(&self, command: &CommandId) -> Result<bool, Impossible> {
        if command.saga != self.instance.id {
            return Err(Impossible::OtherSaga(command.clone()));
        }
        if self.saga.step(&command.step).and_then(|step| step.maker(command.direction)).is_none() {
            return Err(Impossible::UnknownStep(command.clone()));
        }
        let never_asked = || Err(Impossible::NeverAsked(command.clone()));
        let Some(progress) = self.instance.progress(&command.step) else { return never_asked() };
        if command.direction == Direction::Undo && progress.undo == Undo::No {
            return never_asked();
        }
        match command.attempt.cmp(&progress.attempt) {
            Ordering::Less => Ok(false),
            Ordering::Equal => Ok(true),
            Ordering::Greater => never_asked(),
        }
    }

    fn done(&mut self, command: CommandId) {
        if !self.settle(&command, Did::Done) {
            return;
        }
        self.log(Word::Done { command });
        match self.instance.phase {
            Phase::Begun | Phase::AtPivot | Phase::PastPivot => self.go_on(),
            // Late: the undo of this step is under way already, and only its answer counts.
            Phase::Unwinding(_) | Phase::Parked { .. } | Phase::Ended(_) => {}
        }
    }

    fn refused(&mut self, command: CommandId, reason: D::Refusal) {
        if !self.settle(&command, Did::Refused) {
            return;
        }
        let step = command.step.clone();
        self.log(Word::Refused { command, reason: reason.clone() });
        match self.instance.phase {
            Phase::Begun | Phase::AtPivot => self.unwind(Why::Refused { step, reason }),
            Phase::PastPivot => {
                self.log(Word::Parked { step: step.clone() });
                self.instance.phase = Phase::Parked { step, reason };
            }
            // Late: its undo was sent all the same, for nobody knew, and is waited for.
            Phase::Unwinding(_) | Phase::Parked { .. } | Phase::Ended(_) => {}
        }
    }

    fn undone(&mut self, command: CommandId) {
        let Some(progress) = self.instance.steps.get_mut(&command.step) else { return };
        if progress.undo != Undo::Asked {
            return;
        }
        progress.undo = Undo::Done;
        progress.asking = None;
        self.log(Word::Done { command });
        self.end_if_undone();
    }

    /// Writes down the first answer to a step; `false` if there was one before.
    fn settle(&mut self, command: &CommandId, did: Did) -> bool {
        let Some(progress) = self.instance.steps.get_mut(&command.step) else { return false };
        if progress.did != Did::Asked {
            return false;
        }
        progress.did = did;
        if progress.undo == Undo::No {
            progress.asking = None;
        }
        true
    }

    fn woken(&mut self) {
        if self.instance.turns_at().is_some_and(|deadline| deadline <= self.now) {
            self.log(Word::TimedOut);
            self.unwind(Why::TimedOut);
        } else {
            self.ask_again();
        }
    }

    fn resumed(&mut self) {
        let Phase::Parked { step, .. } = &self.instance.phase else { return };
        let Some(step) = self.saga.step(step) else { return };
        self.log(Word::Resumed);
        self.instance.phase = Phase::PastPivot;
        let attempt = self.instance.progress(step.slug()).map_or(1, |refused| refused.attempt + 1);
        self.ask(step, attempt);
    }

    fn cancel_requested(&mut self) {
        if self.instance.cancel_requested || matches!(self.instance.phase, Phase::Unwinding(_)) {
            return;
        }
        self.instance.cancel_requested = true;
        self.log(Word::CancelRequested);
        if self.instance.phase == Phase::Begun {
            self.unwind(Why::Cancelled);
        }
    }

    /// Asks what follows, once nothing is waited for any more; ends the saga if nothing does.
    fn go_on(&mut self) {
        if self.instance.is_waiting() {
            return;
        }
        let ahead = self.saga.ahead_of(self.instance);
        let Some(next) = ahead.first() else { return self.end(Ended::Completed) };
        let (phase, together) = match next.kind {
            Kind::SideBySide { .. } => (Phase::Begun, ahead.iter().take_while(|step| step.is_undoable()).count()),
            Kind::Pivot => (Phase::AtPivot, 1),
            Kind::Forward => (Phase::PastPivot, 1),
        };
        self.instance.phase = phase;
        for step in &ahead[..together] {
            self.ask(step, 1);
        }
    }

    /// Turns the saga: asks for the undo of all that was or may have been done.
    fn unwind(&mut self, why: Why<D::Refusal>) {
        self.instance.phase = Phase::Unwinding(why);
        for step in self.saga.steps().iter().filter(|step| step.is_undoable()) {
            let progress = self.instance.steps.get_mut(step.slug());
            if let Some(progress @ Progress { did: Did::Asked | Did::Done, .. }) = progress {
                progress.undo = Undo::Asked;
                progress.asking = None;
                self.send(step);
            }
        }
        self.end_if_undone();
    }

    fn end_if_undone(&mut self) {
        if let Phase::Unwinding(why) = &self.instance.phase
            && !self.instance.is_waiting()
        {
            self.end(Ended::Unwound(why.clone()));
        }
    }

    fn end(&mut self, ended: Ended<D::Refusal>) {
        self.log(match &ended {
            Ended::Completed => Word::Completed,
            Ended::Unwound(why) => Word::Unwound { why: why.clone() },
        });
        self.instance.phase = Phase::Ended(ended.clone());
        self.transition.ended = Some(ended);
    }

    fn ask(&mut self, step: &Step<D>, attempt: u32) {
        let asked = Progress { attempt, did: Did::Asked, undo: Undo::No, asking: None };
        self.instance.steps.insert(step.slug().to_owned(), asked);
        self.send(step);
    }

    fn ask_again(&mut self) {
        for step in self.saga.steps() {
            let asking = self.instance.progress(step.slug()).and_then(|progress| progress.asking);
            if asking.is_some_and(|asking| asking.again_at <= self.now) {
                self.send(step);
            }
        }
    }

    /// Sends the command that a step waits for, the first time or again: the same id, and so the same command.
    fn send(&mut self, step: &Step<D>) {
        let Some(progress) = self.instance.steps.get_mut(step.slug()) else { return };
        let times = progress.asking.map_or(1, |asking| asking.times.saturating_add(1));
        progress.asking = Some(Asking { times, again_at: self.now + pause_after(times) });
        let command = progress.command(self.instance.id, step.slug());
        let make = step.maker(command.direction).expect("only steps that can be undone are asked to be");
        self.transition.commands.push((command.clone(), make(&self.instance.data, &command)));
        self.log(if times == 1 { Word::Asked { command } } else { Word::AskedAgain { command } });
    }

    fn log(&mut self, word: Word<D::Refusal>) {
        self.instance.seq += 1;
        self.transition.log.push(LogEntry { seq: self.instance.seq, at: self.now, word });
    }
}

/// 2 s after the first asking, 4 s after the second, and so on up to a minute. Without jitter: the same inputs give the
/// same state.
fn pause_after(times: u32) -> SignedDuration {
    let factor = 1_i32.checked_shl(times - 1).filter(|factor| *factor > 0).unwrap_or(i32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

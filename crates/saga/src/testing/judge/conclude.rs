//! What must hold of a run that is over.

use jiff::Timestamp;

use super::{Happened, Judge};
use crate::{
    command::Direction,
    definition::Data,
    instance::{Ended, Instance},
    log::LogEntry,
    testing::plan::undoable,
    transition::Answer,
};

impl<D: Data> Judge<'_, D> {
    /// The safety of a finished run, said once more without the book's own conclusions; and the replays.
    pub(in crate::testing) fn conclude(self, instance: &Instance<D>, start: Timestamp) {
        match &self.ended {
            None => self.fail("it has not ended"),
            Some(Ended::Completed) => {
                let undos = self.sent.keys().filter(|id| id.direction == Direction::Undo).count();
                self.must_equal("the undos of a completed saga", &undos, &0);
                let done = self.told.values().filter(|answer| **answer == Answer::Done).count();
                self.must_equal("the steps done", &done, &self.saga.steps().len());
            }
            Some(Ended::Unwound(_)) => {
                for step in undoable(self.saga).map(|step| step.slug()) {
                    let refused = matches!(self.answer(step, Direction::Do), Some(Answer::Refused(_)));
                    let undone = self.answer(step, Direction::Undo) == Some(&Answer::Done);
                    self.must_equal("each step asked is undone or was refused", &(refused || undone), &true);
                }
            }
        }
        let log: Vec<LogEntry<_>> = self.history.iter().flat_map(|happened| happened.transition.log.clone()).collect();
        let replayed = self.saga.replay(instance.deadline(), instance.id, self.data.clone(), &log);
        self.must_equal("the instance replayed from its log", &replayed.as_ref(), &Ok(instance));
        let (mut again, first) = self.saga.start(instance.id, self.data.clone(), start);
        for Happened { at, input, transition } in &self.history {
            let made = match input {
                None => Ok(first.clone()),
                Some(input) => self.saga.advance(&mut again, input.clone(), *at),
            };
            self.must_equal("a transition made again", &made.as_ref(), &Ok(transition));
        }
        self.must_equal("the instance made again", &again, instance);
    }
}

//! What goes into the machine and what comes out of it.

use crate::{command::CommandId, definition::Data, instance::Ended, log::LogEntry};

/// What can reach a saga.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<R> {
    /// A participant answered.
    Answered {
        /// The command it answers.
        command: CommandId,
        /// What it says.
        answer: Answer<R>,
    },
    /// [`Instance::wake_at`](crate::Instance::wake_at) has come. To be woken early or twice is harmless.
    Woken,
    /// An operator lets a parked saga go on.
    Resumed,
    /// Whoever it is for wants it undone. It counts as long as nothing is decided: before the pivot is asked, the saga
    /// turns; from then on it is only [noted](crate::Instance::is_cancel_requested). To request it twice is harmless.
    CancelRequested,
}

/// What a participant says to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<R> {
    /// Done, or undone.
    Done,
    /// Definitely not done, now or ever under this command id.
    Refused(R),
}

/// What follows from an input. It belongs in one transaction with the instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition<D: Data> {
    /// What must be sent.
    pub commands: Vec<(CommandId, D::Command)>,
    /// Set once: by the input that ended the saga.
    pub ended: Option<Ended<D::Refusal>>,
    /// What happened. Empty if and only if the instance has not changed.
    pub log: Vec<LogEntry<D::Refusal>>,
}

/// The input can have no place in this saga; the instance is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The answer belongs elsewhere.
    #[error("{0} is a command of another saga")]
    OtherSaga(CommandId),
    /// The definition knows no such command.
    #[error("{0} names a step this saga does not have, or cannot undo")]
    UnknownStep(CommandId),
    /// The answer comes before the question.
    #[error("{0} was answered but never asked")]
    NeverAsked(CommandId),
    /// Undos are never refused.
    #[error("{0} undoes a step and was refused")]
    UndoRefused(CommandId),
    /// The log given to [`Saga::replay`](crate::Saga::replay) is not whole.
    #[error("entry {seq} of the log is missing")]
    MissingEntry {
        /// The first missing number.
        seq: u32,
    },
}

//! What happened to a saga, word for word. The log is complete: replayed from the same data and deadline, it gives
//! the stored instance.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    command::CommandId,
    definition::{Data, Saga},
    instance::{Instance, Why},
    transition::{Answer, Impossible, Input},
};

/// One line of a saga's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEntry<R> {
    /// 1, 2, 3, ... without gaps within one saga.
    pub seq: u32,
    /// When it happened, as the machine was told.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub word: Word<R>,
}

/// What can happen to a saga.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum Word<R> {
    /// A command went out for the first time.
    Asked {
        /// The command.
        command: CommandId,
    },
    /// No answer came, so the same command went out again.
    AskedAgain {
        /// The command.
        command: CommandId,
    },
    /// A command was answered with done. Late answers are here too; duplicates are not.
    Done {
        /// The command.
        command: CommandId,
    },
    /// A command was refused.
    Refused {
        /// The command.
        command: CommandId,
        /// What its participant said.
        reason: R,
    },
    /// The deadline came before the pivot was reached.
    TimedOut,
    /// A step after the pivot was refused; an operator must look.
    Parked {
        /// The step, as a slug.
        step: String,
    },
    /// An operator let the saga go on.
    Resumed,
    /// It was asked to cancel.
    CancelRequested,
    /// The end: every step is done.
    Completed,
    /// The end: everything is undone.
    Unwound {
        /// Why it turned.
        why: Why<R>,
    },
}

impl<D: Data> Saga<D> {
    /// Rebuilds an instance that was begun with this deadline from its log alone, to compare it with the stored one.
    ///
    /// # Errors
    /// [`Impossible::MissingEntry`] if the log has a gap or no first entry; otherwise what [`Saga::advance`] says.
    pub fn replay(
        &self,
        deadline: Timestamp,
        id: Uuid,
        data: D,
        log: &[LogEntry<D::Refusal>],
    ) -> Result<Instance<D>, Impossible> {
        for (entry, seq) in log.iter().zip(1..) {
            if entry.seq != seq {
                return Err(Impossible::MissingEntry { seq });
            }
        }
        let first = log.first().ok_or(Impossible::MissingEntry { seq: 1 })?;
        let (mut instance, _) = self.start_until(deadline, id, data, first.at);
        for entry in log {
            // Entries that only say what followed from an input are written anew by that input.
            if let Some(input) = cause(&entry.word) {
                self.advance(&mut instance, input, entry.at)?;
            }
        }
        Ok(instance)
    }
}

/// The input that an entry stands for. One waking may have left several entries; to wake twice at once is harmless.
fn cause<R: Clone>(word: &Word<R>) -> Option<Input<R>> {
    match word {
        Word::Done { command } => Some(Input::Answered { command: command.clone(), answer: Answer::Done }),
        Word::Refused { command, reason } => {
            Some(Input::Answered { command: command.clone(), answer: Answer::Refused(reason.clone()) })
        }
        Word::AskedAgain { .. } | Word::TimedOut => Some(Input::Woken),
        Word::Resumed => Some(Input::Resumed),
        Word::CancelRequested => Some(Input::CancelRequested),
        Word::Asked { .. } | Word::Parked { .. } | Word::Completed | Word::Unwound { .. } => None,
    }
}

//! A step of a saga, as the history of an order shows it.

use contracts::CommandId;
use saga::{Why, Word};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{checkout::wire, sagas::Refusal};

/// What happened to a saga.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "word", rename_all = "snake_case")]
#[schema(as = Step)]
pub(super) enum StepView {
    /// A command went out for the first time.
    Asked { command: CommandId },
    /// No answer came, so the same command went out again.
    AskedAgain { command: CommandId },
    /// A command was answered with done.
    Done { command: CommandId },
    /// A command was refused.
    Refused { command: CommandId, reason: Refusal },
    /// The deadline came before the point of no return.
    TimedOut,
    /// A step past the point of no return was refused; an operator must look.
    Parked { step: String },
    /// An operator let the saga go on.
    Resumed,
    /// Somebody wanted the order cancelled.
    CancelRequested,
    /// The end: every step is done.
    Completed,
    /// The end: everything is undone.
    Unwound {
        #[schema(inline)]
        why: WhyView,
    },
}

/// Why a saga turned.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum WhyView {
    /// A step was refused, the first of possibly several.
    Refused { step: String, reason: Refusal },
    /// The deadline came first.
    TimedOut,
    /// Somebody wanted the order cancelled.
    Cancelled,
}

impl From<Word<Refusal>> for StepView {
    fn from(word: Word<Refusal>) -> Self {
        match word {
            Word::Asked { command } => Self::Asked { command: wire(&command) },
            Word::AskedAgain { command } => Self::AskedAgain { command: wire(&command) },
            Word::Done { command } => Self::Done { command: wire(&command) },
            Word::Refused { command, reason } => Self::Refused { command: wire(&command), reason },
            Word::TimedOut => Self::TimedOut,
            Word::Parked { step } => Self::Parked { step },
            Word::Resumed => Self::Resumed,
            Word::CancelRequested => Self::CancelRequested,
            Word::Completed => Self::Completed,
            Word::Unwound { why } => Self::Unwound { why: why.into() },
        }
    }
}

impl From<Why<Refusal>> for WhyView {
    fn from(why: Why<Refusal>) -> Self {
        match why {
            Why::Refused { step, reason } => Self::Refused { step, reason },
            Why::TimedOut => Self::TimedOut,
            Why::Cancelled => Self::Cancelled,
        }
    }
}

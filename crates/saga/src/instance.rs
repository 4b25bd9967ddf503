//! One running saga: what must be stored between two inputs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    command::{CommandId, Direction},
    definition::Data,
};

/// One running saga. Stored as a whole, for example as JSON, by whoever runs it.
///
/// Only the machine changes it, except for `data`, which its owner may blank where no command to come needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Instance<D: Data> {
    /// The saga, and the first part of all its command ids.
    pub id: Uuid,
    /// What its commands are made from.
    pub data: D,
    pub(crate) phase: Phase<D::Refusal>,
    /// By slug; a step that was never asked is absent.
    pub(crate) steps: BTreeMap<String, Progress>,
    pub(crate) deadline: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cancel_requested: bool,
    /// The number of the newest log entry.
    pub(crate) seq: u32,
}

/// How far a saga is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase<R> {
    /// The steps side by side are asked. The only phase in which time can turn the saga.
    Begun,
    /// The pivot is asked, and only its answer decides.
    AtPivot,
    /// The pivot is done; what is left is asked until it is done.
    PastPivot,
    /// The undos are asked.
    Unwinding(Why<R>),
    /// A step after the pivot was refused. Only an operator goes on from here.
    Parked {
        /// The refused step, as a slug.
        step: String,
        /// Why it was refused.
        reason: R,
    },
    /// Nothing is asked any more, and whatever comes is ignored.
    Ended(Ended<R>),
}

/// How a saga ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended<R> {
    /// Every step is done.
    Completed,
    /// Every step that was or may have been done is undone.
    Unwound(Why<R>),
}

/// Why a saga turned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why<R> {
    /// A step was refused, the first of possibly several.
    Refused {
        /// The step, as a slug.
        step: String,
        /// What its participant said.
        reason: R,
    },
    /// The pivot was not reached by the deadline.
    TimedOut,
    /// It was cancelled before the pivot was asked.
    Cancelled,
}

/// How far one step is. Doing and undoing are two tracks: the answer to the one may come while the other is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Part of the command ids of the step.
    pub attempt: u32,
    /// What is known of its doing.
    pub did: Did,
    /// What is known of its undoing.
    pub undo: Undo,
    /// Set as long as the saga waits for an answer of this step.
    pub asking: Option<Asking>,
}

/// What is known of a step's doing. Only `Refused` says for certain that there is nothing to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// No answer yet: it may have been done.
    Asked,
    /// Done.
    Done,
    /// Definitely not done.
    Refused,
}

/// What is known of a step's undoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Not asked for.
    No,
    /// No answer yet.
    Asked,
    /// Undone.
    Done,
}

/// A question that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// How often it was asked.
    pub times: u32,
    /// When it is asked again.
    pub again_at: Timestamp,
}

impl<D: Data> Instance<D> {
    pub(crate) fn new(id: Uuid, data: D, deadline: Timestamp) -> Self {
        Self { id, data, phase: Phase::Begun, steps: BTreeMap::new(), deadline, cancel_requested: false, seq: 0 }
    }

    /// How far the saga is.
    pub fn phase(&self) -> &Phase<D::Refusal> {
        &self.phase
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<&Ended<D::Refusal>> {
        match &self.phase {
            Phase::Ended(ended) => Some(ended),
            Phase::Begun | Phase::AtPivot | Phase::PastPivot | Phase::Unwinding(_) | Phase::Parked { .. } => None,
        }
    }

    /// How far a step is, by its slug. `None`: it was never asked.
    pub fn progress(&self, step: &str) -> Option<&Progress> {
        self.steps.get(step)
    }

    /// Whether somebody wanted it undone before it had ended or turned. A saga that completes all the same was past the
    /// point where it could turn: to undo it is the work of another saga, which its owner starts.
    pub fn is_cancel_requested(&self) -> bool {
        self.cancel_requested
    }

    /// When the saga turns, if it has not reached its pivot by then.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// When the saga must be woken: the earliest of the deadline and the next asking. `None`: it waits for nothing.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let asking = self.steps.values().filter_map(|progress| progress.asking).map(|asking| asking.again_at);
        asking.chain(self.turns_at()).min()
    }

    /// The number of the newest entry of its log.
    pub fn seq(&self) -> u32 {
        self.seq
    }

    /// The deadline, while it counts.
    pub(crate) fn turns_at(&self) -> Option<Timestamp> {
        (self.phase == Phase::Begun).then_some(self.deadline)
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_waiting(&self) -> bool {
        self.steps.values().any(|progress| progress.asking.is_some())
    }
}

impl Progress {
    /// The command the step was last asked with.
    pub(crate) fn command(&self, saga: Uuid, step: &str) -> CommandId {
        let direction = match self.undo {
            Undo::No => Direction::Do,
            Undo::Asked | Undo::Done => Direction::Undo,
        };
        CommandId { saga, step: step.to_owned(), direction, attempt: self.attempt }
    }
}

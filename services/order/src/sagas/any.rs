//! A saga of whichever kind: how it is moved, and what the store must know of it.

use contracts::{OrderId, billing::PaymentToken, order::CancelReason, order::OrderEvent};
use jiff::{SignedDuration, Timestamp};
use saga::{Answer, CommandId, Data, Ended, Input, Instance, LogEntry, Phase, Transition};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::AdvanceError;
use crate::{
    cancellation::{self, CANCELLATION, Cancellation, ReclaimRefusal},
    checkout::{self, CHECKOUT, Checkout, Command},
    order::News,
};

/// A saga of an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AnySaga {
    Checkout(Instance<Checkout>),
    Cancellation(Instance<Cancellation>),
}

/// The kinds of sagas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SagaKind)]
pub(crate) enum Kind {
    /// An order is confirmed once its stock is held and its money taken.
    Checkout,
    /// An order that is paid for is cancelled.
    Cancellation,
}

/// Why a participant refused what a saga asked for: by the kind of saga.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = SagaRefusal)]
pub(crate) enum Refusal {
    Checkout(CancelReason),
    Cancellation(ReclaimRefusal),
}

/// What can reach a saga.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Moves {
    /// A command of a checkout was answered.
    Checkout(CommandId, Answer<CancelReason>),
    /// A command of a cancellation was answered.
    Cancellation(CommandId, Answer<ReclaimRefusal>),
    /// Its time has come.
    Woken,
    /// Somebody wants its order cancelled.
    CancelRequested,
    /// An operator lets it go on.
    Resumed,
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moved {
    pub(crate) commands: Vec<Command>,
    pub(crate) log: Option<Logged>,
    pub(crate) then: Then,
}

/// The entries of one transition, as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Logged {
    pub(crate) saga: Uuid,
    /// The number of the first.
    pub(crate) seq: u32,
    /// A JSON list of [`LogEntry`].
    pub(crate) entries: String,
}

/// What follows beyond the saga itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Then {
    /// Nothing: it goes on, or has ended before.
    Nothing,
    /// It has ended, and its order hears of it.
    Tell(News),
    /// The order is paid for and wanted no more: its cancellation begins.
    Cancel,
}

/// A saga as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: Uuid,
    pub(crate) kind: &'static str,
    pub(crate) order: OrderId,
    pub(crate) state: &'static str,
    pub(crate) instance: String,
    pub(crate) wake_at: Option<Timestamp>,
}

impl AnySaga {
    /// Begins the checkout of the order that `placed` placed, to reach its pivot within `deadline`; `None` for any other event.
    pub(crate) fn checkout(
        placed: &OrderEvent,
        token: PaymentToken,
        deadline: SignedDuration,
        now: Timestamp,
    ) -> Option<(Self, Moved)> {
        let (instance, transition) =
            CHECKOUT.start_until(now + deadline, Uuid::now_v7(), Checkout::of(placed, token)?, now);
        let moved = Moved::of(instance.id, transition, |_| Then::Nothing);
        Some((Self::Checkout(instance), moved))
    }

    /// Begins the cancellation of an order that is paid for.
    pub(crate) fn cancellation(order: OrderId, now: Timestamp) -> (Self, Moved) {
        let (instance, transition) = CANCELLATION.start(Uuid::now_v7(), Cancellation::of(order), now);
        let moved = Moved::of(instance.id, transition, |_| Then::Nothing);
        (Self::Cancellation(instance), moved)
    }

    /// Moves the saga.
    ///
    /// # Errors
    /// If the input has no place in it; then it is as it was.
    pub(crate) fn advance(&mut self, moves: Moves, now: Timestamp) -> Result<Moved, AdvanceError> {
        match self {
            Self::Checkout(instance) => {
                let input = match moves {
                    Moves::Checkout(command, answer) => Input::Answered { command, answer },
                    Moves::Cancellation(command, _) => return Err(AdvanceError::OtherKind(command)),
                    Moves::Woken => Input::Woken,
                    Moves::CancelRequested => Input::CancelRequested,
                    Moves::Resumed => Input::Resumed,
                };
                let transition = CHECKOUT.advance(instance, input, now)?;
                Checkout::forget_token(instance);
                Ok(Moved::of(instance.id, transition, |how| {
                    checkout::ended(how, instance.is_cancel_requested()).map_or(Then::Cancel, Then::Tell)
                }))
            }
            Self::Cancellation(instance) => {
                let input = match moves {
                    Moves::Cancellation(command, answer) => Input::Answered { command, answer },
                    Moves::Checkout(command, _) => return Err(AdvanceError::OtherKind(command)),
                    Moves::Woken => Input::Woken,
                    Moves::CancelRequested => Input::CancelRequested,
                    Moves::Resumed => Input::Resumed,
                };
                let transition = CANCELLATION.advance(instance, input, now)?;
                Ok(Moved::of(instance.id, transition, |how| Then::Tell(cancellation::ended(&how))))
            }
        }
    }

    pub(crate) fn id(&self) -> Uuid {
        match self {
            Self::Checkout(instance) => instance.id,
            Self::Cancellation(instance) => instance.id,
        }
    }

    pub(crate) fn order(&self) -> OrderId {
        match self {
            Self::Checkout(instance) => instance.data.order(),
            Self::Cancellation(instance) => instance.data.order(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Checkout(_) => Kind::Checkout,
            Self::Cancellation(_) => Kind::Cancellation,
        }
    }

    /// The step that was refused and the reason, if it is parked.
    pub(crate) fn parked(&self) -> Option<(&str, Refusal)> {
        match self {
            Self::Checkout(instance) => refused(instance.phase(), Refusal::Checkout),
            Self::Cancellation(instance) => refused(instance.phase(), Refusal::Cancellation),
        }
    }

    /// Writes the saga down.
    pub(crate) fn stored(&self) -> Stored {
        let order = self.order();
        match self {
            Self::Checkout(instance) => Stored::of(self.kind().name(), order, instance),
            Self::Cancellation(instance) => Stored::of(self.kind().name(), order, instance),
        }
    }

    /// Reads a saga back that was written down as a `kind`.
    ///
    /// # Errors
    /// If `instance` is none of that kind; a kind that nobody knows has no instances.
    pub(crate) fn read(kind: &str, instance: &str) -> serde_json::Result<Self> {
        if kind == CHECKOUT.name() {
            serde_json::from_str(instance).map(Self::Checkout)
        } else if kind == CANCELLATION.name() {
            serde_json::from_str(instance).map(Self::Cancellation)
        } else {
            Err(serde::de::Error::custom(format_args!("there is no kind of saga named {kind:?}")))
        }
    }
}

impl Kind {
    /// Its name in the database and in the API.
    fn name(self) -> &'static str {
        match self {
            Self::Checkout => CHECKOUT.name(),
            Self::Cancellation => CANCELLATION.name(),
        }
    }
}

impl Moved {
    fn of<D: Data<Command = Command>>(
        saga: Uuid,
        transition: Transition<D>,
        then: impl FnOnce(Ended<D::Refusal>) -> Then,
    ) -> Self {
        let Transition { commands, ended, log } = transition;
        let commands = commands.into_iter().map(|(_, command)| command).collect();
        Self { commands, log: Logged::of(saga, &log), then: ended.map_or(Then::Nothing, then) }
    }
}

impl Logged {
    fn of<R: Serialize>(saga: Uuid, log: &[LogEntry<R>]) -> Option<Self> {
        let first = log.first()?;
        Some(Self { saga, seq: first.seq, entries: json(log) })
    }
}

impl Stored {
    fn of<D: Data>(kind: &'static str, order: OrderId, instance: &Instance<D>) -> Self {
        let state = match instance.phase() {
            Phase::Begun | Phase::AtPivot | Phase::PastPivot | Phase::Unwinding(_) => "running",
            Phase::Parked { .. } => "parked",
            Phase::Ended(Ended::Completed) => "completed",
            Phase::Ended(Ended::Unwound(_)) => "unwound",
        };
        Self { id: instance.id, kind, order, state, instance: json(instance), wake_at: instance.wake_at() }
    }
}

fn refused<R: Clone>(phase: &Phase<R>, of_its_kind: impl FnOnce(R) -> Refusal) -> Option<(&str, Refusal)> {
    match phase {
        Phase::Parked { step, reason } => Some((step, of_its_kind(reason.clone()))),
        Phase::Begun | Phase::AtPivot | Phase::PastPivot | Phase::Unwinding(_) | Phase::Ended(_) => None,
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("a saga and its log are plain structs, which are always JSON")
}

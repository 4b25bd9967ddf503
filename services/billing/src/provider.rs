//! The payment provider, as billing sees it: it executes each key once and keeps the first result of a key, refusals
//! too, longer than an intent can be open. An adapter that cannot promise that must not be written against this trait.

use std::fmt;

use contracts::billing::PaymentToken;
use contracts::{Money, OrderId};

/// The company that holds the cards.
pub trait Provider: Send + Sync + 'static {
    /// Has it done, or hears again what became of it the first time.
    fn execute(&self, request: &Request) -> impl Future<Output = Result<Outcome, Unclear>> + Send;

    /// Hears what became of `key`, without doing anything.
    fn ask(&self, key: &ProviderKey) -> impl Future<Output = Result<Found, Unclear>> + Send;
}

/// What the provider can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Set the amount aside.
    Authorize,
    /// Give up what is set aside, or what an authorization still under way would set aside.
    Void,
    /// Take what is set aside.
    Capture,
}

/// Names one thing to be done, the same over retries and restarts: order, operation, attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProviderKey(String);

/// One thing to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its key.
    pub key: ProviderKey,
    /// For which order.
    pub order: OrderId,
    /// What.
    pub act: Act,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Set `amount` aside.
    Authorize {
        /// How much.
        amount: Money,
        /// From which card.
        token: PaymentToken,
    },
    /// Give up what was set aside. If the authorization is not there yet, it is refused when it comes.
    Void {
        /// The key it was authorized under.
        authorization: ProviderKey,
    },
    /// Take what was set aside.
    Capture {
        /// The key it was authorized under.
        authorization: ProviderKey,
        /// How much.
        amount: Money,
    },
    /// Return some of what was taken.
    Refund {
        /// The key it was authorized under.
        authorization: ProviderKey,
        /// How much.
        amount: Money,
        /// Which of the order's refunds.
        number: u32,
    },
}

/// The provider's definite word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Executed(Done),
    /// Said of this key, which is not the one that was asked about.
    OfAnother(String),
    /// Not done, and never will be under this key.
    Refused {
        /// The provider's own code.
        decline_code: String,
    },
}

/// What the provider says of something it has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Over how much. A release need not say it: nothing is set aside any more.
    pub amount: Option<Money>,
    /// What the provider keeps of it.
    pub fee: Option<Money>,
}

/// What the provider knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is decided.
    Definite(Outcome),
    /// Nothing. The call may still be on its way, so this decides nothing.
    NotFound,
}

/// It is not known whether the provider has done it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// No answer came, or none that can be read.
    #[error("the provider's answer did not come")]
    NoAnswer,
    /// The provider does not take this call, and will not take the same again. That is no refusal: an earlier call under
    /// the key may have been taken, and what a void, a capture or a refund is for must be done all the same.
    #[error("the provider turns the call away with status {status}")]
    TurnedAway {
        /// The HTTP status.
        status: u16,
    },
}

/// What the provider says cannot be booked. The intent is parked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbookable {
    /// The books would not say what the provider did.
    #[error("the provider says {said} where {asked} was asked for")]
    OtherAmount {
        /// What was asked for.
        asked: Money,
        /// What was said.
        said: Money,
    },
    /// It is not known what the provider did.
    #[error("the provider says no amount where {asked} was asked for")]
    NoAmount {
        /// What was asked for.
        asked: Money,
    },
    /// It keeps more than all, or in another currency.
    #[error("the provider keeps a fee of {fee} where {asked} was asked for")]
    OtherFee {
        /// What was asked for.
        asked: Money,
        /// What it keeps.
        fee: Money,
    },
    /// What became of somebody else's call is not what became of ours.
    #[error("the provider answers for the key {key}, which was not asked about")]
    OfAnother {
        /// The key in the answer.
        key: String,
    },
    /// A provider that refuses to release is no reason to say "voided".
    #[error("the provider refuses to release the authorization")]
    VoidRefused,
}

impl Outcome {
    /// Over how much it was done; none if it was not done, or was nothing to do.
    pub fn amount(&self) -> Option<Money> {
        match self {
            Self::Executed(done) => done.amount,
            Self::Refused { .. } | Self::OfAnother(_) => None,
        }
    }

    /// Why it was refused, if it was.
    pub fn decline_code(&self) -> Option<&str> {
        match self {
            Self::Refused { decline_code } => Some(decline_code),
            Self::Executed(_) | Self::OfAnother(_) => None,
        }
    }
}

impl Outcome {
    /// Makes sure that the word is about what was asked, and over as much, where it says how much.
    ///
    /// # Errors
    /// [`Unbookable`]: the provider contradicts what it was asked.
    pub fn held_against(&self, asked: Money) -> Result<(), Unbookable> {
        let done = match self {
            Self::OfAnother(key) => return Err(Unbookable::OfAnother { key: key.clone() }),
            Self::Refused { .. } => return Ok(()),
            Self::Executed(done) => done,
        };
        if let Some(said) = done.amount.filter(|said| *said != asked) {
            return Err(Unbookable::OtherAmount { asked, said });
        }
        let is_part = |fee: &Money| fee.currency == asked.currency && (0..=asked.amount).contains(&fee.amount);
        match done.fee.filter(|fee| !is_part(fee)) {
            Some(fee) => Err(Unbookable::OtherFee { asked, fee }),
            None => Ok(()),
        }
    }
}

impl Request {
    /// `act` for `order`.
    pub fn new(order: OrderId, act: Act) -> Self {
        Self { key: ProviderKey(format!("{order}:{}:{}", act.name(), act.attempt())), order, act }
    }
}

impl Act {
    /// The step of the payment that it is. A refund is none: it has a life of its own.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Authorize { .. } => Some(Operation::Authorize),
            Self::Void { .. } => Some(Operation::Void),
            Self::Capture { .. } => Some(Operation::Capture),
            Self::Refund { .. } => None,
        }
    }

    /// The name in keys, in the database and in logs.
    pub fn name(&self) -> &'static str {
        self.operation().map_or(Self::REFUND, Operation::name)
    }

    /// Which time: a refund has a number, all else is done once.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Authorize { .. } | Self::Void { .. } | Self::Capture { .. } => 1,
            Self::Refund { number, .. } => *number,
        }
    }

    /// The name of a refund.
    pub(crate) const REFUND: &str = "refund";
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 3] = [Self::Authorize, Self::Void, Self::Capture];

    /// The name in keys and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Void => "void",
            Self::Capture => "capture",
        }
    }
}

impl ProviderKey {
    /// The key of an order's operation. A definite refusal is final, so there is one attempt.
    pub fn of(order: OrderId, operation: Operation) -> Self {
        Self(format!("{order}:{}:1", operation.name()))
    }

    /// Order, name of the operation and attempt of what may be a key of ours.
    pub(crate) fn parts(key: &str) -> Option<(OrderId, &str, i32)> {
        let (order, rest) = key.split_once(':')?;
        let (operation, attempt) = rest.split_once(':')?;
        Some((order.parse().ok()?, operation, attempt.parse().ok()?))
    }

    /// The key as it is stored and sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! How far a payment can come. The table of what leads where stands in [`crate::payment`]. Pure.

use crate::provider::Operation;

/// How far a payment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Never heard of.
    None,
    /// The provider is asked to set the amount aside.
    Authorizing,
    /// The amount is set aside.
    Authorized,
    /// The provider refused to set it aside.
    Refused,
    /// The provider is asked to give up what is set aside.
    Voiding,
    /// Nothing is set aside any more.
    Voided,
    /// Voided before it was asked for: a later authorization is refused.
    Tombstone,
    /// The provider is asked to take what is set aside.
    Capturing,
    /// The money is ours.
    Captured,
    /// The provider refused to take it; it is still set aside.
    CaptureRefused,
    /// What is left of the money is going back.
    Refunding,
    /// All of it went back.
    Refunded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 12] = [
        Self::None,
        Self::Authorizing,
        Self::Authorized,
        Self::Refused,
        Self::Voiding,
        Self::Voided,
        Self::Tombstone,
        Self::Capturing,
        Self::Captured,
        Self::CaptureRefused,
        Self::Refunding,
        Self::Refunded,
    ];

    /// What the provider is asked for in this state: the open intent. Refunds are not named here: there can be many.
    pub fn operation(self) -> Option<Operation> {
        match self {
            Self::Authorizing => Some(Operation::Authorize),
            Self::Voiding => Some(Operation::Void),
            Self::Capturing => Some(Operation::Capture),
            Self::None
            | Self::Authorized
            | Self::Refused
            | Self::Voided
            | Self::Tombstone
            | Self::Captured
            | Self::CaptureRefused
            | Self::Refunding
            | Self::Refunded => None,
        }
    }

    /// Whether the payment goes on by itself, so that a command may wait for what comes of it.
    pub fn goes_on(self) -> bool {
        self.operation().is_some() || self == Self::Refunding
    }

    /// Whether money was taken, of which some may have gone back.
    pub fn was_captured(self) -> bool {
        matches!(self, Self::Captured | Self::Refunding | Self::Refunded)
    }

    /// Whether something is set aside or taken, or may yet be.
    pub fn holds(self) -> bool {
        match self {
            Self::Authorizing
            | Self::Authorized
            | Self::Voiding
            | Self::Capturing
            | Self::Captured
            | Self::CaptureRefused
            | Self::Refunding => true,
            Self::None | Self::Refused | Self::Voided | Self::Tombstone | Self::Refunded => false,
        }
    }

    /// The state in which the provider is asked for `operation`.
    pub fn during(operation: Operation) -> Self {
        match operation {
            Operation::Authorize => Self::Authorizing,
            Operation::Void => Self::Voiding,
            Operation::Capture => Self::Capturing,
        }
    }

    /// The name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Authorizing => "authorizing",
            Self::Authorized => "authorized",
            Self::Refused => "refused",
            Self::Voiding => "voiding",
            Self::Voided => "voided",
            Self::Tombstone => "tombstone",
            Self::Capturing => "capturing",
            Self::Captured => "captured",
            Self::CaptureRefused => "capture_refused",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
        }
    }
}

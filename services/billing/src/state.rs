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
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
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
    ];

    /// What the provider is asked for in this state: the open intent.
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
            | Self::CaptureRefused => None,
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
        }
    }
}

//! What became of the commands of a payment: the part of its row that is kept as JSON. Pure.

use contracts::billing::{BillingCommand, PaymentRefusal};
use contracts::{CommandId, Money};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// Its name.
    pub id: CommandId,
    /// What it wants.
    pub kind: Kind,
    /// How far it has come.
    pub progress: Progress,
}

/// What a command wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Set the amount aside.
    Authorize,
    /// Give it up.
    Void,
    /// Take it.
    Capture,
    /// Return what is left of what was taken.
    Refund,
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Until the open intent is settled.
    Waiting,
    /// The open intent is its own.
    InWork,
    /// Done or refused.
    Answered {
        /// What was said.
        answer: Answer,
        /// When.
        at: Timestamp,
    },
}

/// What a command was answered: the event without the ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// So much is set aside.
    Authorized(Money),
    /// Nothing is set aside.
    Refused(PaymentRefusal),
    /// Nothing is set aside any more.
    Voided,
    /// So much is ours.
    Captured(Money),
    /// Nothing was taken.
    CaptureRefused(PaymentRefusal),
    /// So much went back, and nothing is left with us.
    Refunded(Money),
}

/// Which command, and what it wants.
pub(crate) fn named(command: &BillingCommand) -> (&CommandId, Kind) {
    match command {
        BillingCommand::AuthorizePayment { command, .. } => (command, Kind::Authorize),
        BillingCommand::VoidPayment { command, .. } => (command, Kind::Void),
        BillingCommand::CapturePayment { command, .. } => (command, Kind::Capture),
        BillingCommand::RefundPayment { command, .. } => (command, Kind::Refund),
    }
}

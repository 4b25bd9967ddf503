//! What `billing` says, and what it can be told to do.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

pub use crate::token::{NotAPaymentToken, PaymentToken};
use crate::{CommandId, CustomerId, Message, Money, OrderId, Topic, order::OrderLine};

/// What billing shall do, on topic `billing.commands`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum BillingCommand {
    /// Have the provider set the amount aside. Answer: [`BillingEvent::PaymentAuthorized`] or
    /// [`BillingEvent::PaymentRefused`].
    #[serde(rename = "billing.authorize-payment.v1")]
    AuthorizePayment {
        /// Names this command; the answer carries it.
        command: CommandId,
        /// For which order.
        order: OrderId,
        /// Who pays.
        customer: CustomerId,
        /// How much.
        amount: Money,
        /// What is paid for, as it was placed: the books need its VAT, and the invoice all of it.
        lines: Vec<OrderLine>,
        /// The provider's token for the card.
        token: PaymentToken,
    },
    /// Give up whatever was set aside. Never refused. Answer: [`BillingEvent::PaymentVoided`].
    #[serde(rename = "billing.void-payment.v1")]
    VoidPayment {
        /// Names this command; the answer carries it.
        command: CommandId,
        /// For which order.
        order: OrderId,
    },
    /// Take what was set aside. Answer: [`BillingEvent::PaymentCaptured`] or [`BillingEvent::CaptureRefused`].
    #[serde(rename = "billing.capture-payment.v1")]
    CapturePayment {
        /// Names this command; the answer carries it.
        command: CommandId,
        /// For which order.
        order: OrderId,
    },
    /// Give back what is left of what was taken. Never refused. Answer: [`BillingEvent::PaymentRefunded`].
    #[serde(rename = "billing.refund-payment.v1")]
    RefundPayment {
        /// Names this command; the answer carries it.
        command: CommandId,
        /// For which order.
        order: OrderId,
    },
}

/// What billing did or refused, on topic `billing.events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum BillingEvent {
    /// The amount is set aside.
    #[serde(rename = "billing.payment-authorized.v1")]
    PaymentAuthorized {
        /// The command this answers.
        command: CommandId,
        /// For which order.
        order: OrderId,
        /// How much.
        amount: Money,
        /// When.
        at: Timestamp,
    },
    /// Nothing is set aside.
    #[serde(rename = "billing.payment-refused.v1")]
    PaymentRefused {
        /// The command this answers.
        command: CommandId,
        /// For which order.
        order: OrderId,
        /// Why.
        reason: PaymentRefusal,
        /// When.
        at: Timestamp,
    },
    /// Nothing is set aside any more, and nothing will be.
    #[serde(rename = "billing.payment-voided.v1")]
    PaymentVoided {
        /// The command this answers.
        command: CommandId,
        /// For which order.
        order: OrderId,
        /// When.
        at: Timestamp,
    },
    /// The money is ours.
    #[serde(rename = "billing.payment-captured.v1")]
    PaymentCaptured {
        /// The command this answers.
        command: CommandId,
        /// For which order.
        order: OrderId,
        /// How much.
        amount: Money,
        /// When.
        at: Timestamp,
    },
    /// The provider refused to hand over what was set aside.
    #[serde(rename = "billing.capture-refused.v1")]
    CaptureRefused {
        /// The command this answers.
        command: CommandId,
        /// For which order.
        order: OrderId,
        /// Why.
        reason: PaymentRefusal,
        /// When.
        at: Timestamp,
    },
    /// Nothing of what was taken is left with us.
    #[serde(rename = "billing.payment-refunded.v1")]
    PaymentRefunded {
        /// The command this answers.
        command: CommandId,
        /// For which order.
        order: OrderId,
        /// How much went back for this command: what earlier refunds had left.
        amount: Money,
        /// When.
        at: Timestamp,
    },
    /// A customer has wished to be forgotten, and nobody knows who they are any more: whoever else keeps something that
    /// they have written forgets it, too. Answers no command. Key: customer id.
    #[serde(rename = "billing.customer-erased.v1")]
    CustomerErased {
        /// Who it was.
        customer: CustomerId,
        /// When. What they write afterwards is theirs again.
        at: Timestamp,
    },
}

/// Why a payment was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum PaymentRefusal {
    /// The provider said no.
    Declined {
        /// The provider's own code.
        #[serde(deserialize_with = "short")]
        #[schema(max_length = 64)]
        decline_code: String,
    },
    /// The payment was voided before it was asked for.
    Voided,
    /// No name and address is known to make out an invoice to.
    UnknownCustomer,
}

/// The longest decline code: a word or a few, which goes on from message to message, so that none grows beyond what the
/// broker takes. Unit: bytes.
pub const DECLINE_CODE_MAX: usize = 64;

/// A longer one is none of billing's, which cuts what the provider says.
fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let code = String::deserialize(deserializer)?;
    if code.len() <= DECLINE_CODE_MAX {
        Ok(code)
    } else {
        Err(D::Error::invalid_length(code.len(), &"64 bytes at most"))
    }
}

impl Message for BillingCommand {
    const TOPIC: Topic = Topic::BillingCommands;

    fn key(&self) -> String {
        match self {
            Self::AuthorizePayment { order, .. }
            | Self::VoidPayment { order, .. }
            | Self::CapturePayment { order, .. }
            | Self::RefundPayment { order, .. } => order.to_string(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::AuthorizePayment { .. } => "billing.authorize-payment.v1",
            Self::VoidPayment { .. } => "billing.void-payment.v1",
            Self::CapturePayment { .. } => "billing.capture-payment.v1",
            Self::RefundPayment { .. } => "billing.refund-payment.v1",
        }
    }
}

impl Message for BillingEvent {
    const TOPIC: Topic = Topic::BillingEvents;

    fn key(&self) -> String {
        match self {
            Self::PaymentAuthorized { order, .. }
            | Self::PaymentRefused { order, .. }
            | Self::PaymentVoided { order, .. }
            | Self::PaymentCaptured { order, .. }
            | Self::CaptureRefused { order, .. }
            | Self::PaymentRefunded { order, .. } => order.to_string(),
            Self::CustomerErased { customer, .. } => customer.to_string(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::PaymentAuthorized { .. } => "billing.payment-authorized.v1",
            Self::PaymentRefused { .. } => "billing.payment-refused.v1",
            Self::PaymentVoided { .. } => "billing.payment-voided.v1",
            Self::PaymentCaptured { .. } => "billing.payment-captured.v1",
            Self::CaptureRefused { .. } => "billing.capture-refused.v1",
            Self::PaymentRefunded { .. } => "billing.payment-refunded.v1",
            Self::CustomerErased { .. } => "billing.customer-erased.v1",
        }
    }
}

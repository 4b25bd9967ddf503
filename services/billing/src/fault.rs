//! What can be wrong with a message about a payment. Pure.

use contracts::{CommandId, CustomerId, Money, OrderId};

use crate::record::Kind;
use crate::state::State;

/// The command cannot be meant for this payment: the message's own fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The table has no line for it.
    #[error("command {command} ({kind:?}) is impossible: payment {order} is {state:?}")]
    Impossible {
        /// Which command.
        command: CommandId,
        /// What it wants.
        kind: Kind,
        /// For which order.
        order: OrderId,
        /// What its payment is.
        state: State,
    },
    /// A command of that id wanted something else.
    #[error("command {command} was known as {known:?} and is now {kind:?}")]
    OtherKind {
        /// Which command.
        command: CommandId,
        /// What it wanted first.
        known: Kind,
        /// What it wants now.
        kind: Kind,
    },
    /// A second authorization of another customer or amount.
    #[error("command {command} names another customer or amount than payment {order} has")]
    OtherTerms {
        /// Which command.
        command: CommandId,
        /// For which order.
        order: OrderId,
    },
    /// Nobody can pay less than nothing.
    #[error("command {command} asks for {amount}")]
    Negative {
        /// Which command.
        command: CommandId,
        /// How much.
        amount: Money,
    },
    /// The books would not say what the customer pays.
    #[error("command {command} splits {amount} by rates of VAT into what is something else")]
    OtherSum {
        /// Which command.
        command: CommandId,
        /// How much.
        amount: Money,
    },
    /// Only what was paid for is confirmed.
    #[error("order {order} is confirmed, and its payment is {state:?}")]
    NotPaid {
        /// Which order.
        order: OrderId,
        /// What its payment is.
        state: State,
    },
    /// There is nobody to make out the invoice to. Once the customer is put, the message can be replayed.
    #[error("order {order} cannot be invoiced: nobody knows name and address of customer {customer}")]
    UnknownCustomer {
        /// Which order.
        order: OrderId,
        /// Whose.
        customer: CustomerId,
    },
}

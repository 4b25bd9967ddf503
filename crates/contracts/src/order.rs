//! What `order` says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CustomerId, Message, Money, OrderId, Quantity, Sku, Topic};

/// What happened to an order, on topic `order.events`. The versions of one order are 1..n without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum OrderEvent {
    /// Stored, and not yet paid. Always version 1.
    #[serde(rename = "order.placed.v1")]
    Placed {
        /// The order.
        order: OrderId,
        /// Its number among the order's events.
        version: u32,
        /// Who placed it.
        customer: CustomerId,
        /// What was ordered, at the prices frozen now.
        lines: Vec<OrderLine>,
        /// What is to be paid: the sum of the lines, VAT included.
        total: Money,
        /// When.
        at: Timestamp,
    },
    /// The stock is held and the money taken.
    #[serde(rename = "order.confirmed.v1")]
    Confirmed {
        /// The order.
        order: OrderId,
        /// Its number among the order's events.
        version: u32,
        /// When.
        at: Timestamp,
    },
    /// Nothing is held or charged any more. Nothing follows.
    #[serde(rename = "order.cancelled.v1")]
    Cancelled {
        /// The order.
        order: OrderId,
        /// Its number among the order's events.
        version: u32,
        /// Why.
        reason: CancelReason,
        /// When.
        at: Timestamp,
    },
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: Quantity,
    /// Price of one piece, VAT included, frozen when the order was placed.
    pub unit_price: Money,
    /// VAT included in the price, frozen when the order was placed. Unit: hundredths of a percent, 1900 is 19 %.
    pub vat_rate: u32,
}

/// Why an order was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum CancelReason {
    /// There was not enough of this SKU.
    OutOfStock {
        /// The first SKU that was short.
        sku: Sku,
    },
    /// The payment provider refused.
    PaymentDeclined {
        /// The provider's own code.
        decline_code: String,
    },
    /// The answers did not come in time.
    TimedOut,
}

impl Message for OrderEvent {
    const TOPIC: Topic = Topic::OrderEvents;

    fn key(&self) -> String {
        match self {
            Self::Placed { order, .. } | Self::Confirmed { order, .. } | Self::Cancelled { order, .. } => {
                order.to_string()
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "order.placed.v1",
            Self::Confirmed { .. } => "order.confirmed.v1",
            Self::Cancelled { .. } => "order.cancelled.v1",
        }
    }
}

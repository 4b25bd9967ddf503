//! What `order` says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use line::OrderLine;

use crate::{CustomerId, Message, Money, OrderId, ShipmentId, Sku, Topic};

mod line;

/// What happened to an order, on topic `order.events`. The versions of one order are 1..n without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum OrderEvent {
    /// Stored, and not yet paid. Always version 1. What was written as `order.placed.v1`, whose lines had no name, is read
    /// as this.
    #[serde(rename = "order.placed.v2", alias = "order.placed.v1")]
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
    /// A part of it has left a warehouse, or the last of it.
    #[serde(rename = "order.shipped.v1")]
    Shipped {
        /// The order.
        order: OrderId,
        /// Its number among the order's events.
        version: u32,
        /// What has left.
        shipment: ShipmentId,
        /// Whether this was the last of the order.
        complete: bool,
        /// When.
        at: Timestamp,
    },
    /// Somebody wanted it cancelled, and something of it is shipped: the order goes on.
    #[serde(rename = "order.cancellation-refused.v1")]
    CancellationRefused {
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

impl OrderEvent {
    /// The order it happened to.
    pub fn order(&self) -> OrderId {
        match self {
            Self::Placed { order, .. }
            | Self::Confirmed { order, .. }
            | Self::Shipped { order, .. }
            | Self::CancellationRefused { order, .. }
            | Self::Cancelled { order, .. } => *order,
        }
    }

    /// Its number among the order's events.
    pub fn version(&self) -> u32 {
        match self {
            Self::Placed { version, .. }
            | Self::Confirmed { version, .. }
            | Self::Shipped { version, .. }
            | Self::CancellationRefused { version, .. }
            | Self::Cancelled { version, .. } => *version,
        }
    }

    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Placed { at, .. }
            | Self::Confirmed { at, .. }
            | Self::Shipped { at, .. }
            | Self::CancellationRefused { at, .. }
            | Self::Cancelled { at, .. } => *at,
        }
    }
}

/// Why an order was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// The customer wanted it.
    Requested,
    /// Nobody has said who the customer is, so no invoice could be made out.
    UnknownCustomer,
}

impl Message for OrderEvent {
    const TOPIC: Topic = Topic::OrderEvents;

    fn key(&self) -> String {
        self.order().to_string()
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "order.placed.v2",
            Self::Confirmed { .. } => "order.confirmed.v1",
            Self::Shipped { .. } => "order.shipped.v1",
            Self::CancellationRefused { .. } => "order.cancellation-refused.v1",
            Self::Cancelled { .. } => "order.cancelled.v1",
        }
    }
}

//! What `order` says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    CustomerId, Message, Money, MoneyError, OrderId, Quantity, ShipmentId, Sku, Topic,
    vat::{Taxed, VatRate},
};

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

/// One line of an order. Its price is that of a piece times the quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: Quantity,
    /// Price of one piece, VAT included, frozen when the order was placed.
    pub unit_price: Money,
    /// The rate of the VAT in it, frozen with it.
    pub vat_rate: VatRate,
    /// What of the line's price is VAT, rounded once for the line: see [`vat`](crate::vat).
    pub vat: Money,
}

impl OrderLine {
    /// A line as it is placed: its VAT is worked out here, and is a fact from then on.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] past 64 bits.
    pub fn priced(sku: Sku, quantity: Quantity, unit_price: Money, vat_rate: VatRate) -> Result<Self, MoneyError> {
        let vat = vat_rate.within(unit_price.times(quantity.get())?).vat;
        Ok(Self { sku, quantity, unit_price, vat_rate, vat })
    }

    /// The price of the line, and what of it is VAT.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] past 64 bits.
    pub fn taxed(&self) -> Result<Taxed, MoneyError> {
        let gross = self.unit_price.times(self.quantity.get())?;
        Ok(Taxed { rate: self.vat_rate, gross, vat: self.vat })
    }
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
    /// The customer wanted it.
    Requested,
    /// Nobody has said who the customer is, so no invoice could be made out.
    UnknownCustomer,
}

impl Message for OrderEvent {
    const TOPIC: Topic = Topic::OrderEvents;

    fn key(&self) -> String {
        match self {
            Self::Placed { order, .. }
            | Self::Confirmed { order, .. }
            | Self::Shipped { order, .. }
            | Self::CancellationRefused { order, .. }
            | Self::Cancelled { order, .. } => order.to_string(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "order.placed.v1",
            Self::Confirmed { .. } => "order.confirmed.v1",
            Self::Shipped { .. } => "order.shipped.v1",
            Self::CancellationRefused { .. } => "order.cancellation-refused.v1",
            Self::Cancelled { .. } => "order.cancelled.v1",
        }
    }
}

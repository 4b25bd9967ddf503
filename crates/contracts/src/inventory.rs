//! What `inventory` says, and what it can be told to do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CommandId, Message, Money, OrderId, Quantity, ShipmentId, Sku, Topic, Warehouse};

/// What inventory shall do, on topic `inventory.commands`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum InventoryCommand {
    /// Hold all lines for the order, or none. Answer: [`InventoryEvent::StockHeld`] or [`InventoryEvent::StockRefused`].
    #[serde(rename = "inventory.hold-stock.v1")]
    HoldStock {
        /// Names this command; the answer carries it.
        command: CommandId,
        /// For whom.
        order: OrderId,
        /// What; each SKU once.
        lines: Vec<StockLine>,
    },
    /// Let go of whatever is held for the order. Never refused. Answer: [`InventoryEvent::StockReleased`].
    #[serde(rename = "inventory.release-stock.v1")]
    ReleaseStock {
        /// Names this command; the answer carries it.
        command: CommandId,
        /// For whom.
        order: OrderId,
    },
    /// Take back what is held for a confirmed order, if none of it has been shipped. Answer:
    /// [`InventoryEvent::StockReclaimed`] or [`InventoryEvent::ReclaimRefused`].
    #[serde(rename = "inventory.reclaim-stock.v1")]
    ReclaimStock {
        /// Names this command; the answer carries it.
        command: CommandId,
        /// From whom.
        order: OrderId,
    },
}

/// So many pieces of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: Quantity,
}

/// What inventory did or refused, on topic `inventory.events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum InventoryEvent {
    /// All lines are held.
    #[serde(rename = "inventory.stock-held.v1")]
    StockHeld {
        /// The command this answers.
        command: CommandId,
        /// For whom.
        order: OrderId,
        /// When.
        at: Timestamp,
    },
    /// Nothing is held.
    #[serde(rename = "inventory.stock-refused.v1")]
    StockRefused {
        /// The command this answers.
        command: CommandId,
        /// For whom.
        order: OrderId,
        /// Why.
        reason: StockRefusal,
        /// When.
        at: Timestamp,
    },
    /// Nothing is held any more, and nothing will be.
    #[serde(rename = "inventory.stock-released.v1")]
    StockReleased {
        /// The command this answers.
        command: CommandId,
        /// For whom.
        order: OrderId,
        /// When.
        at: Timestamp,
    },
    /// What was held is back in stock, and nothing will be shipped.
    #[serde(rename = "inventory.stock-reclaimed.v1")]
    StockReclaimed {
        /// The command this answers.
        command: CommandId,
        /// From whom.
        order: OrderId,
        /// When.
        at: Timestamp,
    },
    /// Some of it has been shipped already, so all of it will be.
    #[serde(rename = "inventory.reclaim-refused.v1")]
    ReclaimRefused {
        /// The command this answers.
        command: CommandId,
        /// From whom.
        order: OrderId,
        /// When.
        at: Timestamp,
    },
    /// Pieces have left a warehouse. Answers no command.
    #[serde(rename = "inventory.stock-shipped.v1")]
    StockShipped {
        /// The shipment.
        shipment: ShipmentId,
        /// To whom.
        order: OrderId,
        /// From where.
        warehouse: Warehouse,
        /// What.
        lines: Vec<StockLine>,
        /// Whether this was the last of the order.
        complete: bool,
        /// When.
        at: Timestamp,
    },
}

/// Why no stock was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum StockRefusal {
    /// There was not enough of this SKU, or it does not exist.
    OutOfStock {
        /// The first SKU that was short.
        sku: Sku,
    },
    /// The hold was released before it was asked for.
    Released,
}

/// A product as it is now, on topic `inventory.catalogue`. Key: SKU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum CatalogueEvent {
    /// The whole product; replaces every lower version.
    #[serde(rename = "inventory.product-changed.v1")]
    ProductChanged {
        /// Which product.
        sku: Sku,
        /// Grows with each change.
        version: u32,
        /// What the customer reads.
        name: String,
        /// A sentence or two.
        description: String,
        /// The shelf it stands on, such as `Kitchen`.
        category: String,
        /// Price of one piece, VAT included.
        price: Money,
        /// VAT included in the price. Unit: hundredths of a percent, 1900 is 19 %.
        vat_rate: u32,
        /// When.
        at: Timestamp,
    },
}

impl Message for InventoryCommand {
    const TOPIC: Topic = Topic::InventoryCommands;

    fn key(&self) -> String {
        match self {
            Self::HoldStock { order, .. } | Self::ReleaseStock { order, .. } | Self::ReclaimStock { order, .. } => {
                order.to_string()
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::HoldStock { .. } => "inventory.hold-stock.v1",
            Self::ReleaseStock { .. } => "inventory.release-stock.v1",
            Self::ReclaimStock { .. } => "inventory.reclaim-stock.v1",
        }
    }
}

impl Message for InventoryEvent {
    const TOPIC: Topic = Topic::InventoryEvents;

    fn key(&self) -> String {
        match self {
            Self::StockHeld { order, .. }
            | Self::StockRefused { order, .. }
            | Self::StockReleased { order, .. }
            | Self::StockReclaimed { order, .. }
            | Self::ReclaimRefused { order, .. }
            | Self::StockShipped { order, .. } => order.to_string(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::StockHeld { .. } => "inventory.stock-held.v1",
            Self::StockRefused { .. } => "inventory.stock-refused.v1",
            Self::StockReleased { .. } => "inventory.stock-released.v1",
            Self::StockReclaimed { .. } => "inventory.stock-reclaimed.v1",
            Self::ReclaimRefused { .. } => "inventory.reclaim-refused.v1",
            Self::StockShipped { .. } => "inventory.stock-shipped.v1",
        }
    }
}

impl Message for CatalogueEvent {
    const TOPIC: Topic = Topic::InventoryCatalogue;

    fn key(&self) -> String {
        let Self::ProductChanged { sku, .. } = self;
        sku.to_string()
    }

    fn kind(&self) -> &'static str {
        "inventory.product-changed.v1"
    }
}

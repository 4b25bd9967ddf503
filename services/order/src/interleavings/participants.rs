//! The participants' side: what inventory and billing may do, and the order's word they wait for.

use contracts::{
    billing::{BillingCommand, BillingEvent, PaymentRefusal},
    inventory::{InventoryCommand, InventoryEvent, StockRefusal},
};

use super::{Hold, Paid, Said, World, at};

impl World {
    pub(super) fn inventory_works(&self, willing: bool) -> Option<Self> {
        let mut world = self.clone();
        let command = world.to_inventory.pop_front()?;
        let (order, at) = (self.order.id, at());
        if self.has_answered(&command) {
            return Some(world);
        }
        let event = match command {
            InventoryCommand::HoldStock { command, .. } if willing => {
                world.hold = Hold::Open;
                InventoryEvent::StockHeld { command, order, at }
            }
            InventoryCommand::HoldStock { command, .. } => {
                world.hold = Hold::Refused;
                let reason = StockRefusal::OutOfStock { sku: "MUG".parse().unwrap() };
                InventoryEvent::StockRefused { command, order, reason, at }
            }
            // What follows is not inventory's to choose.
            _ if !willing => return None,
            InventoryCommand::ReleaseStock { command, .. } => {
                assert!(matches!(self.hold, Hold::Open | Hold::Refused), "released while {:?}", self.hold);
                world.hold = Hold::Released;
                InventoryEvent::StockReleased { command, order, at }
            }
            InventoryCommand::ReclaimStock { command, .. } => match self.hold {
                Hold::Open | Hold::Allocated => {
                    world.hold = Hold::Released;
                    InventoryEvent::StockReclaimed { command, order, at }
                }
                Hold::PartlyShipped | Hold::Shipped => InventoryEvent::ReclaimRefused { command, order, at },
                Hold::None | Hold::Released | Hold::Refused => panic!("reclaimed while {:?}", self.hold),
            },
        };
        world.said.push((Said::Inventory(event), 0));
        Some(world)
    }

    pub(super) fn billing_works(&self, willing: bool) -> Option<Self> {
        let mut world = self.clone();
        let (order, amount, at) = (self.order.id, self.order.total, at());
        let reason = PaymentRefusal::Declined { decline_code: "card_declined".into() };
        let command = world.to_billing.pop_front()?;
        if self.has_answered(&command) {
            return Some(world);
        }
        let (paid, event) = match command {
            BillingCommand::AuthorizePayment { command, .. } if willing => {
                (Paid::Authorized, BillingEvent::PaymentAuthorized { command, order, amount, at })
            }
            BillingCommand::AuthorizePayment { command, .. } => {
                (Paid::Refused, BillingEvent::PaymentRefused { command, order, reason, at })
            }
            BillingCommand::CapturePayment { command, .. } if willing => {
                (Paid::Captured, BillingEvent::PaymentCaptured { command, order, amount, at })
            }
            BillingCommand::CapturePayment { command, .. } => {
                (Paid::CaptureRefused, BillingEvent::CaptureRefused { command, order, reason, at })
            }
            // What follows is not billing's to choose.
            _ if !willing => return None,
            BillingCommand::VoidPayment { command, .. } => {
                assert!(
                    matches!(self.paid, Paid::Authorized | Paid::Refused | Paid::CaptureRefused),
                    "{:?}",
                    self.paid
                );
                (Paid::Voided, BillingEvent::PaymentVoided { command, order, at })
            }
            BillingCommand::RefundPayment { command, .. } => {
                assert_eq!(self.paid, Paid::Captured, "refunded");
                assert_eq!(self.hold, Hold::Released, "refunded only what is not shipped");
                (Paid::Refunded, BillingEvent::PaymentRefunded { command, order, amount, at })
            }
        };
        world.paid = paid;
        world.said.push((Said::Billing(event), 0));
        Some(world)
    }

    /// Asked again: what was said stands, and may be heard twice in any case.
    fn has_answered(&self, command: &impl serde::Serialize) -> bool {
        let id = |message: serde_json::Value| message["command"].clone();
        let asked = id(serde_json::to_value(command).unwrap());
        self.said.iter().any(|(said, _)| id(said.json()) == asked)
    }

    pub(super) fn inventory_allocates(&self) -> Option<Self> {
        let hold = if self.hold == Hold::Open { Hold::Allocated } else { self.hold };
        self.is_confirmation_unread.then(|| Self { is_confirmation_unread: false, hold, ..self.clone() })
    }

    pub(super) fn inventory_ships(&self) -> Option<Self> {
        let [first, second] = self.shipments;
        let (hold, shipment, complete) = match self.hold {
            Hold::Allocated => (Hold::PartlyShipped, first, false),
            Hold::PartlyShipped => (Hold::Shipped, second, true),
            Hold::None | Hold::Open | Hold::Shipped | Hold::Released | Hold::Refused => return None,
        };
        let mut world = Self { hold, ..self.clone() };
        let (order, warehouse) = (self.order.id, "BERLIN".parse().unwrap());
        let event = InventoryEvent::StockShipped { shipment, order, warehouse, lines: Vec::new(), complete, at: at() };
        world.said.push((Said::Inventory(event), 0));
        Some(world)
    }
}

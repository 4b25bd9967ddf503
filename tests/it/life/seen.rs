//! What is seen of an order: how far it is, in a word.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::world::Customer;

/// How long somebody looks for what can pass unseen.
const LOOKS_FOR: Duration = Duration::from_secs(60);

/// How far an order is, by all that was written down about it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    is_held: bool,
    is_authorized: bool,
    is_capturing: bool,
    is_undoing: bool,
    is_wanted_no_more: bool,
    is_reclaiming: bool,
    is_refunding: bool,
    is_refused: bool,
    status: &'static str,
}

impl Seen {
    /// Looks until this is seen. Gives up when the order has ended, or after a while.
    pub(super) async fn wait(customer: &Customer, order: Uuid, name: &str) {
        let looking = async {
            loop {
                let seen = Self::look(customer, order).await.name();
                if seen == name || matches!(seen, "cancelled" | "refunded" | "shipped") {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LOOKS_FOR, looking).await.ok();
    }

    pub(super) async fn look(customer: &Customer, order: Uuid) -> Self {
        let list = customer.view(order, "/events?limit=100").await;
        let mut seen = Self { status: "pending", ..Self::default() };
        for entry in list["data"].as_array().unwrap() {
            match entry.get("event") {
                Some(event) => seen.event(event),
                None => seen.step(&entry["step"]),
            }
        }
        seen
    }

    fn event(&mut self, event: &Value) {
        match event["type"].as_str().unwrap() {
            "order.confirmed.v1" => self.status = "confirmed",
            "order.shipped.v1" if event["complete"] == true => self.status = "shipped",
            "order.shipped.v1" => self.status = "partly shipped",
            "order.cancellation-refused.v1" => self.is_refused = true,
            "order.cancelled.v1" => self.status = "cancelled",
            _ => {}
        }
    }

    fn step(&mut self, step: &Value) {
        let command = step["command"].as_str().map_or("", |command| command.split_once(':').unwrap().1);
        match (step["word"].as_str().unwrap(), command) {
            ("done", "hold-stock:do:1") => self.is_held = true,
            ("done", "authorize-payment:do:1") => self.is_authorized = true,
            ("asked", "capture-payment:do:1") => self.is_capturing = true,
            ("asked", "hold-stock:undo:1" | "authorize-payment:undo:1") => self.is_undoing = true,
            ("asked", "reclaim-stock:do:1") => self.is_reclaiming = true,
            ("asked", "refund-payment:do:1") => self.is_refunding = true,
            ("cancel_requested", _) => self.is_wanted_no_more = true,
            _ => {}
        }
    }

    /// The last of all this that has happened.
    pub(super) fn name(&self) -> &'static str {
        match self.status {
            "cancelled" if self.is_refunding => "refunded",
            "cancelled" => "cancelled",
            _ if self.is_refused => "refused",
            "partly shipped" | "shipped" => self.status,
            _ if self.is_refunding => "refunding",
            _ if self.is_reclaiming => "reclaiming",
            "confirmed" => "confirmed",
            _ if self.is_undoing && self.is_wanted_no_more => "undoing, wanted no more",
            _ if self.is_undoing => "undoing",
            _ if self.is_capturing && self.is_wanted_no_more => "capturing, wanted no more",
            _ if self.is_capturing => "capturing",
            _ if self.is_held => "held",
            _ if self.is_authorized => "authorized",
            _ => "placed",
        }
    }

    /// Whether something is shipped.
    pub(super) fn is_too_late(&self) -> bool {
        self.is_refused || matches!(self.status, "partly shipped" | "shipped")
    }
}

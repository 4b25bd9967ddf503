//! Cancellation: what happens when I cancel my order?
//!
//! | the order is | then |
//! |---|---|
//! | pending, and its money not yet asked for | its checkout turns: all that was or may have been done is undone, then it is cancelled |
//! | pending, and its money is being taken | whether it is taken decides. Refused: the checkout undoes itself as ever. Taken: the order is not confirmed, and the saga below begins |
//! | confirmed | the saga below begins |
//! | partly shipped, or shipped | it is too late: refused at once |
//! | cancelled, or about to be | nothing more |
//!
//! The saga: `ReclaimStock` is its pivot, for inventory alone can tell whether something was shipped: a shipment may be on
//! its way to us while we ask. Refused: `CancellationRefused`, and the order goes on. Done: nothing can be shipped any
//! more, so from here only forward. Billing refunds what is left of what it took, and on `PaymentRefunded` the order is
//! cancelled.

use std::sync::LazyLock;

use contracts::{OrderId, billing::BillingCommand, inventory::InventoryCommand, order::CancelReason};
use saga::{Ended, Saga};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    checkout::{Command, wire},
    order::{News, Order, Status},
};

/// The steps; nothing before the pivot, so nothing to undo.
pub(crate) static CANCELLATION: LazyLock<Saga<Cancellation>> = LazyLock::new(|| {
    Saga::named("cancellation")
        .pivot("reclaim stock", Cancellation::reclaim_stock)
        .then("refund payment", Cancellation::refund_payment)
        .ends()
});

/// What the commands of a cancellation are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cancellation {
    order: OrderId,
}

/// Why stock is not reclaimed: some of it has been shipped, so all of it will be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReclaimRefusal {
    Shipped,
}

/// What to do when somebody wants an order cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Its checkout is told, and knows whether it can still turn.
    ByCheckout,
    /// A cancellation begins.
    ByCancellation,
    /// It is cancelled, or about to be.
    Already,
    /// Something of it is shipped.
    TooLate,
}

impl saga::Data for Cancellation {
    type Command = Command;
    type Refusal = ReclaimRefusal;
}

impl Cancellation {
    /// The cancellation of an order that is paid for.
    pub(crate) fn of(order: OrderId) -> Self {
        Self { order }
    }

    /// Which order is to be cancelled.
    pub(crate) fn order(&self) -> OrderId {
        self.order
    }

    fn reclaim_stock(&self, id: &saga::CommandId) -> Command {
        Command::Inventory(InventoryCommand::ReclaimStock { command: wire(id), order: self.order })
    }

    fn refund_payment(&self, id: &saga::CommandId) -> Command {
        Command::Billing(BillingCommand::RefundPayment { command: wire(id), order: self.order })
    }
}

/// What to do when somebody wants `order` cancelled, for which a cancellation `has_begun` or not.
pub(crate) fn wanted(order: &Order, has_begun: bool) -> Wanted {
    match &order.status {
        Status::Pending => Wanted::ByCheckout,
        Status::Confirmed if order.cancellation_refused => Wanted::TooLate,
        Status::Confirmed if has_begun => Wanted::Already,
        Status::Confirmed => Wanted::ByCancellation,
        Status::PartlyShipped | Status::Shipped => Wanted::TooLate,
        Status::Cancelled(_) => Wanted::Already,
    }
}

/// What the order hears when its cancellation has ended.
pub(crate) fn ended(how: &Ended<ReclaimRefusal>) -> News {
    match how {
        Ended::Completed => News::Undone(CancelReason::Requested),
        Ended::Unwound(_) => News::CancellationRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every refusal, timeout, duplicate and late answer at every step, and all pairs of them.
    #[test]
    fn cancellation_survives_anything() {
        saga::testing::exhaust(&CANCELLATION, &Cancellation::of(OrderId::mint()), &[ReclaimRefusal::Shipped]);
    }

    #[test]
    fn each_step_has_its_command() {
        let id: saga::CommandId = format!("{}:reclaim-stock:do:1", uuid::Uuid::now_v7()).parse().unwrap();
        let (cancellation, command) = (Cancellation::of(OrderId::mint()), wire(&id));
        let order = cancellation.order;
        let reclaim = InventoryCommand::ReclaimStock { command: command.clone(), order };
        assert_eq!(cancellation.reclaim_stock(&id), Command::Inventory(reclaim));
        assert_eq!(
            cancellation.refund_payment(&id),
            Command::Billing(BillingCommand::RefundPayment { command, order })
        );
    }
}

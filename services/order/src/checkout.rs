//! Checkout: an order is confirmed once its stock is held and its money taken.
//!
//! Until the money is taken, a refusal undoes every step that was or may have been done; after that we only go forward.
//! What happens when the card is declined? `authorize payment` is refused, so `hold stock` is undone by `ReleaseStock`,
//! and on `StockReleased` the order is cancelled with the reason the card was declined for. What happens when the customer
//! cancels meanwhile is in [`cancellation`](crate::cancellation).

use std::sync::LazyLock;

use contracts::{
    CommandId, CustomerId, Money, OrderId,
    billing::{BillingCommand, PaymentRefusal, PaymentToken},
    inventory::{InventoryCommand, StockLine, StockRefusal},
    order::{CancelReason, OrderEvent, OrderLine},
};
use saga::{Did, Ended, Instance, Saga, Undo, Why, step};
use serde::{Deserialize, Serialize};

use crate::order::News;

/// The steps, and what undoes them.
pub(crate) static CHECKOUT: LazyLock<Saga<Checkout>> = LazyLock::new(|| {
    Saga::named("checkout")
        .side_by_side([
            step("hold stock", Checkout::hold_stock, Checkout::release_stock),
            step("authorize payment", Checkout::authorize, Checkout::void),
        ])
        .pivot("capture payment", Checkout::capture)
        .ends()
});

/// What the commands of a checkout are made of. Never changes, but for the token, which goes as soon as it can.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkout {
    order: OrderId,
    customer: CustomerId,
    lines: Vec<OrderLine>,
    total: Money,
    token: Option<PaymentToken>,
}

/// A command to one of the two participants, of whichever saga.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Inventory(InventoryCommand),
    Billing(BillingCommand),
}

impl saga::Data for Checkout {
    type Command = Command;
    type Refusal = CancelReason;
}

impl Checkout {
    /// The checkout of the order that `placed` placed; `None` for any other event.
    pub(crate) fn of(placed: &OrderEvent, token: PaymentToken) -> Option<Self> {
        let OrderEvent::Placed { order, customer, lines, total, .. } = placed else { return None };
        Some(Self { order: *order, customer: *customer, lines: lines.clone(), total: *total, token: Some(token) })
    }

    /// Which order this is the checkout of.
    pub(crate) fn order(&self) -> OrderId {
        self.order
    }

    /// Drops the token of a checkout that will not ask for the authorization again: it is answered, or taken back.
    pub(crate) fn forget_token(checkout: &mut Instance<Self>) {
        let authorization = checkout.progress("authorize-payment");
        if !authorization.is_some_and(|asked| asked.did == Did::Asked && asked.undo == Undo::No) {
            checkout.data.token = None;
        }
    }

    fn hold_stock(&self, id: &saga::CommandId) -> Command {
        let line = |line: &OrderLine| StockLine { sku: line.sku.clone(), quantity: line.quantity };
        let lines = self.lines.iter().map(line).collect();
        Command::Inventory(InventoryCommand::HoldStock { command: wire(id), order: self.order, lines })
    }

    fn release_stock(&self, id: &saga::CommandId) -> Command {
        Command::Inventory(InventoryCommand::ReleaseStock { command: wire(id), order: self.order })
    }

    fn authorize(&self, id: &saga::CommandId) -> Command {
        let token = self.token.clone().expect("the token is kept while the authorization may be asked for");
        let Self { order, customer, total: amount, .. } = *self;
        let (command, lines) = (wire(id), self.lines.clone());
        Command::Billing(BillingCommand::AuthorizePayment { command, order, customer, amount, lines, token })
    }

    fn void(&self, id: &saga::CommandId) -> Command {
        Command::Billing(BillingCommand::VoidPayment { command: wire(id), order: self.order })
    }

    fn capture(&self, id: &saga::CommandId) -> Command {
        Command::Billing(BillingCommand::CapturePayment { command: wire(id), order: self.order })
    }
}

/// What the order hears when its checkout has ended; nothing if it is paid for and wanted no more: then it is cancelled,
/// and never was confirmed.
pub(crate) fn ended(how: Ended<CancelReason>, is_cancel_requested: bool) -> Option<News> {
    match how {
        Ended::Completed if is_cancel_requested => None,
        Ended::Completed => Some(News::Paid),
        Ended::Unwound(Why::Refused { reason, .. }) => Some(News::Undone(reason)),
        Ended::Unwound(Why::TimedOut) => Some(News::Undone(CancelReason::TimedOut)),
        Ended::Unwound(Why::Cancelled) => Some(News::Undone(CancelReason::Requested)),
    }
}

/// Why an order is cancelled whose stock was refused.
pub(crate) fn no_stock(refusal: StockRefusal) -> CancelReason {
    match refusal {
        StockRefusal::OutOfStock { sku } => CancelReason::OutOfStock { sku },
        // Refused because we let go of it first: the saga has turned long before, and has its reason.
        StockRefusal::Released => CancelReason::TimedOut,
    }
}

/// Why an order is cancelled whose payment was refused.
pub(crate) fn no_payment(refusal: PaymentRefusal) -> CancelReason {
    match refusal {
        PaymentRefusal::Declined { decline_code } => CancelReason::PaymentDeclined { decline_code },
        PaymentRefusal::UnknownCustomer => CancelReason::UnknownCustomer,
        // Refused because we voided it first: the saga has turned long before, and has its reason.
        PaymentRefusal::Voided => CancelReason::TimedOut,
    }
}

/// A command's id as it travels.
pub(crate) fn wire(id: &saga::CommandId) -> CommandId {
    id.to_string().try_into().expect("a saga's command id is short visible ASCII")
}

#[cfg(test)]
mod tests {
    use contracts::{Currency, CustomerId, Quantity, vat::VatRate};
    use jiff::Timestamp;

    use super::*;

    fn checkout() -> Checkout {
        let (sku, quantity) = ("MUG".parse().unwrap(), Quantity::try_from(2).unwrap());
        let line =
            OrderLine::priced(sku, "Mug".into(), quantity, Money::new(1290, Currency::EUR), VatRate(1900)).unwrap();
        let (order, customer, total) = (OrderId::mint(), CustomerId::mint(), Money::new(2580, Currency::EUR));
        let at = Timestamp::UNIX_EPOCH;
        let placed = OrderEvent::Placed { order, version: 1, customer, lines: vec![line], total, at };
        Checkout::of(&placed, "tok_ok".to_owned().try_into().unwrap()).unwrap()
    }

    /// Every refusal, timeout, duplicate and late answer at every step, and all pairs of them.
    #[test]
    fn checkout_survives_anything() {
        let short = CancelReason::OutOfStock { sku: "MUG".parse().unwrap() };
        let declined = CancelReason::PaymentDeclined { decline_code: "card_declined".into() };
        saga::testing::exhaust(&CHECKOUT, &checkout(), &[short, declined]);
    }

    #[test]
    fn each_step_has_its_command_and_its_undo() {
        let id: saga::CommandId = format!("{}:hold-stock:do:1", uuid::Uuid::now_v7()).parse().unwrap();
        let (checkout, command) = (checkout(), wire(&id));
        let order = checkout.order;
        let [line] = &checkout.lines[..] else { panic!("{checkout:?}") };
        let lines = vec![StockLine { sku: line.sku.clone(), quantity: line.quantity }];
        let hold = InventoryCommand::HoldStock { command: command.clone(), order, lines };
        assert_eq!(checkout.hold_stock(&id), Command::Inventory(hold));
        let release = InventoryCommand::ReleaseStock { command: command.clone(), order };
        assert_eq!(checkout.release_stock(&id), Command::Inventory(release));
        let void = BillingCommand::VoidPayment { command: command.clone(), order };
        assert_eq!(checkout.void(&id), Command::Billing(void));
        let (customer, amount, lines) = (checkout.customer, checkout.total, checkout.lines.clone());
        let (command, token) = (command.clone(), checkout.token.clone().unwrap());
        let authorize = BillingCommand::AuthorizePayment { command, order, customer, amount, lines, token };
        assert_eq!(checkout.authorize(&id), Command::Billing(authorize));
        let capture = BillingCommand::CapturePayment { command: wire(&id), order };
        assert_eq!(checkout.capture(&id), Command::Billing(capture));
    }
}

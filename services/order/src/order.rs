//! The order: what may happen to it, and what it is after what happened. Pure.

use std::collections::{HashMap, HashSet};

use contracts::{
    Currency, CustomerId, Money, MoneyError, OrderId, Quantity, Sku,
    order::{CancelReason, OrderEvent, OrderLine},
    vat::VatRate,
};
use jiff::Timestamp;

/// An order as it is now: the fold of its events.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) customer: CustomerId,
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) total: Money,
    pub(crate) status: Status,
    pub(crate) version: u32,
    pub(crate) placed_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Confirmed,
    Cancelled(CancelReason),
}

/// What a customer wants: 1 to [`Cart::MAX_LINES`] lines, each SKU once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cart {
    lines: Vec<(Sku, Quantity)>,
}

/// What a piece costs at this moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Price {
    pub(crate) unit_price: Money,
    pub(crate) vat_rate: VatRate,
}

/// Why an order is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("an order has 1 to {} lines", Cart::MAX_LINES)]
    LineCount,
    #[error("{0} stands in two lines")]
    SkuTwice(Sku),
    #[error("there is no product {0}")]
    UnknownSku(Sku),
    #[error("{} and {} cannot be in one order", .0.code(), .1.code())]
    MixedCurrencies(Currency, Currency),
    #[error("the total is too large")]
    TooLarge,
}

/// The event cannot happen to the order as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot follow version {version} of order {order}")]
pub(crate) struct Impossible {
    order: OrderId,
    version: u32,
    event: &'static str,
}

impl Status {
    /// The word for it, in the database and in the API.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Cancelled(_) => "cancelled",
        }
    }

    /// Why the order was cancelled, if it was.
    pub(crate) fn cancel_reason(&self) -> Option<&CancelReason> {
        match self {
            Self::Cancelled(reason) => Some(reason),
            Self::Pending | Self::Confirmed => None,
        }
    }
}

impl Cart {
    pub(crate) const MAX_LINES: usize = 100;

    pub(crate) fn new(lines: Vec<(Sku, Quantity)>) -> Result<Self, Refusal> {
        if !(1..=Self::MAX_LINES).contains(&lines.len()) {
            return Err(Refusal::LineCount);
        }
        let mut seen = HashSet::new();
        match lines.iter().find(|(sku, _)| !seen.insert(sku)) {
            Some((sku, _)) => Err(Refusal::SkuTwice(sku.clone())),
            None => Ok(Self { lines }),
        }
    }

    pub(crate) fn skus(&self) -> impl Iterator<Item = &Sku> {
        self.lines.iter().map(|(sku, _)| sku)
    }
}

/// Prices `cart` and places the order, or says why not.
pub(crate) fn place(
    order: OrderId,
    customer: CustomerId,
    cart: &Cart,
    prices: &HashMap<Sku, Price>,
    at: Timestamp,
) -> Result<OrderEvent, Refusal> {
    let mut lines = Vec::with_capacity(cart.lines.len());
    let mut total: Option<Money> = None;
    for (sku, quantity) in &cart.lines {
        let price = prices.get(sku).ok_or_else(|| Refusal::UnknownSku(sku.clone()))?;
        let line = OrderLine::priced(sku.clone(), *quantity, price.unit_price, price.vat_rate)?;
        let sum = line.taxed()?.gross;
        total = Some(total.map_or(Ok(sum), |so_far| so_far.plus(sum))?);
        lines.push(line);
    }
    let total = total.expect("a cart has at least one line");
    Ok(OrderEvent::Placed { order, version: 1, customer, lines, total, at })
}

impl From<MoneyError> for Refusal {
    fn from(error: MoneyError) -> Self {
        match error {
            MoneyError::TooLarge => Self::TooLarge,
            MoneyError::Mixed(one, other) => Self::MixedCurrencies(one, other),
        }
    }
}

impl Order {
    /// The order after `event`, which must be the next one: `order` is `None` before the first.
    pub(crate) fn apply(order: Option<Self>, event: &OrderEvent) -> Result<Self, Impossible> {
        match (order, event) {
            (None, OrderEvent::Placed { order: id, version: 1, customer, lines, total, at }) => Ok(Self {
                id: *id,
                customer: *customer,
                lines: lines.clone(),
                total: *total,
                status: Status::Pending,
                version: 1,
                placed_at: *at,
                updated_at: *at,
            }),
            (Some(order), OrderEvent::Confirmed { order: id, version, at }) if order.may(*id, *version) => {
                Ok(Self { status: Status::Confirmed, version: *version, updated_at: *at, ..order })
            }
            (Some(order), OrderEvent::Cancelled { order: id, version, reason, at }) if order.may(*id, *version) => {
                Ok(Self { status: Status::Cancelled(reason.clone()), version: *version, updated_at: *at, ..order })
            }
            (order, event) => Err(Impossible::new(order.as_ref(), event)),
        }
    }

    /// What its events make of an order.
    #[cfg(test)]
    pub(crate) fn fold(events: &[OrderEvent]) -> Result<Option<Self>, Impossible> {
        events.iter().try_fold(None, |order, event| Self::apply(order, event).map(Some))
    }

    /// The event that confirms this order.
    pub(crate) fn confirm(&self, now: Timestamp) -> OrderEvent {
        OrderEvent::Confirmed { order: self.id, version: self.version + 1, at: self.not_before(now) }
    }

    /// The event that cancels this order.
    pub(crate) fn cancel(&self, reason: CancelReason, now: Timestamp) -> OrderEvent {
        OrderEvent::Cancelled { order: self.id, version: self.version + 1, reason, at: self.not_before(now) }
    }

    /// Both events so far end a pending order, and only the next version of this order.
    fn may(&self, order: OrderId, version: u32) -> bool {
        self.status == Status::Pending && self.id == order && version == self.version + 1
    }

    /// The time of an order's events never goes back, whatever the clock does: `as_of` would not be monotone.
    fn not_before(&self, now: Timestamp) -> Timestamp {
        now.max(self.updated_at)
    }
}

impl Impossible {
    fn new(order: Option<&Order>, event: &OrderEvent) -> Self {
        use contracts::Message;
        let (OrderEvent::Placed { order: id, .. }
        | OrderEvent::Confirmed { order: id, .. }
        | OrderEvent::Shipped { order: id, .. }
        | OrderEvent::CancellationRefused { order: id, .. }
        | OrderEvent::Cancelled { order: id, .. }) = event;
        Self { order: *id, version: order.map_or(0, |order| order.version), event: event.kind() }
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;

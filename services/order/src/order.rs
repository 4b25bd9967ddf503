//! The order: what may happen to it, and what it is after what happened. Pure.

use std::collections::{HashMap, HashSet};

use contracts::{
    Currency, CustomerId, Message, Money, MoneyError, OrderId, Quantity, ShipmentId, Sku,
    order::{CancelReason, OrderEvent, OrderLine},
    vat::VatRate,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An order as it is now: the fold of its events.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) customer: CustomerId,
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) total: Money,
    pub(crate) status: Status,
    pub(crate) version: u32,
    /// What has left for the customer. Each counts once, however often it is said.
    pub(crate) shipments: Vec<ShipmentId>,
    /// Whether it was to be cancelled when something of it was shipped.
    pub(crate) cancellation_refused: bool,
    pub(crate) placed_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Confirmed,
    PartlyShipped,
    Shipped,
    Cancelled(CancelReason),
}

/// The word for where an order stands, in the database and in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OrderStatus)]
pub(crate) enum StatusName {
    Pending,
    Confirmed,
    PartlyShipped,
    Shipped,
    Cancelled,
}

/// What an order hears of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Its stock is held and its money taken.
    Paid,
    /// Nothing is held or charged any more.
    Undone(CancelReason),
    /// It was to be cancelled, and something of it is shipped.
    CancellationRefused,
    /// Something of it has left a warehouse; `complete` with the last of it.
    Shipped { shipment: ShipmentId, complete: bool },
}

/// What a customer wants: 1 to [`Cart::MAX_LINES`] lines, each SKU once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cart {
    lines: Vec<CartLine>,
}

/// One line of a cart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CartLine {
    pub(crate) sku: Sku,
    pub(crate) quantity: Quantity,
    /// The price of a piece that the customer saw, if they say so: at another they do not want it.
    pub(crate) unit_price: Option<Money>,
}

/// A line whose price is not the one that the customer saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherPrice {
    /// Its place in the cart, from 0.
    pub(crate) line: usize,
    pub(crate) sku: Sku,
    /// What a piece costs now.
    pub(crate) unit_price: Money,
}

/// What a piece is called and costs at this moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Price {
    pub(crate) name: String,
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
    /// Every line of which that is true.
    #[error("not all costs what it did; see what it costs now")]
    PriceChanged(Vec<OtherPrice>),
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

impl StatusName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::PartlyShipped => "partly_shipped",
            Self::Shipped => "shipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Status {
    pub(crate) fn name(&self) -> StatusName {
        match self {
            Self::Pending => StatusName::Pending,
            Self::Confirmed => StatusName::Confirmed,
            Self::PartlyShipped => StatusName::PartlyShipped,
            Self::Shipped => StatusName::Shipped,
            Self::Cancelled(_) => StatusName::Cancelled,
        }
    }

    /// Why the order was cancelled, if it was.
    pub(crate) fn cancel_reason(&self) -> Option<&CancelReason> {
        match self {
            Self::Cancelled(reason) => Some(reason),
            Self::Pending | Self::Confirmed | Self::PartlyShipped | Self::Shipped => None,
        }
    }
}

impl Cart {
    pub(crate) const MAX_LINES: usize = 100;

    pub(crate) fn new(lines: Vec<CartLine>) -> Result<Self, Refusal> {
        if !(1..=Self::MAX_LINES).contains(&lines.len()) {
            return Err(Refusal::LineCount);
        }
        let mut seen = HashSet::new();
        match lines.iter().find(|line| !seen.insert(&line.sku)) {
            Some(line) => Err(Refusal::SkuTwice(line.sku.clone())),
            None => Ok(Self { lines }),
        }
    }

    pub(crate) fn skus(&self) -> impl Iterator<Item = &Sku> {
        self.lines.iter().map(|line| &line.sku)
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
    let mut others = Vec::new();
    for (place, CartLine { sku, quantity, unit_price: seen }) in cart.lines.iter().enumerate() {
        let price = prices.get(sku).ok_or_else(|| Refusal::UnknownSku(sku.clone()))?;
        if seen.is_some_and(|seen| seen != price.unit_price) {
            others.push(OtherPrice { line: place, sku: sku.clone(), unit_price: price.unit_price });
        }
        let line = OrderLine::priced(sku.clone(), price.name.clone(), *quantity, price.unit_price, price.vat_rate)?;
        let sum = line.taxed()?.gross;
        total = Some(total.map_or(Ok(sum), |so_far| so_far.plus(sum))?);
        lines.push(line);
    }
    if !others.is_empty() {
        return Err(Refusal::PriceChanged(others));
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
        let Some(before) = order else { return Self::begin(event).ok_or_else(|| Impossible::new(0, event)) };
        let is_next = event.order() == before.id && event.version() == before.version + 1;
        let Some(status) = before.status_after(event).filter(|_| is_next) else {
            return Err(Impossible::new(before.version, event));
        };
        let mut after = Self { status, version: event.version(), updated_at: event.at(), ..before };
        match event {
            OrderEvent::Shipped { shipment, .. } => after.shipments.push(*shipment),
            OrderEvent::CancellationRefused { .. } => after.cancellation_refused = true,
            OrderEvent::Placed { .. } | OrderEvent::Confirmed { .. } | OrderEvent::Cancelled { .. } => {}
        }
        Ok(after)
    }

    /// What its events make of an order; `None` without any.
    pub(crate) fn fold(events: &[OrderEvent]) -> Result<Option<Self>, Impossible> {
        events.iter().try_fold(None, |order, event| Self::apply(order, event).map(Some))
    }

    /// What follows for this order from `news`; `None` if it has heard of it before. Whether it can be is for
    /// [`apply`](Self::apply) to say.
    pub(crate) fn hear(&self, news: News, now: Timestamp) -> Option<OrderEvent> {
        // The time of an order's events never goes back, whatever the clock does: `as_of` would not be monotone.
        let (order, version, at) = (self.id, self.version + 1, now.max(self.updated_at));
        Some(match news {
            News::Paid => OrderEvent::Confirmed { order, version, at },
            News::Undone(reason) => OrderEvent::Cancelled { order, version, reason, at },
            News::CancellationRefused => OrderEvent::CancellationRefused { order, version, at },
            News::Shipped { shipment, .. } if self.shipments.contains(&shipment) => return None,
            News::Shipped { shipment, complete } => OrderEvent::Shipped { order, version, shipment, complete, at },
        })
    }

    fn begin(event: &OrderEvent) -> Option<Self> {
        let OrderEvent::Placed { order: id, version: 1, customer, lines, total, at } = event else { return None };
        Some(Self {
            id: *id,
            customer: *customer,
            lines: lines.clone(),
            total: *total,
            status: Status::Pending,
            version: 1,
            shipments: Vec::new(),
            cancellation_refused: false,
            placed_at: *at,
            updated_at: *at,
        })
    }

    /// Where the order stands after `event`; `None` if that cannot happen to it as it is.
    fn status_after(&self, event: &OrderEvent) -> Option<Status> {
        match (&self.status, event) {
            (Status::Pending, OrderEvent::Confirmed { .. }) => Some(Status::Confirmed),
            (Status::Pending, OrderEvent::Cancelled { reason, .. }) => Some(Status::Cancelled(reason.clone())),
            // Once it is paid, only who it is for can want it cancelled; once something is shipped, nobody.
            (Status::Confirmed, OrderEvent::Cancelled { reason: CancelReason::Requested, .. })
                if !self.cancellation_refused =>
            {
                Some(Status::Cancelled(CancelReason::Requested))
            }
            (Status::Confirmed | Status::PartlyShipped | Status::Shipped, OrderEvent::CancellationRefused { .. })
                if !self.cancellation_refused =>
            {
                Some(self.status.clone())
            }
            (
                Status::Confirmed | Status::PartlyShipped | Status::Shipped,
                OrderEvent::Shipped { shipment, complete, .. },
            ) if !self.shipments.contains(shipment) => {
                // The last shipment can be heard of before an earlier one: the topic may have lost that for a while.
                let complete = *complete || self.status == Status::Shipped;
                Some(if complete { Status::Shipped } else { Status::PartlyShipped })
            }
            // Nothing happens twice, and nothing after the end.
            (_, _) => None,
        }
    }
}

impl Impossible {
    fn new(version: u32, event: &OrderEvent) -> Self {
        Self { order: event.order(), version, event: event.kind() }
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;

//! Who pays how much for what: agreed by the authorization, and never changed. Pure.

use contracts::order::OrderLine;
use contracts::vat::{self, Taxed};
use contracts::{CustomerId, Money, MoneyError};

/// Who pays how much for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    customer: CustomerId,
    amount: Money,
    lines: Vec<OrderLine>,
    taxes: Vec<Taxed>,
}

impl Terms {
    /// What `customer` pays: `amount`, which is not negative, for `lines`. None if the lines do not add up to it, each VAT
    /// a part of its line.
    pub fn new(customer: CustomerId, amount: Money, lines: Vec<OrderLine>) -> Option<Self> {
        let taxed: Result<Vec<Taxed>, MoneyError> = lines.iter().map(OrderLine::taxed).collect();
        let taxes = taxed.and_then(|lines| vat::per_rate(&lines)).ok()?;
        vat::adds_up(&taxes, amount).then_some(Self { customer, amount, lines, taxes })
    }

    /// Whether these are the terms.
    pub(crate) fn are(&self, customer: CustomerId, amount: Money, lines: &[OrderLine]) -> bool {
        (self.customer, self.amount, &self.lines[..]) == (customer, amount, lines)
    }

    /// Who pays.
    pub fn customer(&self) -> CustomerId {
        self.customer
    }

    /// How much.
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// What for.
    pub fn lines(&self) -> &[OrderLine] {
        &self.lines
    }

    /// The amount by rate of VAT.
    pub fn taxes(&self) -> &[Taxed] {
        &self.taxes
    }
}

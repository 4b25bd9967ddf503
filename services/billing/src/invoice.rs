//! Invoices, and the credit notes that correct them. Pure.
//!
//! An invoice says what Article 226 of Directive 2006/112/EC asks for: who sold what to whom and when, and at each rate
//! of VAT the taxable amount, the tax, and both together. It is issued once for each order, when that is confirmed, and
//! never changed. What goes back later is corrected by credit notes: one for each part that was refunded, and one for all
//! that is left when the order is cancelled. Their amounts are negative, so that all papers of a cancelled order add up
//! to nothing.
//!
//! Its JSON is the invoice: those bytes are stored, hashed and handed out. The page that people print is
//! [made](crate::page) from them alone.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use contracts::order::OrderLine;
use contracts::vat::{self, Taxed, VatRate};
use contracts::{Currency, Money, OrderId, Sku};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::customer::Customer;
use crate::fault::Fault;
use crate::state::State;
use crate::terms::Terms;

/// An invoice or a credit note. Amounts are minor units of its currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Invoice {
    /// Its number.
    pub number: Number,
    /// When it was issued; never before that of a lower number.
    pub issued_at: Timestamp,
    /// For which order.
    pub order: OrderId,
    /// The invoice that this credit note corrects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<Number>,
    /// Who sold.
    pub seller: Party,
    /// Who bought.
    pub buyer: Party,
    /// When the goods were paid for and made over.
    pub supplied_on: Date,
    /// Of all amounts.
    #[schema(value_type = String, pattern = "^[A-Z]{3}$", example = "EUR")]
    pub currency: Currency,
    /// What was sold. Of a credit note nothing: it corrects sums.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// The sums at each rate of VAT, the lowest rate first.
    pub taxes: Vec<Tax>,
    /// The sums of all rates.
    pub total: Total,
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = InvoiceLine)]
pub struct Line {
    /// What.
    pub sku: Sku,
    /// What the customer read when it was ordered.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// Price of one piece, VAT included.
    pub unit_price: i64,
    /// The rate of the VAT in it.
    pub vat_rate: VatRate,
    /// The price of the line without VAT.
    pub net: i64,
    /// The VAT in it.
    pub vat: i64,
    /// Both.
    pub gross: i64,
}

/// The sums at one rate of VAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tax {
    /// At which rate.
    pub vat_rate: VatRate,
    /// The taxable amount.
    pub net: i64,
    /// The tax.
    pub vat: i64,
    /// Both.
    pub gross: i64,
}

/// The sums of all rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Total {
    /// Without VAT.
    pub net: i64,
    /// The VAT.
    pub vat: i64,
    /// What is paid.
    pub gross: i64,
}

/// Seller or buyer. `Debug` shows nothing of either.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Party {
    /// Of a person or a company.
    pub name: String,
    /// The postal address without the country: one line each.
    pub address: Vec<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Under which it is taxed. A seller has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vat_id: Option<String>,
}

/// What is numbered 1..n without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Series {
    /// Invoices.
    Invoice,
    /// Credit notes.
    CreditNote,
}

/// The number of an invoice or a credit note: `INV-1`, `CN-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number {
    /// Of which series.
    pub series: Series,
    /// Its place there, from 1.
    pub place: i64,
}

/// The text is no number of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of an invoice is like INV-1, that of a credit note like CN-1")]
pub struct NotANumber;

/// What an invoice is made of, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sale {
    /// Which order.
    pub order: OrderId,
    /// Who sold.
    pub seller: Party,
    /// Who bought.
    pub buyer: Party,
    /// When it was confirmed.
    pub at: Timestamp,
    /// What, for how much.
    pub terms: Terms,
}

/// Whether `OrderConfirmed` issues an invoice for an order whose payment is in `state`.
///
/// # Errors
/// [`Fault::NotPaid`]: nothing was taken, so the order cannot have been confirmed.
pub fn is_due(order: OrderId, state: State, closed: bool, invoiced: bool) -> Result<bool, Fault> {
    match (closed || invoiced, state.was_captured()) {
        (true, _) => Ok(false),
        // Also if it is going back, or has gone: the credit note comes behind.
        (false, true) => Ok(true),
        (false, false) => Err(Fault::NotPaid { order, state }),
    }
}

impl Sale {
    /// The invoice.
    pub fn invoice(&self, place: i64, issued_at: Timestamp) -> Invoice {
        let Self { order, seller, buyer, at, terms } = self;
        Invoice {
            number: Number { series: Series::Invoice, place },
            issued_at,
            order: *order,
            corrects: None,
            seller: seller.clone(),
            buyer: buyer.clone(),
            // Two clocks: nothing is supplied after its invoice says it was.
            supplied_on: (*at).min(issued_at).to_zoned(TimeZone::UTC).date(),
            currency: terms.amount().currency,
            lines: terms.lines().iter().map(Line::from).collect(),
            taxes: terms.taxes().iter().map(Tax::from).collect(),
            total: Total::of(terms.taxes()),
        }
    }
}

impl Invoice {
    /// The credit note that takes `taxes` of this invoice back.
    pub fn credit(&self, place: i64, issued_at: Timestamp, taxes: &[Taxed]) -> Self {
        let negative = |amount: i64| -amount;
        let tax = |tax: &Taxed| {
            let Tax { vat_rate, net, vat, gross } = tax.into();
            Tax { vat_rate, net: negative(net), vat: negative(vat), gross: negative(gross) }
        };
        let Total { net, vat, gross } = Total::of(taxes);
        Self {
            number: Number { series: Series::CreditNote, place },
            issued_at,
            corrects: Some(self.number),
            lines: Vec::new(),
            taxes: taxes.iter().map(tax).collect(),
            total: Total { net: negative(net), vat: negative(vat), gross: negative(gross) },
            ..self.clone()
        }
    }

    /// The bytes that are stored and hashed.
    pub fn facts(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are always JSON")
    }

    /// What it says at each rate.
    fn taxed(&self) -> Vec<Taxed> {
        let money = |amount| Money::new(amount, self.currency);
        let taxed = |tax: &Tax| Taxed { rate: tax.vat_rate, gross: money(tax.gross), vat: money(tax.vat) };
        self.taxes.iter().map(taxed).collect()
    }
}

/// The papers of an order so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Papers {
    /// Its invoice.
    pub invoice: Option<Invoice>,
    /// What was credited: for which refund, or 0 for all the rest; and how much at each rate.
    pub credits: Vec<(u32, Vec<Taxed>)>,
}

impl Papers {
    /// Adds what was issued, the invoice of an order first.
    pub fn add(&mut self, refund: u32, issued: Invoice) {
        match issued.number.series {
            Series::Invoice => self.invoice = Some(issued),
            Series::CreditNote => {
                let back = |tax: Taxed| {
                    let negated = |money: Money| Money::new(-money.amount, money.currency);
                    Taxed { gross: negated(tax.gross), vat: negated(tax.vat), ..tax }
                };
                self.credits.push((refund, issued.taxed().into_iter().map(back).collect()));
            }
        }
    }

    /// What is to be credited: of `part`, a refund and what it returned, or else all that is left. None if there is no
    /// invoice, or nothing left, or it was credited before. Never more is credited than is left of the invoice.
    pub fn credit(&mut self, part: Option<(u32, &[Taxed])>) -> Option<Vec<Taxed>> {
        let invoice = self.invoice.as_ref()?;
        let refund = part.map_or(0, |(refund, _)| refund);
        if self.credits.iter().any(|(known, _)| *known == refund) {
            return None;
        }
        let credited: Vec<Taxed> = self.credits.iter().flat_map(|(_, taxes)| taxes).copied().collect();
        let left = vat::without(&invoice.taxed(), &credited).ok()?;
        let taxes: Vec<Taxed> = match part {
            Some((_, taxes)) if covers(&left, taxes) => taxes.to_vec(),
            // It was under way when the rest was credited, and is in that.
            Some(_) => return None,
            None => left.into_iter().filter(|tax| tax.gross.amount != 0).collect(),
        };
        if taxes.is_empty() {
            return None;
        }
        self.credits.push((refund, taxes.clone()));
        Some(taxes)
    }
}

/// Whether `taxes` is a part of `left` at each rate.
fn covers(left: &[Taxed], taxes: &[Taxed]) -> bool {
    let part = |one: &Taxed| {
        let of = left.iter().find(|left| left.rate == one.rate);
        of.is_some_and(|left| one.vat.amount <= left.vat.amount && one.net().amount <= left.net().amount)
    };
    taxes.iter().all(part)
}

impl From<&OrderLine> for Line {
    fn from(line: &OrderLine) -> Self {
        let OrderLine { sku, name, quantity, unit_price, vat_rate, vat } = line.clone();
        // The terms have made sure that it fits.
        let gross = unit_price.amount.saturating_mul(quantity.get().into());
        let (net, vat) = (gross.saturating_sub(vat.amount), vat.amount);
        let (quantity, unit_price) = (quantity.get(), unit_price.amount);
        Self { sku, name, quantity, unit_price, vat_rate, net, vat, gross }
    }
}

impl From<&Taxed> for Tax {
    fn from(tax: &Taxed) -> Self {
        Self { vat_rate: tax.rate, net: tax.net().amount, vat: tax.vat.amount, gross: tax.gross.amount }
    }
}

impl Total {
    fn of(taxes: &[Taxed]) -> Self {
        let sum = |what: fn(&Taxed) -> i64| taxes.iter().map(what).sum();
        Self { net: sum(|tax| tax.net().amount), vat: sum(|tax| tax.vat.amount), gross: sum(|tax| tax.gross.amount) }
    }
}

impl From<Customer> for Party {
    /// Without what an invoice has no use for.
    fn from(customer: Customer) -> Self {
        let Customer { name, address, country, email: _, vat_id } = customer;
        Self { name, address, country, vat_id }
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Party(***)")
    }
}

impl Series {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Invoice, Self::CreditNote];

    /// The name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::CreditNote => "credit_note",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Invoice => "INV-",
            Self::CreditNote => "CN-",
        }
    }
}

impl PartialSchema for Number {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^(INV|CN)-[1-9][0-9]{0,17}$"));
        number.examples(["INV-1"]).build().into()
    }
}

impl ToSchema for Number {
    fn name() -> Cow<'static, str> {
        "InvoiceNumber".into()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.series.prefix(), self.place)
    }
}

impl FromStr for Number {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let read = |series: Series| {
            let place = text.strip_prefix(series.prefix())?;
            let place: i64 = place.parse().ok().filter(|_| place.starts_with(|first| matches!(first, '1'..='9')))?;
            Some(Self { series, place })
        };
        Series::ALL.into_iter().find_map(read).ok_or(NotANumber)
    }
}

impl TryFrom<String> for Number {
    type Error = NotANumber;

    fn try_from(text: String) -> Result<Self, NotANumber> {
        text.parse()
    }
}

impl From<Number> for String {
    fn from(number: Number) -> Self {
        number.to_string()
    }
}

#[cfg(test)]
#[path = "invoice_tests.rs"]
mod tests;

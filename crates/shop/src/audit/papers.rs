//! V: invoices and credit notes, each by itself, in its series, and against the orders and payments they are about.
//!
//! What an invoice says is read here from its bytes, apart from the program that wrote them.

use std::collections::BTreeMap;

use contracts::order::{OrderEvent, OrderLine};
use jiff::Timestamp;
use serde::Deserialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Books, Finding,
    books::{Order, STANDING},
};

/// The invoices in the order of their numbers. The database makes the hashes again from the bytes.
pub(super) const INVOICES: &str = "
    select kind, number, order_id, (extract(epoch from issued_at) * 1000000)::bigint as issued_us,
           hash = sha256(convert_to(facts, 'UTF8')) as sound, facts
    from invoice order by kind, number";

/// An invoice or a credit note.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Invoice {
    pub(super) kind: String,
    pub(super) number: i64,
    pub(super) order_id: Uuid,
    /// Unit: microseconds since 1970.
    pub(super) issued_us: i64,
    /// Whether its hash is that of its bytes.
    pub(super) sound: bool,
    pub(super) facts: String,
}

/// What it says. Amounts are minor units.
#[derive(Debug, Clone, Deserialize)]
struct Facts {
    number: String,
    issued_at: Timestamp,
    order: Uuid,
    corrects: Option<String>,
    seller: Party,
    buyer: Party,
    supplied_on: jiff::civil::Date,
    currency: String,
    #[serde(default)]
    lines: Vec<Line>,
    taxes: Vec<Sums>,
    total: Sums,
}

#[derive(Debug, Clone, Deserialize)]
struct Party {
    name: String,
    address: Vec<String>,
    country: String,
    vat_id: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Line {
    sku: String,
    name: String,
    quantity: i64,
    unit_price: i64,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Sums {
    /// None for those of all rates.
    vat_rate: Option<u32>,
    net: i64,
    vat: i64,
    gross: i64,
}

/// Net, VAT and both.
type Amounts = [i128; 3];

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let papers = Papers::of(books);
    let in_state = |statuses: &'static [&str]| {
        books.orders.values().filter(move |order| statuses.contains(&order.status.as_str()))
    };
    let closed = books.payments.values().filter(|payment| payment.closed);
    vec![
        Finding::of("V1 invoices and credit notes are each numbered 1..n without gaps", papers.in_series(), |one| {
            let (invoice, before) = one;
            let due = before.map_or(1, |before| before.number + 1);
            (invoice.number != due).then(|| format!("{} stands where {due} should", invoice.name()))
        }),
        Finding::of("V2 none was issued before one of a lower number", papers.in_series(), |(invoice, before)| {
            let late = before.is_some_and(|before| before.issued_us > invoice.issued_us);
            late.then(|| invoice.name())
        }),
        Finding::of("V3 every invoice is what was hashed", &books.invoices, |invoice| {
            (!invoice.sound).then(|| invoice.name())
        }),
        Finding::of("V4 every invoice says what the law asks for, and adds up", &books.invoices, |invoice| {
            papers.lacks(invoice).map(|what| format!("{}: {what}", invoice.name()))
        }),
        Finding::of("V5 no more is credited than was invoiced", papers.of_orders.iter(), |(order, all)| {
            let sum = all.sum();
            (all.invoices.len() != 1 || sum.iter().any(|part| *part < 0))
                .then(|| format!("order {order}: {sum:?} is left"))
        }),
        Finding::of("X1 a confirmed order has one invoice, of its lines and its total", in_state(STANDING), |order| {
            (!papers.bill(order)).then(|| format!("order {}", order.id))
        }),
        Finding::of("X1 what went back of a confirmed order is credited", in_state(STANDING), |order| {
            let credited = papers.of_orders.get(&order.id).map_or(0, Of::credited);
            let returned = books.returned(&order.id);
            (credited != returned).then(|| format!("order {}: {returned} went back, {credited} is credited", order.id))
        }),
        Finding::of("X2 the papers of a cancelled order add up to nothing", in_state(&["cancelled"]), |order| {
            let sum = papers.of_orders.get(&order.id).map_or([0; 3], Of::sum);
            (sum != [0; 3]).then(|| format!("order {}: {sum:?} is left", order.id))
        }),
        Finding::of("X2 billing knows of each order that it is cancelled", in_state(&["cancelled"]), |order| {
            let known = books.payments.get(&order.id).is_some_and(|payment| payment.closed);
            (!known).then(|| format!("order {}", order.id))
        }),
        Finding::of("X2 of no cancelled order a payment had to be let go late", closed, |payment| {
            payment.late_cleanup.then(|| format!("order {}", payment.order_id))
        }),
        Finding::of("X3 every invoice has its confirmed order", papers.of_orders.keys(), |order| {
            let events = books.events.get(order).map_or(&[][..], Vec::as_slice);
            let confirmed = events.iter().any(|(_, event)| matches!(event, OrderEvent::Confirmed { .. }));
            (!confirmed).then(|| format!("the invoice of {order}"))
        }),
    ]
}

/// The papers, by what is asked of them.
struct Papers<'b> {
    books: &'b Books,
    of_orders: BTreeMap<Uuid, Of<'b>>,
}

/// The papers of one order that can be read.
#[derive(Default)]
struct Of<'b> {
    invoices: Vec<(&'b Invoice, Facts)>,
    notes: Vec<(&'b Invoice, Facts)>,
}

impl<'b> Papers<'b> {
    fn of(books: &'b Books) -> Self {
        let mut of_orders: BTreeMap<Uuid, Of<'b>> = BTreeMap::new();
        for invoice in &books.invoices {
            let of = of_orders.entry(invoice.order_id).or_default();
            // What cannot be read is named by V4.
            let Ok(facts) = serde_json::from_str(&invoice.facts) else { continue };
            if invoice.kind == "invoice" { &mut of.invoices } else { &mut of.notes }.push((invoice, facts));
        }
        Self { books, of_orders }
    }

    /// Each with the one before it in its series.
    fn in_series(&self) -> impl Iterator<Item = (&'b Invoice, Option<&'b Invoice>)> {
        let invoices = &self.books.invoices;
        let before = std::iter::once(None).chain(invoices.iter().map(Some));
        invoices
            .iter()
            .zip(before)
            .map(|(invoice, before)| (invoice, before.filter(|before| before.kind == invoice.kind)))
    }

    /// Article 226 of Directive 2006/112/EC.
    fn lacks(&self, invoice: &Invoice) -> Option<&'static str> {
        let Ok(facts) = serde_json::from_str::<Facts>(&invoice.facts) else { return Some("it cannot be read") };
        let is_invoice = invoice.kind == "invoice";
        let corrects = self.of_orders.get(&invoice.order_id).and_then(|of| of.invoices.first());
        let corrects = corrects.filter(|_| !is_invoice).map(|(invoice, _)| invoice.name());
        let issued_us = facts.issued_at.as_microsecond();
        let row = (invoice.name(), invoice.order_id, invoice.issued_us);
        let named = |party: &Party| {
            let texts = [&party.name, &party.country].into_iter().chain(&party.address);
            !party.address.is_empty() && texts.into_iter().all(|text| !text.trim().is_empty())
        };
        let sold = |line: &Line| {
            line.quantity > 0
                && !line.sku.is_empty()
                && !line.name.is_empty()
                && i128::from(line.unit_price) * i128::from(line.quantity) == i128::from(line.sums.gross)
        };
        let at = |rate| facts.lines.iter().filter(move |line| line.sums.vat_rate == rate).map(|line| line.sums);
        let rates = |one: &Sums| one.vat_rate.is_some() && (!is_invoice || sum(at(one.vat_rate)) == one.amounts());
        [
            (
                row == (facts.number.clone(), facts.order, issued_us),
                "it says another number, order or time than its row",
            ),
            (facts.corrects == corrects, "it does not name the invoice that it corrects"),
            (named(&facts.seller) && facts.seller.vat_id.is_some(), "its seller has no name, address or VAT id"),
            (named(&facts.buyer), "its buyer has no name or address"),
            (facts.supplied_on <= facts.issued_at.to_zoned(jiff::tz::TimeZone::UTC).date(), "its goods come later"),
            (
                is_invoice != facts.lines.is_empty() && facts.lines.iter().all(sold),
                "its lines do not say what was sold",
            ),
            (facts.taxes.iter().all(rates), "its lines and its sums by rate of VAT differ"),
            (
                facts
                    .taxes
                    .iter()
                    .chain([&facts.total])
                    .all(|one| one.amounts()[0] + one.amounts()[1] == one.amounts()[2]),
                "net and VAT are not the gross amount",
            ),
            (sum(facts.taxes.iter().copied()) == facts.total.amounts(), "its sums by rate of VAT are not its total"),
        ]
        .into_iter()
        .find_map(|(fits, what)| (!fits).then_some(what))
    }

    /// Whether the order has one invoice, over what was ordered.
    fn bill(&self, order: &Order) -> bool {
        let Some(Of { invoices, .. }) = self.of_orders.get(&order.id) else { return false };
        let [(_, facts)] = &invoices[..] else { return false };
        let line = |line: &Line, ordered: &OrderLine| {
            let said = (line.sku.as_str(), line.quantity, line.unit_price, line.sums.vat_rate, line.sums.vat);
            let OrderLine { sku, quantity, unit_price, vat_rate, vat, .. } = ordered;
            said == (sku.as_str(), quantity.get().into(), unit_price.amount, Some(vat_rate.0), vat.amount)
        };
        let ordered = &order.lines.0;
        facts.lines.len() == ordered.len()
            && facts.lines.iter().zip(ordered).all(|(said, ordered)| line(said, ordered))
            && (facts.total.gross, facts.currency.as_str()) == order.total()
    }
}

impl Of<'_> {
    /// What is left of the invoice without its credit notes, whose amounts are negative.
    fn sum(&self) -> Amounts {
        sum(self.invoices.iter().chain(&self.notes).map(|(_, facts)| facts.total))
    }

    /// How much is credited.
    fn credited(&self) -> i128 {
        let [.., gross] = sum(self.notes.iter().map(|(_, facts)| facts.total));
        -gross
    }
}

impl Invoice {
    /// Its number as people know it.
    fn name(&self) -> String {
        format!("{}-{}", if self.kind == "invoice" { "INV" } else { "CN" }, self.number)
    }
}

impl Sums {
    fn amounts(&self) -> Amounts {
        [self.net, self.vat, self.gross].map(i128::from)
    }
}

fn sum(all: impl Iterator<Item = Sums>) -> Amounts {
    all.map(|one| one.amounts()).fold([0; 3], |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]])
}

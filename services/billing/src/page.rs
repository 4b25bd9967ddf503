//! The page of an invoice or a credit note, for people: one sheet of A4 for as many lines as an order may have. Pure.
//!
//! It is made from the invoice alone, so the same invoice gives the same page. Whatever somebody else has written, a name
//! or an address, is escaped.

use std::fmt::{self, Display, Write};

use contracts::Money;
use contracts::vat::VatRate;

use crate::invoice::{Invoice, Line, Party, Series, Tax, Total};

/// No script, no image, nothing from elsewhere. It fits one sheet: the more lines, the smaller they are printed.
const STYLE: &str = "
@page { size: A4; margin: 15mm }
body { font: 10pt/1.35 sans-serif; color: #111; max-width: 180mm; margin: 1em auto }
header { display: flex; justify-content: space-between; gap: 1em }
address { font-style: normal }
h1 { font-size: 16pt; margin: 1.2em 0 .3em }
table { border-collapse: collapse; width: 100%; margin: .8em 0; break-inside: avoid }
.lines { font-size: min(10pt, calc(130mm / (var(--lines) + 2) / 1.6)) }
th, td { text-align: right; padding: .1em .4em; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left }
tfoot td { font-weight: bold; border-bottom: 2px solid #111 }
@media print { body { margin: 0; max-width: none } }
";

/// The page of `invoice`.
pub fn render(invoice: &Invoice) -> String {
    let mut page = String::with_capacity(4096);
    write(&mut page, invoice).expect("a text takes whatever is written to it");
    page
}

fn write(page: &mut String, invoice: &Invoice) -> fmt::Result {
    let Invoice { number, issued_at, order, seller, buyer, supplied_on, .. } = invoice;
    let title = match number.series {
        Series::Invoice => "Invoice",
        Series::CreditNote => "Credit note",
    };
    write!(page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")?;
    writeln!(page, "<title>{title} {number}</title>\n<style>{STYLE}</style>\n</head>\n<body>")?;
    writeln!(page, "<header>\n{}\n{}\n</header>", Block("Sold to", buyer), Block("Seller", seller))?;
    writeln!(page, "<h1>{title} {number}</h1>")?;
    let issued_on = issued_at.to_zoned(jiff::tz::TimeZone::UTC).date();
    write!(page, "<p>Issued on {issued_on}. Paid and supplied on {supplied_on}. Order {order}.")?;
    if let Some(corrects) = invoice.corrects {
        write!(page, " Corrects invoice {corrects}.")?;
    }
    writeln!(page, "</p>")?;
    if !invoice.lines.is_empty() {
        lines(page, invoice)?;
    }
    taxes(page, invoice)?;
    writeln!(page, "<p>All amounts are in {}.</p>\n</body>\n</html>", invoice.currency.code())
}

fn lines(page: &mut String, invoice: &Invoice) -> fmt::Result {
    let count = invoice.lines.len();
    writeln!(page, "<table class=\"lines\" style=\"--lines: {count}\">\n<thead><tr><th>Article</th><th>Pieces</th>")?;
    writeln!(page, "<th>Price incl. VAT</th><th>VAT rate</th><th>Net</th><th>VAT</th><th>Gross</th></tr></thead>")?;
    for Line { sku, name, quantity, unit_price, vat_rate, net, vat, gross } in &invoice.lines {
        let [unit_price, net, vat, gross] = [unit_price, net, vat, gross].map(|amount| plain(invoice, *amount));
        let (name, sku) = (Escaped(name), Escaped(sku.as_str()));
        write!(page, "<tr><td>{name} <small>{sku}</small></td><td>{quantity}</td><td>{unit_price}</td>")?;
        writeln!(page, "<td>{}</td><td>{net}</td><td>{vat}</td><td>{gross}</td></tr>", Percent(*vat_rate))?;
    }
    writeln!(page, "</table>")
}

fn taxes(page: &mut String, invoice: &Invoice) -> fmt::Result {
    writeln!(page, "<table>\n<thead><tr><th>VAT rate</th><th>Net</th><th>VAT</th><th>Gross</th></tr></thead>")?;
    let row = |page: &mut String, name: &dyn Display, amounts: [i64; 3]| {
        let [net, vat, gross] = amounts.map(|amount| plain(invoice, amount));
        writeln!(page, "<tr><td>{name}</td><td>{net}</td><td>{vat}</td><td>{gross}</td></tr>")
    };
    for Tax { vat_rate, net, vat, gross } in &invoice.taxes {
        row(page, &Percent(*vat_rate), [*net, *vat, *gross])?;
    }
    let Total { net, vat, gross } = invoice.total;
    write!(page, "<tfoot>")?;
    row(page, &"Total", [net, vat, gross])?;
    writeln!(page, "</tfoot>\n</table>")
}

/// An amount with the decimals of its currency, and without its code.
fn plain(invoice: &Invoice, amount: i64) -> String {
    let shown = Money::new(amount, invoice.currency).to_string();
    shown.split(' ').next().unwrap_or_default().to_owned()
}

/// Name and address.
struct Block<'p>(&'static str, &'p Party);

impl Display for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(role, Party { name, address, country, vat_id }) = self;
        write!(f, "<address><small>{role}</small><br>{}", Escaped(name))?;
        for line in address.iter().chain([country]) {
            write!(f, "<br>{}", Escaped(line))?;
        }
        if let Some(vat_id) = vat_id {
            write!(f, "<br>VAT id {}", Escaped(vat_id))?;
        }
        f.write_str("</address>")
    }
}

/// Text that says what it says, also where markup is read.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in self.0.chars() {
            match one {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// `19 %`, `5.5 %`.
struct Percent(VatRate);

impl Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(VatRate(rate)) = self;
        match (rate / 100, rate % 100) {
            (whole, 0) => write!(f, "{whole} %"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{} %", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02} %"),
        }
    }
}

//! Mistakes in invoices and credit notes.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{super::papers::Invoice, Books, Planted, Row, Shop, Verdict, check, shop};

/// The invoice that billing issued for two mugs.
pub(super) fn invoice(books: &mut Books, order: Uuid) {
    let sums = |amount: fn(i64) -> i64| json!({ "net": amount(2168), "vat": amount(412), "gross": amount(2580) });
    let mut line = sums(|amount| amount);
    line["vat_rate"] = json!(1900);
    let mut tax = line.clone();
    for (name, value) in
        [("sku", json!("MUG")), ("name", json!("Mug")), ("quantity", json!(2)), ("unit_price", json!(1290))]
    {
        line[name] = value;
    }
    tax["vat_rate"] = json!(1900);
    let party = json!({ "name": "Ada", "address": ["Ockham Park"], "country": "GB", "vat_id": "GB999999973" });
    let facts = json!({ "number": "INV-1", "issued_at": "1970-01-01T00:00:03Z", "order": order, "seller": party,
                        "buyer": party, "supplied_on": "1970-01-01", "currency": "EUR", "lines": [line],
                        "taxes": [tax], "total": sums(|amount| amount) });
    books.invoices.push(Invoice {
        kind: "invoice".into(),
        number: 1,
        order_id: order,
        issued_us: 3_000_000,
        sound: true,
        facts: facts.to_string(),
    });
}

impl Shop {
    /// The papers are written anew, with this change and the right hash.
    fn says(&mut self, place: usize, change: impl FnOnce(&mut Value)) {
        let invoice = &mut self.books.invoices[place];
        let mut facts = serde_json::from_str(&invoice.facts).unwrap();
        change(&mut facts);
        invoice.facts = facts.to_string();
    }

    /// A credit note of so much.
    fn credits(&mut self, [net, vat, gross]: [i64; 3]) {
        let mut note = self.books.invoices[0].clone();
        note.kind = "credit_note".into();
        // In the order in which they are read.
        self.books.invoices.insert(0, note);
        self.says(0, |facts| {
            facts["number"] = json!("CN-1");
            facts["corrects"] = json!("INV-1");
            facts["lines"] = json!([]);
            facts["taxes"] = json!([{ "vat_rate": 1900, "net": -net, "vat": -vat, "gross": -gross }]);
            facts["total"] = json!({ "net": -net, "vat": -vat, "gross": -gross });
        });
    }

    /// The confirmed order is cancelled after all, as far as its papers know.
    fn cancelled(&mut self) {
        self.order().status = "cancelled".into();
        self.books.payments.get_mut(&self.confirmed).unwrap().closed = true;
    }
}

pub(super) const PLANTED: &[Planted] = &[
    ("V1", Row::Invoice, |shop| {
        shop.books.invoices[0].number = 2;
        shop.says(0, |facts| facts["number"] = json!("INV-2"));
    }),
    ("V1", Row::Invoice, |shop| shop.books.invoices.extend(shop.books.invoices.clone())),
    ("V2", Row::Invoice, |shop| {
        let mut earlier = shop.books.invoices[0].clone();
        (earlier.number, earlier.issued_us) = (2, 2_999_999);
        shop.books.invoices.push(earlier);
    }),
    ("V3", Row::Invoice, |shop| shop.books.invoices[0].sound = false),
    ("V4", Row::Invoice, |shop| shop.books.invoices[0].facts = "{}".into()),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["number"] = json!("INV-2"))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["order"] = json!(Uuid::now_v7()))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["corrects"] = json!("INV-1"))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["seller"]["vat_id"] = Value::Null)),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["buyer"]["name"] = json!(" "))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["buyer"]["address"] = json!([]))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["supplied_on"] = json!("1970-01-02"))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["lines"] = json!([]))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["lines"][0]["quantity"] = json!(1))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["lines"][0]["name"] = json!(""))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["taxes"][0]["vat_rate"] = json!(700))),
    ("V4", Row::Invoice, |shop| shop.says(0, |facts| facts["total"]["net"] = json!(2169))),
    ("V4", Row::Invoice, |shop| {
        shop.says(0, |facts| facts["total"] = json!({ "net": 2169, "vat": 411, "gross": 2580 }));
    }),
    ("V5", Row::Confirmed, |shop| shop.credits([2169, 412, 2581])),
    ("V5", Row::Confirmed, |shop| {
        shop.credits([1, 0, 1]);
        shop.books.invoices.pop();
    }),
    ("X1 a confirmed order has", Row::Confirmed, |shop| shop.books.invoices.clear()),
    ("X1 a confirmed order has", Row::Confirmed, |shop| shop.books.invoices.extend(shop.books.invoices.clone())),
    ("X1 a confirmed order has", Row::Confirmed, |shop| shop.says(0, |facts| facts["total"]["gross"] = json!(2579))),
    ("X1 a confirmed order has", Row::Confirmed, |shop| shop.says(0, |facts| facts["currency"] = json!("JPY"))),
    ("X1 a confirmed order has", Row::Confirmed, |shop| shop.says(0, |facts| facts["lines"][0]["sku"] = json!("JUG"))),
    ("X1 what went back", Row::Confirmed, |shop| shop.returns(100, 16)),
    ("X1 what went back", Row::Confirmed, |shop| shop.credits([84, 16, 100])),
    ("X2 the papers", Row::Confirmed, Shop::cancelled),
    ("X2 the papers", Row::Confirmed, |shop| {
        shop.credits([2168, 411, 2579]);
        shop.cancelled();
    }),
    ("X2 billing knows", Row::Cancelled, |shop| {
        shop.books.payments.get_mut(&shop.cancelled).unwrap().closed = false;
    }),
    ("X2 of no cancelled", Row::Cancelled, |shop| {
        shop.books.payments.get_mut(&shop.cancelled).unwrap().late_cleanup = true;
    }),
    ("X3 every invoice", Row::Confirmed, |shop| drop(shop.books.events.remove(&shop.confirmed))),
    ("X3 every invoice", Row::Cancelled, |shop| shop.books.invoices[0].order_id = shop.cancelled),
];

#[test]
fn a_part_that_is_credited_and_all_that_is_add_up() {
    let papers = |shop: &Shop| -> Vec<String> {
        let ours = ["V", "X1 a confirmed order has", "X1 what went back", "X2 the papers", "X3 every invoice"];
        let findings = check(&shop.books).findings.into_iter();
        let ours = findings.filter(|finding| ours.iter().any(|beginning| finding.predicate.starts_with(beginning)));
        ours.flat_map(|finding| finding.violations).collect()
    };
    let mut part = shop();
    part.returns(100, 16);
    part.credits([84, 16, 100]);
    assert_eq!(papers(&part), [""; 0]);
    let mut all = shop();
    all.credits([2168, 412, 2580]);
    all.cancelled();
    assert_eq!(papers(&all), [""; 0]);
    assert_ne!(check(&all.books).verdict(), Verdict::NotShown);
}

//! What an invoice says, and that papers add up.

use contracts::CustomerId;
use proptest::prelude::*;

use super::*;

fn party(name: &str) -> Party {
    let address = vec!["12 St James's Square".to_owned(), "London".to_owned()];
    Party { name: name.to_owned(), address, country: "GB".to_owned(), vat_id: Some("GB999999973".to_owned()) }
}

fn sale(lines: Vec<OrderLine>) -> Sale {
    let sum = lines.iter().map(|line| line.taxed().unwrap().gross.amount).sum();
    let terms = Terms::new(CustomerId::mint(), Money::new(sum, Currency::EUR), lines).unwrap();
    let order = "019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01".parse().unwrap();
    let at = "2026-11-21T23:30:00Z".parse().unwrap();
    Sale { order, seller: party("Ironmonger & Sons"), buyer: party("<b>Ada</b> \"Lovelace\""), at, terms }
}

fn line(sku: &str, quantity: u32, price: i64, rate: u32) -> OrderLine {
    let (sku, quantity): (Sku, _) = (sku.parse().unwrap(), quantity.try_into().unwrap());
    let name = format!("A <fine> {sku}");
    OrderLine::priced(sku, name, quantity, Money::new(price, Currency::EUR), VatRate(rate)).unwrap()
}

fn issued_at() -> Timestamp {
    "2026-11-22T00:10:00.123456Z".parse().unwrap()
}

#[test]
fn an_invoice_says_what_the_law_asks_for_in_the_same_bytes_each_time() {
    let invoice = sale(vec![line("HAM-300", 2, 1290, 1900), line("BOOK-1", 1, 1070, 700)]).invoice(7, issued_at());
    let expected = r#"{"number":"INV-7","issued_at":"2026-11-22T00:10:00.123456Z","order":"019aa4c0-6d3a-7c41-8b6e-2f9d3f1c0a01","seller":{"name":"Ironmonger & Sons","address":["12 St James's Square","London"],"country":"GB","vat_id":"GB999999973"},"buyer":{"name":"<b>Ada</b> \"Lovelace\"","address":["12 St James's Square","London"],"country":"GB","vat_id":"GB999999973"},"supplied_on":"2026-11-21","currency":"EUR","lines":[{"sku":"HAM-300","name":"A <fine> HAM-300","quantity":2,"unit_price":1290,"vat_rate":1900,"net":2168,"vat":412,"gross":2580},{"sku":"BOOK-1","name":"A <fine> BOOK-1","quantity":1,"unit_price":1070,"vat_rate":700,"net":1000,"vat":70,"gross":1070}],"taxes":[{"vat_rate":700,"net":1000,"vat":70,"gross":1070},{"vat_rate":1900,"net":2168,"vat":412,"gross":2580}],"total":{"net":3168,"vat":482,"gross":3650}}"#;
    assert_eq!(invoice.facts(), expected);
    assert_eq!(serde_json::from_str::<Invoice>(expected).unwrap(), invoice);
    let shown = format!("{invoice:?}");
    assert!(!shown.contains("Ada") && !shown.contains("London"), "{shown}");
}

/// The supply is dated by another clock than the invoice.
#[test]
fn nothing_is_supplied_after_its_invoice_is_issued() {
    let sale = |at: &str| Sale { at: at.parse().unwrap(), ..sale(vec![line("HAM-300", 1, 1290, 1900)]) };
    for (at, supplied_on) in [
        ("2026-11-21T23:59:59.999Z", "2026-11-21"),
        ("2026-11-22T00:10:00.123456Z", "2026-11-22"),
        ("2026-11-22T23:00:00Z", "2026-11-22"),
        ("2026-11-23T00:00:00Z", "2026-11-22"),
        ("2027-01-01T00:00:00Z", "2026-11-22"),
    ] {
        let invoice = sale(at).invoice(7, issued_at());
        assert_eq!(invoice.supplied_on.to_string(), supplied_on, "confirmed at {at}");
    }
}

#[test]
fn a_credit_note_names_its_invoice_and_takes_back() {
    let invoice = sale(vec![line("HAM-300", 2, 1290, 1900)]).invoice(7, issued_at());
    let part = [VatRate(1900).within(Money::new(500, Currency::EUR))];
    let note = invoice.credit(3, issued_at(), &part);
    assert_eq!((note.number.to_string(), note.corrects.unwrap().to_string()), ("CN-3".into(), "INV-7".into()));
    assert_eq!((note.lines.len(), &note.buyer, note.order), (0, &invoice.buyer, invoice.order));
    assert_eq!(note.taxes, [Tax { vat_rate: VatRate(1900), net: -420, vat: -80, gross: -500 }]);
    assert_eq!(note.total, Total { net: -420, vat: -80, gross: -500 });
}

#[test]
fn a_number_is_read_as_it_is_shown_and_nothing_else_is_one() {
    for text in ["INV-1", "CN-1", "INV-9223372036854775807"] {
        assert_eq!(text.parse::<Number>().unwrap().to_string(), text);
    }
    for text in ["", "INV-", "INV-0", "INV-01", "INV-+1", "INV--1", "CN-x", "inv-1", "INV-9223372036854775808", "X-1"] {
        assert_eq!(text.parse::<Number>(), Err(NotANumber), "{text}");
    }
}

#[test]
fn only_what_was_paid_for_is_invoiced_and_that_once() {
    let order = OrderId::mint();
    for state in State::ALL {
        let first = is_due(order, state, false, false);
        assert_eq!(first.as_ref().is_ok_and(|due| *due), state.was_captured(), "{state:?}");
        assert_eq!(first.is_err(), !state.was_captured(), "{state:?}");
        assert_eq!((is_due(order, state, true, false), is_due(order, state, false, true)), (Ok(false), Ok(false)));
    }
}

/// Of one page, and with nobody's markup in it but ours.
#[test]
fn a_page_shows_what_the_invoice_says() {
    let invoice = sale(vec![line("HAM-300", 2, 1290, 1900), line("BOOK-1", 1, 1070, 550)]).invoice(7, issued_at());
    let page = crate::page::render(&invoice);
    for text in [
        "<h1>Invoice INV-7</h1>",
        "Issued on 2026-11-22. Paid and supplied on 2026-11-21.",
        "&lt;b&gt;Ada&lt;/b&gt; &quot;Lovelace&quot;<br>12 St James&#39;s Square<br>London<br>GB<br>VAT id GB999999973",
        "Ironmonger &amp; Sons",
        "<tr><td>A &lt;fine&gt; HAM-300 <small>HAM-300</small></td><td>2</td><td>12.90</td><td>19 %</td><td>21.68</td><td>4.12</td><td>25.80</td></tr>",
        "<tr><td>5.5 %</td>",
        "<tr><td>Total</td><td>31.82</td><td>4.68</td><td>36.50</td></tr>",
        "All amounts are in EUR.",
    ] {
        assert!(page.contains(text), "{text} is missing in: {page}");
    }
    assert!(!page.contains("<b>"), "{page}");
    assert_eq!(page, crate::page::render(&invoice), "the same page each time");
    let note =
        crate::page::render(&invoice.credit(3, issued_at(), &[VatRate(1900).within(Money::new(500, Currency::EUR))]));
    assert!(note.contains("<h1>Credit note CN-3</h1>") && note.contains("Corrects invoice INV-7."), "{note}");
    assert!(note.contains("<td>-4.20</td><td>-0.80</td><td>-5.00</td>"), "{note}");
}

proptest! {
    #[test]
    fn the_papers_of_a_cancelled_order_add_up_to_nothing_whatever_went_back_before(
        lines in prop::collection::vec((1..=9_u32, 0..=5_000_i64, prop::sample::select(vec![0_u32, 700, 1900])), 1..6),
        wanted in prop::collection::vec(1..=20_000_i64, 0..6),
    ) {
        let lines = lines.into_iter().map(|(pieces, price, rate)| line("MUG", pieces, price, rate)).collect();
        let sale = sale(lines);
        let invoice = sale.invoice(1, issued_at());
        let mut papers = Papers::default();
        prop_assert_eq!(papers.credit(None), None, "there is nothing to correct");
        papers.add(0, invoice.clone());
        let (mut notes, mut left) = (Vec::new(), sale.terms.taxes().to_vec());
        for (refund, wanted) in (1..).zip(wanted) {
            let most: i64 = left.iter().map(|tax| tax.gross.amount).sum();
            if wanted > most {
                continue;
            }
            let part = vat::share(&left, Money::new(wanted, Currency::EUR)).unwrap();
            left = vat::without(&left, &part).unwrap();
            let credited = papers.credit(Some((refund, &part))).unwrap();
            notes.push(invoice.credit(refund.into(), issued_at(), &credited));
            prop_assert_eq!(papers.credit(Some((refund, &part))), None, "once");
        }
        // What was under way when the order was cancelled, and is settled afterwards, was credited with the rest.
        let mut cancelled = papers.clone();
        if let Ok(part) = vat::share(&left, Money::new(1, Currency::EUR)) {
            prop_assert!(cancelled.credit(None).is_some());
            prop_assert_eq!(cancelled.credit(Some((100, &part))), None, "nothing is left");
        }
        // As another process reads them back.
        let mut read = Papers::default();
        read.add(0, invoice.clone());
        for (refund, note) in (1..).zip(&notes) {
            read.add(refund, note.clone());
        }
        let rest = read.credit(None);
        prop_assert_eq!(&rest, &papers.credit(None));
        notes.extend(rest.map(|rest| invoice.credit(99, issued_at(), &rest)));
        prop_assert_eq!(papers.credit(None), None, "once");
        for VatRate(rate) in [VatRate(0), VatRate(700), VatRate(1900)] {
            let of = |one: &Invoice| {
                let sums = one.taxes.iter().filter(|tax| tax.vat_rate.0 == rate).map(|tax| [tax.net, tax.vat, tax.gross]);
                sums.fold([0; 3], |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]])
            };
            let all = notes.iter().map(of).fold(of(&invoice), |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]]);
            prop_assert_eq!(all, [0; 3], "at {}", rate);
        }
    }
}

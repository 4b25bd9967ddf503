//! T: the VAT that is booked is the VAT that the customers' lines have.

use contracts::{
    MoneyError,
    order::OrderLine,
    vat::{self, Taxed},
};

use super::{Books, Finding, books::Order, ledger::Ledger};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let ledger = Ledger::of(books);
    let lines = books.orders.values().flat_map(|order| order.lines.0.iter().map(move |line| (order.id, line)));
    let sold = books.payments.values().filter(|payment| payment.was_captured());
    vec![
        Finding::of("T1 the VAT of a line is that in its price, rounded once", lines, |(order, line)| {
            let fits = line.taxed().is_ok_and(|taxed| taxed.rate.within(taxed.gross) == taxed);
            (!fits).then(|| format!("order {order}: {} {} of {}", line.quantity.get(), line.sku, line.unit_price))
        }),
        Finding::of(
            "T2 net and VAT are booked at each rate as the order has them, less what went back",
            sold,
            |payment| {
                let id = payment.order_id;
                let sound = books.orders.get(&id).is_some_and(|order| {
                    let Ok(left) = left(books, order) else { return false };
                    let booked = |account| -ledger.balance(id, account);
                    let sum = |what: fn(&Taxed) -> i64| left.iter().map(|one| i128::from(what(one))).sum::<i128>();
                    let at_each = left.iter().all(|one| {
                        -ledger.at_rate(id, "sales", one.rate) == i128::from(one.net().amount)
                            && -ledger.at_rate(id, "vat_payable", one.rate) == i128::from(one.vat.amount)
                    });
                    // In all, too: or something would be booked at a rate that the order does not have.
                    at_each
                        && booked("sales") == sum(|one| one.net().amount)
                        && booked("vat_payable") == sum(|one| one.vat.amount)
                });
                (!sound).then(|| format!("order {id}: {} is booked as VAT", -ledger.balance(id, "vat_payable")))
            },
        ),
    ]
}

/// What is left of an order's lines without what went back, by rate of VAT.
fn left(books: &Books, order: &Order) -> Result<Vec<Taxed>, MoneyError> {
    let lines: Result<Vec<Taxed>, MoneyError> = order.lines.0.iter().map(OrderLine::taxed).collect();
    let returned = books.returned.get(&order.id).map_or(&[][..], Vec::as_slice);
    vat::without(&vat::per_rate(&lines?)?, returned)
}

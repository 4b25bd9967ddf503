//! I: stock.

use std::collections::BTreeMap;

use super::{Books, Finding, books::HoldState};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let mut received: BTreeMap<&str, i64> = BTreeMap::new();
    for movement in &books.movements {
        *received.entry(&movement.sku).or_default() += if movement.kind == "received" { movement.pieces } else { 0 };
    }
    let mut held: BTreeMap<&str, i64> = BTreeMap::new();
    let open = books.holds.values().filter(|hold| hold.state == HoldState::Open);
    for line in open.clone().flat_map(|hold| &hold.lines) {
        *held.entry(&line.sku).or_default() += line.quantity;
    }
    let sum = |of: &BTreeMap<&str, i64>, sku: &str| of.get(sku).copied().unwrap_or(0);
    vec![
        Finding::of("I1 on hand is what was received", &books.stock, |stock| {
            let (sku, said, is) = (&stock.sku, stock.on_hand, sum(&received, &stock.sku));
            (said != is).then(|| format!("{sku}: {said} on hand, {is} received"))
        }),
        Finding::of("I2 held is the sum of the open holds", &books.stock, |stock| {
            let (sku, said, is) = (&stock.sku, stock.held, sum(&held, &stock.sku));
            (said != is).then(|| format!("{sku}: {said} held, open holds say {is}"))
        }),
        Finding::of("I3 nothing is oversold", &books.stock, |stock| {
            let fits = 0 <= stock.held && stock.held <= stock.on_hand;
            (!fits).then(|| format!("{}: {} held of {}", stock.sku, stock.held, stock.on_hand))
        }),
        Finding::of("I5 an open hold has lines, and each has stock", open, |hold| {
            let known = |sku: &str| books.stock.iter().any(|stock| stock.sku == sku);
            let fits = !hold.lines.is_empty() && hold.lines.iter().all(|line| line.quantity > 0 && known(&line.sku));
            (!fits).then(|| format!("the hold of order {}", hold.order))
        }),
    ]
}

//! X: the three stores agree about every order.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    Books, Finding,
    books::{Order, Payment, STANDING},
    stock::{Hold, HoldState, Line},
};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let in_state = |statuses: &'static [&str]| {
        books.orders.values().filter(move |order| statuses.contains(&order.status.as_str()))
    };
    let mut left: BTreeMap<Uuid, BTreeSet<Uuid>> = BTreeMap::new();
    for shipment in &books.shipments {
        left.entry(shipment.order()).or_default().insert(shipment.id());
    }
    vec![
        Finding::of("X1 a confirmed order is paid in full", in_state(STANDING), |order| {
            let paid = books.payments.get(&order.id).is_some_and(|payment| pays(payment, order));
            (!paid).then(|| format!("order {}", order.id))
        }),
        Finding::of("X1 to a confirmed order all its lines are allocated, or shipped", in_state(STANDING), |order| {
            let held = books.holds.get(&order.id).is_some_and(|hold| covers(hold, order));
            (!held).then(|| format!("order {}", order.id))
        }),
        Finding::of("X1 a confirmed order knows its shipments", in_state(STANDING), |order| {
            let known: BTreeSet<Uuid> = order.shipments.0.iter().map(|shipment| shipment.as_uuid()).collect();
            (left.get(&order.id).cloned().unwrap_or_default() != known).then(|| format!("order {}", order.id))
        }),
        Finding::of("X2 a cancelled order holds nothing", in_state(&["cancelled"]), |order| {
            let still = |hold: &Hold| matches!(hold.state, HoldState::Open | HoldState::Allocated | HoldState::Shipped);
            books.holds.get(&order.id).is_some_and(still).then(|| format!("order {}", order.id))
        }),
        Finding::of("X2 nothing was shipped for a cancelled order", in_state(&["cancelled"]), |order| {
            left.contains_key(&order.id).then(|| format!("order {}", order.id))
        }),
        Finding::of("X2 a cancelled order is charged nothing", in_state(&["cancelled"]), |order| {
            let state = books.payments.get(&order.id).map_or("none", |payment| payment.state.as_str());
            let free = matches!(state, "none" | "refused" | "voided" | "tombstone" | "refunded");
            (!free).then(|| format!("order {}: its payment is {state}", order.id))
        }),
        Finding::of("X3 every payment has its order", books.payments.keys(), |id| {
            (!books.orders.contains_key(id)).then(|| format!("the payment of {id}"))
        }),
        Finding::of("X3 every hold has its order", books.holds.keys(), |id| {
            (!books.orders.contains_key(id)).then(|| format!("the hold of {id}"))
        }),
    ]
}

fn pays(payment: &Payment, order: &Order) -> bool {
    let amount = payment.amount.zip(payment.currency.as_deref());
    payment.state == "captured" && amount == Some(order.total()) && payment.customer_id == Some(order.customer_id)
}

fn covers(hold: &Hold, order: &Order) -> bool {
    let mut held = hold.lines.clone();
    let ordered = order.lines.0.iter();
    let mut ordered: Vec<Line> =
        ordered.map(|line| Line { sku: line.sku.as_str().to_owned(), quantity: line.quantity.get().into() }).collect();
    held.sort();
    ordered.sort();
    matches!(hold.state, HoldState::Allocated | HoldState::Shipped) && held == ordered
}

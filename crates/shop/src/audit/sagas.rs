//! O: sagas against their orders and their logs.

use std::collections::BTreeSet;

use contracts::order::CancelReason;

use super::{
    Books, Finding,
    books::{Order, Saga},
};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let of_kind = |kind: &str| -> BTreeSet<_> {
        books.sagas.iter().filter(|saga| saga.kind == kind).map(|saga| saga.order_id).collect()
    };
    let (with_checkout, cancelling) = (of_kind("checkout"), of_kind("cancellation"));
    vec![
        Finding::of("O2 every saga has ended", &books.sagas, |saga| {
            let ended = saga.state == "completed" || saga.state == "unwound";
            (!ended).then(|| format!("saga {} of order {} is {}", saga.id, saga.order_id, saga.state))
        }),
        Finding::of("O5 a saga's log is numbered 1..n without gaps, to its newest entry", &books.sagas, |saga| {
            let log = books.saga_log.get(&saga.id).map_or(&[][..], Vec::as_slice);
            let whole = log.iter().zip(1..).all(|(seq, n)| *seq == n) && log.last() == Some(&saga.seq);
            (!whole).then(|| format!("saga {} of order {}", saga.id, saga.order_id))
        }),
        Finding::of("O6 every saga has ended as its order has", &books.sagas, |saga| {
            let order = books.orders.get(&saga.order_id);
            let fits = order.is_some_and(|order| fits(saga, order, cancelling.contains(&saga.order_id)));
            let status = order.map_or("missing", |order| order.status.as_str());
            let Saga { id, kind, order_id, state, .. } = saga;
            (!fits).then(|| format!("{kind} saga {id} is {state}, order {order_id} is {status}"))
        }),
        Finding::of("O6 every order has its sagas", books.orders.values(), |order| {
            let whole =
                with_checkout.contains(&order.id) && (!order.cancellation_refused || cancelling.contains(&order.id));
            (!whole).then(|| format!("order {}", order.id))
        }),
    ]
}

/// Whether a saga and its order tell the same end. `is_cancelling`: a cancellation has begun for the order.
fn fits(saga: &Saga, order: &Order, is_cancelling: bool) -> bool {
    let is_paid = matches!(order.status.as_str(), "confirmed" | "partly_shipped" | "shipped");
    let is_requested = order.cancel_reason.as_ref().is_some_and(|reason| reason.0 == CancelReason::Requested);
    match (saga.kind.as_str(), saga.state.as_str()) {
        // Paid for: confirmed, or wanted no more by then.
        ("checkout", "completed") => is_paid || is_cancelling,
        ("checkout", "unwound") => order.status == "cancelled" && !is_cancelling,
        ("checkout", "running") => order.status == "pending" && !is_cancelling,
        ("cancellation", "completed") => order.status == "cancelled" && is_requested,
        ("cancellation", "unwound") => is_paid && order.cancellation_refused,
        ("cancellation", "running" | "parked") => order.status != "cancelled" && !order.cancellation_refused,
        _ => false,
    }
}

//! O: sagas against their orders and their logs.

use std::collections::BTreeSet;

use super::{Books, Finding};

pub(super) fn findings(books: &Books) -> Vec<Finding> {
    let with_saga: BTreeSet<_> = books.sagas.iter().map(|saga| saga.order_id).collect();
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
        Finding::of("O6 completed is confirmed, unwound is cancelled", &books.sagas, |saga| {
            let status = books.orders.get(&saga.order_id).map_or("missing", |order| order.status.as_str());
            let fits = matches!(
                (saga.state.as_str(), status),
                ("completed", "confirmed") | ("unwound", "cancelled") | ("running" | "parked", "pending")
            );
            (!fits).then(|| format!("saga {} is {}, order {} is {status}", saga.id, saga.state, saga.order_id))
        }),
        Finding::of("O6 every order has its saga", books.orders.keys(), |order| {
            (!with_saga.contains(order)).then(|| format!("order {order}"))
        }),
    ]
}

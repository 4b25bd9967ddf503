//! Books that add up pass; each mistake planted in them is named by the predicate it breaks.

use contracts::{
    Currency, CustomerId, Money,
    order::{CancelReason, OrderEvent, OrderLine},
};
use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Books, Verdict,
    books::{Hold, HoldLine, HoldState, Movement, Order, Payment, Posting, Saga, Stock},
    check,
};

/// A shop with one confirmed order for two mugs and one that was cancelled.
struct Shop {
    books: Books,
    confirmed: Uuid,
    cancelled: Uuid,
}

fn shop() -> Shop {
    let mut books = Books {
        stock: vec![Stock { sku: "MUG".into(), on_hand: 10, held: 2 }],
        movements: vec![Movement { kind: "received".into(), sku: "MUG".into(), pieces: 10 }],
        ..Books::default()
    };
    let confirmed = order(&mut books, None);
    let cancelled = order(&mut books, Some(CancelReason::TimedOut));
    Shop { books, confirmed, cancelled }
}

fn order(books: &mut Books, cancelled: Option<CancelReason>) -> Uuid {
    let (id, customer, at) = (Uuid::now_v7(), CustomerId::mint(), Timestamp::UNIX_EPOCH);
    let (sku, quantity) = ("MUG".parse().unwrap(), 2.try_into().unwrap());
    let lines = vec![OrderLine { sku, quantity, unit_price: Money::new(1290, Currency::EUR), vat_rate: 1900 }];
    let total = Money::new(2580, Currency::EUR);
    let placed = OrderEvent::Placed { order: id.into(), version: 1, customer, lines: lines.clone(), total, at };
    let (ended, status, saga, payment, hold) = match cancelled.clone() {
        None => {
            let event = OrderEvent::Confirmed { order: id.into(), version: 2, at };
            (event, "confirmed", "completed", "captured", HoldState::Open)
        }
        Some(reason) => {
            let event = OrderEvent::Cancelled { order: id.into(), version: 2, reason, at };
            (event, "cancelled", "unwound", "voided", HoldState::Released)
        }
    };
    let saga_id = Uuid::now_v7();
    books.events.insert(id, vec![(1, placed), (2, ended)]);
    books.orders.insert(
        id,
        Order {
            id,
            customer_id: customer.as_uuid(),
            status: status.into(),
            version: 2,
            total_amount: 2580,
            total_currency: "EUR".into(),
            lines: Json(lines),
            cancel_reason: cancelled.map(Json),
        },
    );
    books.sagas.push(Saga { id: saga_id, order_id: id, state: saga.into() });
    books.saga_log.insert(saga_id, vec![1, 2, 3]);
    let lines = vec![HoldLine { sku: "MUG".into(), quantity: 2 }];
    books.holds.insert(id, Hold { order: mongodb::bson::Uuid::from_bytes(*id.as_bytes()), state: hold, lines });
    books.payments.insert(
        id,
        Payment {
            order_id: id,
            state: payment.into(),
            customer_id: Some(customer.as_uuid()),
            amount: Some(2580),
            currency: Some("EUR".into()),
        },
    );
    if payment == "captured" {
        let entry_id = Uuid::now_v7();
        for (account, amount) in [("provider_receivable", 2580), ("customer_receipts", -2580)] {
            let (kind, account, currency) = ("capture".into(), account.into(), "EUR".into());
            books.postings.push(Posting { entry_id, order_id: id, kind, account, amount, currency });
        }
    }
    id
}

#[test]
fn books_that_add_up_pass() {
    let report = check(&shop().books);
    assert_eq!(report.verdict(), Verdict::True, "{report}");
    assert!(report.findings.len() >= 18, "{report}");
}

#[test]
fn empty_books_show_nothing() {
    let report = check(&Books::default());
    assert_eq!(report.verdict(), Verdict::NotShown);
    assert_eq!(report.verdict().exit_status(), 2);
    assert!(report.findings.iter().all(|finding| finding.examined == 0), "{report}");
}

/// A mistake, and the beginning of the predicate that must name it.
type Planted = (&'static str, fn(&mut Shop));

const PLANTED: &[Planted] = &[
    ("I1", |shop| shop.books.stock[0].on_hand += 1),
    ("I1", |shop| shop.books.movements.clear()),
    ("I2", |shop| shop.books.stock[0].held -= 1),
    ("I2", |shop| shop.books.holds.get_mut(&shop.confirmed).unwrap().lines[0].quantity = 3),
    ("I3", |shop| shop.books.stock[0].held = 11),
    ("I3", |shop| shop.books.stock[0].held = -1),
    ("I5", |shop| shop.books.holds.get_mut(&shop.confirmed).unwrap().lines.clear()),
    ("O1", |shop| shop.books.orders.get_mut(&shop.confirmed).unwrap().status = "pending".into()),
    ("O3", |shop| shop.books.events.get_mut(&shop.confirmed).unwrap()[1].0 = 3),
    ("O4 every order", |shop| shop.books.orders.get_mut(&shop.confirmed).unwrap().status = "cancelled".into()),
    ("O4 every order", |shop| shop.books.orders.get_mut(&shop.confirmed).unwrap().total_amount += 1),
    ("O4 every order", |shop| shop.books.orders.get_mut(&shop.cancelled).unwrap().cancel_reason = None),
    ("O4 every order", |shop| drop(shop.books.events.remove(&shop.confirmed))),
    ("O4 every stream", |shop| drop(shop.books.orders.remove(&shop.confirmed))),
    ("O2", |shop| shop.books.sagas[0].state = "running".into()),
    ("O5", |shop| {
        shop.books.saga_log.get_mut(&shop.books.sagas[0].id).unwrap().remove(1);
    }),
    ("O6 completed", |shop| shop.books.sagas[0].state = "unwound".into()),
    ("O6 every order", |shop| drop(shop.books.sagas.remove(0))),
    ("L1", |shop| shop.books.postings[0].amount += 1),
    ("L1", |shop| shop.books.postings[0].currency = "JPY".into()),
    ("L2", |shop| drop(shop.books.postings.pop())),
    ("L5 every captured", |shop| shop.books.postings.clear()),
    ("L5 every captured", |shop| shop.books.postings.extend(shop.books.postings.clone())),
    ("L5 every capture b", |shop| shop.books.payments.get_mut(&shop.confirmed).unwrap().state = "voided".into()),
    ("X1 a confirmed order is", |shop| shop.books.payments.get_mut(&shop.confirmed).unwrap().amount = Some(2579)),
    ("X1 a confirmed order is", |shop| drop(shop.books.payments.remove(&shop.confirmed))),
    ("X1 a confirmed order holds", |shop| drop(shop.books.holds.remove(&shop.confirmed))),
    ("X2 a cancelled order holds", |shop| shop.books.holds.get_mut(&shop.cancelled).unwrap().state = HoldState::Open),
    ("X2 a cancelled order is", |shop| {
        shop.books.payments.get_mut(&shop.cancelled).unwrap().state = "authorized".into()
    }),
    ("X2 a cancelled order is", |shop| shop.books.payments.get_mut(&shop.cancelled).unwrap().state = "captured".into()),
    ("X3 every payment", |shop| drop(shop.books.orders.remove(&shop.cancelled))),
    ("X3 every hold", |shop| drop(shop.books.orders.remove(&shop.cancelled))),
];

#[test]
fn every_planted_mistake_is_named_by_its_predicate() {
    for (place, (predicate, plant)) in PLANTED.iter().enumerate() {
        let mut shop = shop();
        plant(&mut shop);
        let report = check(&shop.books);
        assert_eq!(report.verdict(), Verdict::Violated, "mistake {place}");
        let named = report.findings.iter().filter(|finding| !finding.violations.is_empty());
        let named: Vec<&str> = named.map(|finding| finding.predicate).collect();
        assert!(
            named.iter().any(|name| name.starts_with(predicate)),
            "mistake {place}: {predicate} expected, {named:?}"
        );
    }
}

#[test]
fn every_predicate_is_broken_by_a_planted_mistake() {
    for finding in check(&shop().books).findings {
        let planted = PLANTED.iter().any(|(predicate, _)| finding.predicate.starts_with(predicate));
        assert!(planted, "nothing is planted against: {}", finding.predicate);
    }
}

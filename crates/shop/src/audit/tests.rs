//! Books that add up pass; each mistake planted in them is named by the predicate it breaks, with its row.

mod life;
mod papers;
mod stock;

use std::time::Duration;

use contracts::{
    Currency, CustomerId, Money, ShipmentId,
    order::{CancelReason, OrderEvent, OrderLine},
    vat::{Taxed, VatRate},
};
use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Books, Finding, Stores, Verdict,
    books::{Entry, Order, Payment, Posting, Saga},
    check,
    messages::Partition,
    stock::HoldState,
    witness::{Deed, Outcome},
};

/// A shop with one confirmed order for two mugs and one that was cancelled.
struct Shop {
    books: Books,
    confirmed: Uuid,
    cancelled: Uuid,
}

fn shop() -> Shop {
    let mut books = Books {
        partitions: vec![partition("order.events", None), partition("billing.commands", None)],
        ..Books::default()
    };
    stock::fill(&mut books);
    let confirmed = order(&mut books, None);
    let cancelled = order(&mut books, Some(CancelReason::TimedOut));
    Shop { books, confirmed, cancelled }
}

/// A partition that billing reads, where this key is parked.
fn partition(topic: &str, parked: Option<&str>) -> Partition {
    let keys = parked.into_iter().map(str::to_owned).collect();
    Partition { service: "billing", topic: topic.into(), partition: 2, parked: parked.is_some(), keys }
}

impl Shop {
    fn order(&mut self) -> &mut Order {
        self.books.orders.get_mut(&self.confirmed).unwrap()
    }

    /// A refund of the confirmed order, of which billing knows and nobody else.
    fn returns(&mut self, gross: i64, vat: i64) {
        let [gross, vat] = [gross, vat].map(|amount| Money::new(amount, Currency::EUR));
        self.books.returned.entry(self.confirmed).or_default().push(Taxed { rate: VatRate(1900), gross, vat });
    }
}

fn order(books: &mut Books, cancelled: Option<CancelReason>) -> Uuid {
    let (id, customer) = (Uuid::now_v7(), CustomerId::mint());
    let [placed_at, at] = [1_000_000, 2_000_000].map(|micros| Timestamp::from_microsecond(micros).unwrap());
    let (sku, quantity) = ("MUG".parse().unwrap(), 2.try_into().unwrap());
    let lines =
        vec![OrderLine::priced(sku, "Mug".into(), quantity, Money::new(1290, Currency::EUR), VatRate(1900)).unwrap()];
    let total = Money::new(2580, Currency::EUR);
    let placed =
        OrderEvent::Placed { order: id.into(), version: 1, customer, lines: lines.clone(), total, at: placed_at };
    let (ended, status, saga, payment, hold) = match cancelled.clone() {
        None => {
            let event = OrderEvent::Confirmed { order: id.into(), version: 2, at };
            (event, "confirmed", "completed", "captured", HoldState::Allocated)
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
            shipments: Json(Vec::new()),
            cancellation_refused: false,
            placed_us: placed_at.as_microsecond(),
            updated_us: at.as_microsecond(),
        },
    );
    books.sagas.push(Saga { id: saga_id, kind: "checkout".into(), order_id: id, state: saga.into(), seq: 3 });
    books.saga_log.insert(saga_id, vec![1, 2, 3]);
    stock::hold(books, id, hold);
    books.payments.insert(
        id,
        Payment {
            order_id: id,
            state: payment.into(),
            customer_id: Some(customer.as_uuid()),
            amount: Some(2580),
            currency: Some("EUR".into()),
            closed: status == "cancelled",
            late_cleanup: false,
        },
    );
    if payment == "captured" {
        papers::invoice(books, id);
    }
    book(books, id, payment);
    id
}

/// What billing and the provider have of a payment that was captured or voided.
fn book(books: &mut Books, order: Uuid, payment: &str) {
    let eur = |amount| Money::new(amount, Currency::EUR);
    let mut entry = |kind: &str, postings: &[(&str, i64)]| {
        let seq = i64::try_from(books.entries.len()).unwrap() + 1;
        books.entries.push(Entry { seq, order_id: order, kind: kind.into(), sound: true });
        for (account, amount) in postings {
            let vat_rate = matches!(*account, "sales" | "vat_payable").then_some(1900);
            let (account, currency) = ((*account).into(), "EUR".into());
            books.postings.push(Posting { seq, account, amount: *amount, currency, vat_rate });
        }
    };
    entry("authorization", &[("memo_authorized", 2580), ("memo_customers", -2580)]);
    let free = [("memo_customers", 2580), ("memo_authorized", -2580)];
    let (last, fee) = match payment {
        "captured" => {
            let taken = [("provider_receivable", 2580), ("sales", -2168), ("vat_payable", -412)];
            let kept = [("provider_fees", 36), ("provider_receivable", -36)];
            entry("capture", &[&free[..], &taken, &kept].concat());
            ("capture", Some(eur(36)))
        }
        _ => {
            entry("release", &free);
            ("void", None)
        }
    };
    for (operation, fee) in [("authorize", None), (last, fee)] {
        let (operation, done, decline_code) = (operation.to_owned(), Some(eur(2580)), None);
        let key = format!("{order}:{operation}:1");
        books.witness.0.push(Deed { key, order, operation: operation.clone(), done, fee, decline_code });
        let (amount, currency, decline_code) = (Some(2580), Some("EUR".into()), None);
        books.outcomes.push(Outcome { order_id: order, operation, attempt: 1, amount, currency, decline_code });
    }
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

/// A mistake, the beginning of the predicate that must find it, and the row it must name.
type Planted = (&'static str, Row, fn(&mut Shop));

/// What a mistake is made in.
#[derive(Debug, Clone, Copy)]
enum Row {
    Confirmed,
    Cancelled,
    Mug,
    Entry,
    Invoice,
    Euro,
    Partition,
}

impl Row {
    /// What must be in the words of whoever names it.
    fn name(self, shop: &Shop) -> String {
        match self {
            Self::Confirmed => shop.confirmed.to_string(),
            Self::Cancelled => shop.cancelled.to_string(),
            Self::Mug => "MUG".to_owned(),
            Self::Entry => "entry 1".to_owned(),
            Self::Invoice => "INV-".to_owned(),
            Self::Euro => "EUR".to_owned(),
            Self::Partition => "billing service, billing.commands/2".to_owned(),
        }
    }
}

const PLANTED: &[Planted] = &[
    ("O1", Row::Confirmed, |shop| shop.books.orders.get_mut(&shop.confirmed).unwrap().status = "pending".into()),
    ("O3 an order", Row::Confirmed, |shop| shop.books.events.get_mut(&shop.confirmed).unwrap()[1].0 = 3),
    ("O4 every order", Row::Confirmed, |shop| {
        shop.books.orders.get_mut(&shop.confirmed).unwrap().status = "cancelled".into()
    }),
    ("O4 every order", Row::Confirmed, |shop| shop.books.orders.get_mut(&shop.confirmed).unwrap().total_amount += 1),
    ("O4 every order", Row::Cancelled, |shop| shop.books.orders.get_mut(&shop.cancelled).unwrap().cancel_reason = None),
    ("O4 every order", Row::Confirmed, |shop| drop(shop.books.events.remove(&shop.confirmed))),
    ("O4 every stream", Row::Confirmed, |shop| drop(shop.books.orders.remove(&shop.confirmed))),
    ("O2", Row::Confirmed, |shop| shop.books.sagas[0].state = "running".into()),
    ("O5", Row::Confirmed, |shop| {
        shop.books.saga_log.get_mut(&shop.books.sagas[0].id).unwrap().remove(1);
    }),
    ("O6 every saga", Row::Confirmed, |shop| shop.books.sagas[0].state = "unwound".into()),
    ("O6 every order", Row::Confirmed, |shop| drop(shop.books.sagas.remove(0))),
    ("O6 every order", Row::Confirmed, |shop| shop.order().cancellation_refused = true),
    ("O6 every saga", Row::Confirmed, |shop| shop.books.sagas[0].kind = "cancellation".into()),
    ("O6 every saga", Row::Confirmed, |shop| drop(shop.books.orders.remove(&shop.confirmed))),
    ("O4 every order", Row::Confirmed, |shop| shop.order().cancellation_refused = true),
    ("O4 every order", Row::Confirmed, |shop| shop.order().shipments.0.push(ShipmentId::mint())),
    ("L1 every entry", Row::Entry, |shop| shop.books.postings[0].amount += 1),
    ("L1 every entry", Row::Entry, |shop| shop.books.postings[0].currency = "JPY".into()),
    ("L2", Row::Euro, |shop| drop(shop.books.postings.pop())),
    ("L5 every captured", Row::Confirmed, |shop| shop.books.postings.clear()),
    ("L5 every captured", Row::Confirmed, |shop| shop.books.postings.extend(shop.books.postings.clone())),
    ("L5 every capture b", Row::Confirmed, |shop| {
        shop.books.payments.get_mut(&shop.confirmed).unwrap().state = "voided".into()
    }),
    ("X1 a confirmed order is", Row::Confirmed, |shop| {
        shop.books.payments.get_mut(&shop.confirmed).unwrap().amount = Some(2579)
    }),
    ("X1 a confirmed order is", Row::Confirmed, |shop| drop(shop.books.payments.remove(&shop.confirmed))),
    ("X2 a cancelled order is", Row::Cancelled, |shop| {
        shop.books.payments.get_mut(&shop.cancelled).unwrap().state = "authorized".into()
    }),
    ("X2 a cancelled order is", Row::Cancelled, |shop| {
        shop.books.payments.get_mut(&shop.cancelled).unwrap().state = "captured".into()
    }),
    ("X3 every payment", Row::Cancelled, |shop| drop(shop.books.orders.remove(&shop.cancelled))),
    ("X3 every hold", Row::Cancelled, |shop| drop(shop.books.orders.remove(&shop.cancelled))),
    ("O3 the time", Row::Confirmed, |shop| shop.books.events.get_mut(&shop.confirmed).unwrap().reverse()),
    ("O4 every order", Row::Confirmed, |shop| shop.books.orders.get_mut(&shop.confirmed).unwrap().placed_us += 1),
    ("O4 every order", Row::Cancelled, |shop| shop.books.orders.get_mut(&shop.cancelled).unwrap().updated_us -= 1),
    ("O5", Row::Confirmed, |shop| {
        shop.books.saga_log.get_mut(&shop.books.sagas[0].id).unwrap().pop();
    }),
    ("O5", Row::Confirmed, |shop| shop.books.saga_log.clear()),
    ("L1 every entry", Row::Entry, |shop| shop.books.postings.clear()),
    ("L1 every posting", Row::Entry, |shop| shop.books.entries.clear()),
    ("L5 every captured", Row::Confirmed, |shop| shop.books.entries.clear()),
    ("L3 entries", Row::Entry, |shop| shop.books.entries[0].seq = 1_000),
    ("L3 every entry", Row::Entry, |shop| shop.books.entries[0].sound = false),
    ("L5 a payment", Row::Confirmed, |shop| shop.books.entries[1].kind = "release".into()),
    ("L5 a payment", Row::Cancelled, |shop| drop(shop.books.entries.pop())),
    ("L6", Row::Cancelled, |shop| shop.books.entries.last_mut().unwrap().order_id = shop.confirmed),
    ("X4 the provider took", Row::Confirmed, |shop| shop.books.witness.0.push(shop.books.witness.0[1].clone())),
    ("X4 the provider returned", Row::Confirmed, |shop| {
        let deed = &shop.books.witness.0[1];
        let done = Some(Money::new(2581, Currency::EUR));
        shop.books.witness.0.push(Deed { operation: "refund".into(), done, ..deed.clone() });
    }),
    ("X4 what the provider took", Row::Confirmed, |shop| drop(shop.books.witness.0.remove(1))),
    ("X4 what the provider took", Row::Confirmed, |shop| shop.books.witness.0[1].fee = None),
    ("X4 what the provider took", Row::Confirmed, |shop| shop.books.witness.0.clear()),
    ("X4 what the provider took", Row::Confirmed, |shop| shop.returns(1, 0)),
    ("L5 every captured", Row::Confirmed, |shop| shop.returns(1, 0)),
    ("T1", Row::Confirmed, |shop| shop.books.orders.get_mut(&shop.confirmed).unwrap().lines.0[0].vat.amount -= 1),
    ("T1", Row::Confirmed, |shop| {
        shop.books.orders.get_mut(&shop.confirmed).unwrap().lines.0[0].vat_rate = VatRate(700)
    }),
    ("T2", Row::Confirmed, |shop| {
        let taxed = shop.books.postings.iter_mut().filter(|posting| posting.vat_rate.is_some());
        taxed.zip([1, -1]).for_each(|(posting, cent)| posting.amount += cent);
    }),
    ("T2", Row::Confirmed, |shop| {
        let vat = shop.books.postings.iter_mut().find(|posting| posting.account == "vat_payable").unwrap();
        vat.vat_rate = Some(700);
    }),
    ("T2", Row::Confirmed, |shop| {
        let extra = |account: &str, amount| Posting {
            seq: 2,
            account: account.into(),
            amount,
            currency: "EUR".into(),
            vat_rate: Some(700),
        };
        shop.books.postings.extend([extra("sales", 1), extra("vat_payable", -1)]);
    }),
    ("T2", Row::Confirmed, |shop| shop.returns(100, 16)),
    ("X4 what the provider took", Row::Cancelled, |shop| shop.books.witness.0[3].operation = "capture".into()),
    ("X4 what the provider set", Row::Cancelled, |shop| drop(shop.books.witness.0.pop())),
    ("X4 what is written", Row::Confirmed, |shop| shop.books.outcomes[1].amount = Some(2579)),
    ("X4 what is written", Row::Confirmed, |shop| shop.books.outcomes[1].decline_code = Some("no".into())),
    ("X4 what is written", Row::Cancelled, |shop| drop(shop.books.witness.0.pop())),
    ("M6 no", Row::Confirmed, |shop| {
        shop.books.partitions[1] = partition("billing.commands", Some(&shop.confirmed.to_string()));
    }),
    ("M6 no", Row::Partition, |shop| shop.books.partitions[1] = partition("billing.commands", Some("\u{1b}"))),
    ("M6 a partition", Row::Partition, |shop| shop.books.partitions[1].parked = true),
    ("M6 a partition", Row::Partition, |shop| shop.books.partitions[1].keys.push("lost".into())),
];

#[test]
fn every_planted_mistake_is_named_by_its_predicate() {
    for (place, (predicate, row, plant)) in PLANTED.iter().chain(stock::PLANTED).chain(papers::PLANTED).enumerate() {
        let mut shop = shop();
        let row = row.name(&shop);
        plant(&mut shop);
        let report = check(&shop.books);
        assert_eq!(report.verdict(), Verdict::Violated, "mistake {place}");
        let finds = |finding: &&Finding| finding.predicate.starts_with(predicate);
        let mut violations = report.findings.iter().filter(finds).flat_map(|finding| &finding.violations);
        assert!(
            violations.any(|violation| violation.contains(&row)),
            "mistake {place}: {predicate} does not name {row}: {report}"
        );
    }
}

#[test]
fn every_predicate_is_broken_by_a_planted_mistake() {
    for finding in check(&shop().books).findings {
        let planted = PLANTED
            .iter()
            .chain(stock::PLANTED)
            .chain(papers::PLANTED)
            .any(|(predicate, _, _)| finding.predicate.starts_with(predicate));
        assert!(planted, "nothing is planted against: {}", finding.predicate);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_named_and_soon() {
    let nobody = servers::free_port().unwrap();
    let postgres = format!("postgres://user:canary@127.0.0.1:{nobody}/orders");
    let mongo = format!("mongodb://127.0.0.1:{nobody}/inventory?directConnection=true");
    let connecting =
        tokio::time::timeout(Duration::from_secs(20), Stores::connect(&postgres, &postgres, &mongo, "http://nobody"));
    let error = format!("{:#}", connecting.await.unwrap().unwrap_err());
    assert!(error.starts_with("the order database cannot be reached: ") && !error.contains("canary"), "{error}");
}

//! Tests of the pure order.

use proptest::prelude::*;

use super::*;

fn sku(name: &str) -> Sku {
    name.parse().unwrap()
}

fn eur(amount: i64) -> Money {
    Money::new(amount, Currency::EUR)
}

fn prices(of: &[(&str, Money)]) -> HashMap<Sku, Price> {
    of.iter()
        .map(|(name, unit_price)| {
            (sku(name), Price { name: format!("The {name}"), unit_price: *unit_price, vat_rate: VatRate(1900) })
        })
        .collect()
}

fn cart(lines: &[(&str, u32)]) -> Cart {
    Cart::new(lines.iter().map(|(name, n)| line(name, *n, None)).collect()).unwrap()
}

fn line(name: &str, n: u32, unit_price: Option<Money>) -> CartLine {
    CartLine { sku: sku(name), quantity: n.try_into().unwrap(), unit_price }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn placed() -> OrderEvent {
    place(OrderId::mint(), CustomerId::mint(), &cart(&[("MUG", 2)]), &prices(&[("MUG", eur(1290))]), at(10)).unwrap()
}

#[test]
fn the_total_is_the_sum_of_the_lines() {
    let prices = prices(&[("MUG", eur(1290)), ("PAN", eur(4999))]);
    let event = place(OrderId::mint(), CustomerId::mint(), &cart(&[("MUG", 2), ("PAN", 1)]), &prices, at(1)).unwrap();
    let order = Order::apply(None, &event).unwrap();
    assert_eq!(order.total, eur(7579));
    assert_eq!(order.lines[1].name, "The PAN", "what it was called is frozen with its price");
    let lines: Vec<_> =
        order.lines.iter().map(|line| (line.taxed().unwrap().gross, line.vat_rate.0, line.vat)).collect();
    assert_eq!(lines, [(eur(2580), 1900, eur(412)), (eur(4999), 1900, eur(798))], "the VAT of each line is frozen");
}

#[test]
fn what_cannot_be_priced_is_refused() {
    let prices = prices(&[("MUG", eur(1290)), ("TEA", Money::new(500, Currency::JPY)), ("GOLD", eur(i64::MAX))]);
    let refused =
        |lines: &[(&str, u32)]| place(OrderId::mint(), CustomerId::mint(), &cart(lines), &prices, at(1)).unwrap_err();
    assert_eq!(refused(&[("MUG", 1), ("NONE", 1)]), Refusal::UnknownSku(sku("NONE")));
    assert_eq!(refused(&[("MUG", 1), ("TEA", 1)]), Refusal::MixedCurrencies(Currency::EUR, Currency::JPY));
    assert_eq!(refused(&[("GOLD", 2)]), Refusal::TooLarge);
    assert_eq!(refused(&[("GOLD", 1), ("MUG", 1)]), Refusal::TooLarge);
}

#[test]
fn a_cart_has_lines_and_each_sku_once() {
    let line = |name: &str| line(name, 1, None);
    assert_eq!(Cart::new(vec![]), Err(Refusal::LineCount));
    assert_eq!(Cart::new(vec![line("MUG"), line("MUG")]), Err(Refusal::SkuTwice(sku("MUG"))));
    let many: Vec<_> = (0..=Cart::MAX_LINES).map(|n| line(&format!("SKU-{n}"))).collect();
    assert_eq!(Cart::new(many), Err(Refusal::LineCount));
}

#[test]
fn each_line_that_costs_another_price_than_was_seen_is_named() {
    let prices = prices(&[("MUG", eur(1290)), ("PAN", eur(4999)), ("TEA", eur(500))]);
    let order = |lines: Vec<CartLine>| {
        place(OrderId::mint(), CustomerId::mint(), &Cart::new(lines).unwrap(), &prices, at(1)).map(|_| ())
    };
    let yen = Money::new(500, Currency::JPY);
    assert_eq!(order(vec![line("MUG", 1, Some(eur(1290))), line("PAN", 2, None)]), Ok(()));
    let changed =
        order(vec![line("MUG", 1, Some(eur(1289))), line("PAN", 1, Some(eur(4999))), line("TEA", 1, Some(yen))]);
    let other = |line, name, amount| OtherPrice { line, sku: sku(name), unit_price: eur(amount) };
    assert_eq!(changed, Err(Refusal::PriceChanged(vec![other(0, "MUG", 1290), other(2, "TEA", 500)])));
}

/// The news that leads to each kind of event but the first; the shipment of the last two is that of the one before.
fn news() -> [News; 7] {
    let (first, second) = (ShipmentId::mint(), ShipmentId::mint());
    [
        News::Paid,
        News::Undone(CancelReason::Requested),
        News::Undone(CancelReason::TimedOut),
        News::CancellationRefused,
        News::Shipped { shipment: first, complete: false },
        News::Shipped { shipment: second, complete: true },
        News::Shipped { shipment: second, complete: false },
    ]
}

/// A pending order that hears all of this.
fn after(news: &[&News]) -> Order {
    news.iter().fold(Order::apply(None, &placed()).unwrap(), |order, one| {
        let event = order.hear((*one).clone(), at(20)).unwrap();
        Order::apply(Some(order), &event).unwrap()
    })
}

/// Every state meets all news: the table of an order. A dash is what cannot be, a dot what was heard before.
#[test]
fn every_state_meets_all_news() {
    let all = news();
    let [paid, requested, timed_out, refused, partly, fully, _] = &all;
    let states: [(&str, Order, [&str; 7]); 9] = [
        // paid, requested, timed out, refused, shipped in part, shipped, the same shipment again
        ("pending", after(&[]), ["confirmed", "cancelled", "cancelled", "-", "-", "-", "-"]),
        (
            "confirmed",
            after(&[paid]),
            ["-", "cancelled", "-", "confirmed", "partly_shipped", "shipped", "partly_shipped"],
        ),
        ("refused", after(&[paid, refused]), ["-", "-", "-", "-", "partly_shipped", "shipped", "partly_shipped"]),
        ("partly", after(&[paid, partly]), ["-", "-", "-", "partly_shipped", ".", "shipped", "partly_shipped"]),
        ("partly, refused", after(&[paid, partly, refused]), ["-", "-", "-", "-", ".", "shipped", "partly_shipped"]),
        ("shipped", after(&[paid, fully]), ["-", "-", "-", "shipped", "shipped", ".", "."]),
        ("shipped, refused", after(&[paid, fully, refused]), ["-", "-", "-", "-", "shipped", ".", "."]),
        ("cancelled", after(&[paid, requested]), ["-", "-", "-", "-", "-", "-", "-"]),
        ("timed out", after(&[timed_out]), ["-", "-", "-", "-", "-", "-", "-"]),
    ];
    for (name, order, expected) in states {
        for (news, expected) in all.iter().zip(expected) {
            let found = match order.hear(news.clone(), at(30)) {
                None => ".".to_owned(),
                Some(event) => match Order::apply(Some(order.clone()), &event) {
                    Ok(next) => {
                        assert_eq!((next.version, next.updated_at), (order.version + 1, at(30)), "{name}, {news:?}");
                        let name = next.status.name();
                        assert_eq!(
                            serde_json::to_value(name).unwrap(),
                            name.as_str(),
                            "the API and the database differ"
                        );
                        name.as_str().to_owned()
                    }
                    Err(_) => "-".to_owned(),
                },
            };
            assert_eq!(found, expected, "{name}, {news:?}");
        }
        assert!(Order::apply(Some(order), &placed()).is_err(), "{name}: placed twice");
    }
    let confirm = after(&[]).hear(News::Paid, at(20)).unwrap();
    assert!(Order::apply(None, &confirm).is_err(), "confirmed, never placed");
}

#[test]
fn what_was_refused_and_what_has_left_is_remembered() {
    let all = news();
    let order = after(&[&all[0], &all[4], &all[3], &all[5]]);
    assert_eq!((order.shipments.len(), order.cancellation_refused, order.status), (2, true, Status::Shipped));
}

#[test]
fn only_the_next_event_of_the_same_order_follows() {
    let (one, other) = (after(&[]), after(&[]));
    let paid = |order: &Order| order.hear(News::Paid, at(20)).unwrap();
    assert!(Order::apply(Some(one.clone()), &paid(&other)).is_err(), "that of another order");
    let confirmed = after(&[&News::Paid]);
    let late = confirmed.hear(News::Undone(CancelReason::Requested), at(20)).unwrap();
    let skipped = Order { id: confirmed.id, ..one };
    assert!(Order::apply(Some(skipped), &late).is_err(), "version 3 after version 1");
}

#[test]
fn time_never_goes_back() {
    let pending = after(&[]);
    assert_eq!(
        pending.hear(News::Paid, at(3)).unwrap().at(),
        at(10),
        "the clock went back to 3, the order's stays at 10"
    );
}

proptest! {
    /// Whatever the prices and quantities: the total is exact, or the order is refused.
    #[test]
    fn a_total_is_exact_or_refused(lines in prop::collection::vec((0..i64::MAX, 1..=Quantity::MAX), 1..20)) {
        let names: Vec<String> = (0..lines.len()).map(|n| format!("SKU-{n}")).collect();
        let prices = names.iter().zip(&lines).map(|(name, (price, _))| (name.as_str(), eur(*price))).collect::<Vec<_>>();
        let cart = cart(&names.iter().zip(&lines).map(|(name, (_, n))| (name.as_str(), *n)).collect::<Vec<_>>());
        let exact: i128 = lines.iter().map(|(price, n)| i128::from(*price) * i128::from(*n)).sum();
        let placed = place(OrderId::mint(), CustomerId::mint(), &cart, &super::tests::prices(&prices), at(1));
        match i64::try_from(exact) {
            Ok(total) => prop_assert_eq!(Order::apply(None, &placed.unwrap()).unwrap().total, eur(total)),
            Err(_) => prop_assert_eq!(placed, Err(Refusal::TooLarge)),
        }
    }
}

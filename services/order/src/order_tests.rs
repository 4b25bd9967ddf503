//! Tests of the pure order.

use contracts::Message;
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
        .map(|(name, unit_price)| (sku(name), Price { unit_price: *unit_price, vat_rate: VatRate(1900) }))
        .collect()
}

fn cart(lines: &[(&str, u32)]) -> Cart {
    Cart::new(lines.iter().map(|(name, n)| (sku(name), (*n).try_into().unwrap())).collect()).unwrap()
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
    let line = |name: &str| (sku(name), Quantity::try_from(1).unwrap());
    assert_eq!(Cart::new(vec![]), Err(Refusal::LineCount));
    assert_eq!(Cart::new(vec![line("MUG"), line("MUG")]), Err(Refusal::SkuTwice(sku("MUG"))));
    let many: Vec<_> = (0..=Cart::MAX_LINES).map(|n| line(&format!("SKU-{n}"))).collect();
    assert_eq!(Cart::new(many), Err(Refusal::LineCount));
}

/// Every state meets every event: exactly the two ends of a pending order are possible after the placing.
#[test]
fn only_a_pending_order_ends() {
    let placed = placed();
    let pending = Order::apply(None, &placed).unwrap();
    let confirm = pending.confirm(at(20));
    let cancel = pending.cancel(CancelReason::TimedOut, at(20));
    let confirmed = Order::apply(Some(pending.clone()), &confirm).unwrap();
    let cancelled = Order::apply(Some(pending.clone()), &cancel).unwrap();
    assert_eq!((&confirmed.status, confirmed.version), (&Status::Confirmed, 2));
    assert_eq!((&cancelled.status, cancelled.version), (&Status::Cancelled(CancelReason::TimedOut), 2));

    for ended in [confirmed, cancelled] {
        for event in [&placed, &confirm, &cancel, &ended.confirm(at(30)), &ended.cancel(CancelReason::TimedOut, at(30))]
        {
            assert!(Order::apply(Some(ended.clone()), event).is_err(), "{} after {:?}", event.kind(), ended.status);
        }
    }
    assert!(Order::apply(Some(pending), &placed).is_err(), "placed twice");
    assert!(Order::apply(None, &confirm).is_err(), "confirmed, never placed");
}

#[test]
fn another_orders_event_is_impossible() {
    let (one, other) = (Order::apply(None, &placed()).unwrap(), Order::apply(None, &placed()).unwrap());
    assert!(Order::apply(Some(one), &other.confirm(at(20))).is_err());
}

#[test]
fn time_never_goes_back() {
    let pending = Order::apply(None, &placed()).unwrap();
    let OrderEvent::Confirmed { at: when, .. } = pending.confirm(at(3)) else { panic!("confirm confirms") };
    assert_eq!(when, at(10), "the clock went back to 3, the order's time stays at 10");
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

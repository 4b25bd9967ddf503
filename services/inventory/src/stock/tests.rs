//! Sums of several warehouses: where lines are taken from, and what is written down.

use super::*;

pub(crate) fn sku(text: &str) -> Sku {
    text.parse().unwrap()
}

pub(crate) fn line(text: &str, pieces: u32) -> StockLine {
    StockLine { sku: sku(text), quantity: pieces.try_into().unwrap() }
}

/// Since the epoch: warehouse, on hand, held.
pub(crate) fn levels(warehouses: &[(&str, i64, i64)]) -> Levels {
    let level =
        |(code, on_hand, held): &(&str, i64, i64)| (code.parse().unwrap(), Level { on_hand: *on_hand, held: *held });
    Levels { warehouses: warehouses.iter().map(level).collect(), at: Timestamp::UNIX_EPOCH }
}

fn stock() -> Stock {
    let a = levels(&[("LYON", 5, 2), ("MILAN", 4, 0)]);
    [(sku("A"), a), (sku("B"), levels(&[("MILAN", 1, 0)])), (sku("C"), levels(&[]))].into_iter().collect()
}

/// Where the lines were taken from, in a word each: `2 A from LYON`.
fn held(stock: &mut Stock, lines: &[StockLine]) -> Result<Vec<String>, Sku> {
    let picks = stock.hold(OrderId::mint(), lines)?;
    Ok(picks.iter().map(|pick| format!("{} {} from {}", pick.pieces, pick.sku, pick.warehouse)).collect())
}

fn words(words: &[&str]) -> Result<Vec<String>, Sku> {
    Ok(words.iter().map(|&word| word.to_owned()).collect())
}

#[test]
fn one_warehouse_that_has_everything_comes_first() {
    assert_eq!(held(&mut stock(), &[line("A", 3)]), words(&["3 A from LYON"]), "by its code");
    assert_eq!(held(&mut stock(), &[line("A", 4)]), words(&["4 A from MILAN"]), "LYON has three to give");
    assert_eq!(held(&mut stock(), &[line("A", 1), line("B", 1)]), words(&["1 A from MILAN", "1 B from MILAN"]));
}

#[test]
fn lines_come_from_several_warehouses_if_they_must() {
    assert_eq!(held(&mut stock(), &[line("A", 7)]), words(&["4 A from MILAN", "3 A from LYON"]), "the fullest first");
    let mut stock = stock();
    assert_eq!(held(&mut stock, &[line("A", 3)]), words(&["3 A from LYON"]));
    assert_eq!(held(&mut stock, &[line("A", 4), line("B", 1)]), words(&["4 A from MILAN", "1 B from MILAN"]));
    assert_eq!(held(&mut stock, &[line("A", 1)]), Err(sku("A")), "what was held in memory counts");
}

#[test]
fn holds_all_lines_or_none() {
    let mut stock = stock();
    assert_eq!(held(&mut stock, &[line("A", 7), line("B", 2)]), Err(sku("B")));
    assert_eq!(held(&mut stock, &[line("A", 8)]), Err(sku("A")));
    assert_eq!(held(&mut stock, &[line("C", 1)]), Err(sku("C")), "nothing came in yet");
    assert_eq!(held(&mut stock, &[line("D", 1)]), Err(sku("D")), "there is no such product");
    assert_eq!(stock.changes(Timestamp::UNIX_EPOCH).count(), 0);
}

fn pick(sku_: &str, warehouse: &str, pieces: u32) -> Pick {
    Pick { sku: sku(sku_), warehouse: warehouse.parse().unwrap(), pieces }
}

#[test]
fn what_is_shipped_leaves_and_what_is_released_stays() {
    let (mut stock, order) = (stock(), OrderId::mint());
    let picks = stock.hold(order, &[line("A", 7)]).unwrap();
    stock.ship(order, &picks[..1]).unwrap();
    stock.release(order, &picks[1..]).unwrap();
    assert_eq!(stock.level_in(&sku("A"), "MILAN"), Level { on_hand: 0, held: 0 });
    assert_eq!(stock.level_in(&sku("A"), "LYON"), Level { on_hand: 5, held: 2 });
}

#[test]
fn never_lets_go_of_more_than_is_held_there() {
    let order = OrderId::mint();
    for wrong in [pick("A", "LYON", 3), pick("A", "MILAN", 1), pick("A", "HAMBURG", 1), pick("D", "LYON", 1)] {
        let broken = Err(BrokenBooks { sku: wrong.sku.clone(), warehouse: wrong.warehouse.clone() });
        assert_eq!(stock().release(order, std::slice::from_ref(&wrong)), broken);
        assert_eq!(stock().ship(order, std::slice::from_ref(&wrong)), broken);
    }
}

/// Also what undid itself is written down: it happened.
#[test]
fn a_change_has_all_its_causes_and_a_time_of_its_own() {
    let (mut stock, order) = (stock(), OrderId::mint());
    let picks = stock.hold(order, &[line("A", 1)]).unwrap();
    stock.release(order, &picks).unwrap();
    let clock_gone_back = Timestamp::from_second(-1).unwrap();
    let changes: Vec<_> = stock.changes(clock_gone_back).collect();
    let [Change { at, causes, to, .. }] = &changes[..] else { panic!("one SKU, one change: {changes:?}") };
    assert_eq!(*at, Timestamp::from_millisecond(1).unwrap(), "a millisecond behind the one before");
    assert_eq!(causes.iter().map(|cause| cause.kind).collect::<Vec<_>>(), [Kind::Held, Kind::Released]);
    assert_eq!(total(to), Level { on_hand: 9, held: 2 });
    let later = Timestamp::from_second(9).unwrap();
    assert_eq!(stock.changes(later).map(|change| change.at).collect::<Vec<_>>(), [later]);
}

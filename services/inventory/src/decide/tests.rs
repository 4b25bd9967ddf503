//! Batches of commands against stock that is scarce.

use std::collections::BTreeMap;

use contracts::{
    CommandId,
    inventory::{InventoryEvent::*, StockLine},
};
use proptest::prelude::*;

use super::*;
use crate::stock::Level;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const SKUS: [&str; 3] = ["A", "B", "C"];

fn command(name: &str, order: OrderId) -> CommandId {
    format!("{order}/{name}").try_into().unwrap()
}

fn hold_stock(order: OrderId, lines: &[(&str, u32)]) -> InventoryCommand {
    let line =
        |(sku, pieces): &(&str, u32)| StockLine { sku: sku.parse().unwrap(), quantity: (*pieces).try_into().unwrap() };
    InventoryCommand::HoldStock { command: command("do", order), order, lines: lines.iter().map(line).collect() }
}

fn release_stock(order: OrderId) -> InventoryCommand {
    InventoryCommand::ReleaseStock { command: command("undo", order), order }
}

fn refs(commands: &[InventoryCommand]) -> Vec<&InventoryCommand> {
    commands.iter().collect()
}

fn stock(on_hand: i64) -> Stock {
    SKUS.into_iter().map(|sku| (sku.parse().unwrap(), Level { on_hand, held: 0 })).collect()
}

#[test]
fn what_one_command_lets_go_the_next_can_hold() {
    let (one, two, three) = (OrderId::mint(), OrderId::mint(), OrderId::mint());
    let batch = [
        hold_stock(one, &[("A", 3)]),
        hold_stock(two, &[("A", 3)]),
        release_stock(one),
        hold_stock(three, &[("A", 3)]),
    ];
    let (mut holds, mut stock) = (Holds::default(), stock(3));
    let answers = decide(&refs(&batch), &mut holds, &mut stock, NOW).unwrap();
    assert!(
        matches!(answers[..], [StockHeld { .. }, StockRefused { .. }, StockReleased { .. }, StockHeld { .. }]),
        "{answers:?}"
    );
    assert_eq!(holds.added().count(), 3);
    assert_eq!(holds.altered().count(), 0);
    let changes: Vec<_> = stock.changes().map(|change| change.to.held).collect();
    assert_eq!(changes, [3], "one sum for the SKU, not one per order");
}

#[test]
fn a_stored_hold_that_only_answers_again_is_not_written() {
    let (one, two) = (OrderId::mint(), OrderId::mint());
    let (mut holds, mut stock) = (Holds::default(), stock(9));
    let first = [hold_stock(one, &[("A", 1)]), hold_stock(two, &[("A", 1)])];
    decide(&refs(&first), &mut holds, &mut stock, NOW).unwrap();
    let mut holds: Holds = holds.0.into_values().filter_map(|entry| entry.now).collect();
    let mut stock: Stock = stock.levels().into_iter().collect();
    let second = [hold_stock(one, &[("A", 1)]), release_stock(two)];
    decide(&refs(&second), &mut holds, &mut stock, NOW).unwrap();
    assert_eq!(holds.added().count(), 0);
    assert_eq!(holds.altered().map(|hold| hold.order).collect::<Vec<_>>(), [two]);
}

#[test]
fn reads_what_may_be_held_and_what_may_be_let_go() {
    let (fresh, known, other) = (OrderId::mint(), OrderId::mint(), OrderId::mint());
    let mut holds = Holds::default();
    let first = [hold_stock(known, &[("A", 1)]), hold_stock(other, &[("B", 99)])];
    decide(&refs(&first), &mut holds, &mut stock(9), NOW).unwrap();
    let batch = [hold_stock(fresh, &[("C", 1)]), release_stock(known), release_stock(other)];
    let read: Vec<String> = skus(&refs(&batch), &holds).into_iter().map(String::from).collect();
    assert_eq!(read, ["A", "C"], "B was refused, so there is nothing to let go");
    assert_eq!(orders(&refs(&batch)).len(), 3);
}

/// One command: of which order, do or undo, and the pieces of each SKU if it is a do.
fn wishes() -> impl Strategy<Value = Vec<(usize, bool, [u32; 3])>> {
    let pieces = prop::array::uniform3(0u32..4);
    prop::collection::vec((0usize..8, prop::bool::weighted(0.6), pieces), 1..60)
}

proptest! {
    /// However commands come, repeat and are cut into batches: never oversold, `held` is the sum of the open holds'
    /// lines, and the cuts change nothing.
    #[test]
    fn never_oversold(wishes in wishes(), on_hand in 0i64..12, cut in 1usize..20) {
        let orders: Vec<OrderId> = (0..8).map(|_| OrderId::mint()).collect();
        // The same order always asks for the same: its first wish counts.
        let mut wanted: BTreeMap<usize, [u32; 3]> = BTreeMap::new();
        let mut commands = Vec::new();
        for (who, is_do, pieces) in wishes {
            let pieces = wanted.entry(who).or_insert(pieces);
            let lines: Vec<_> = SKUS.into_iter().zip(*pieces).filter(|(_, pieces)| *pieces > 0).collect();
            let holds = is_do && !lines.is_empty();
            commands.push(if holds { hold_stock(orders[who], &lines) } else { release_stock(orders[who]) });
        }
        let (holds, answers) = in_batches(&commands, on_hand, cut)?;
        let (whole, same) = in_batches(&commands, on_hand, commands.len())?;
        prop_assert_eq!(answers, same);
        prop_assert_eq!(holds, whole);
    }
}

type Decided = (BTreeMap<OrderId, Hold>, Vec<InventoryEvent>);

/// Decides `commands` in batches of `cut`, each of which reads only what [`orders`] and [`skus`] ask for.
fn in_batches(commands: &[InventoryCommand], on_hand: i64, cut: usize) -> Result<Decided, TestCaseError> {
    let mut levels: BTreeMap<Sku, Level> = stock(on_hand).levels();
    let mut stored: BTreeMap<OrderId, Hold> = BTreeMap::new();
    let mut answers = Vec::new();
    for batch in commands.chunks(cut) {
        let batch = &refs(batch);
        let mut holds: Holds = orders(batch).iter().filter_map(|order| stored.get(order).cloned()).collect();
        let mut stock: Stock = skus(batch, &holds).into_iter().map(|sku| (sku.clone(), levels[&sku])).collect();
        answers.extend(decide(batch, &mut holds, &mut stock, NOW).unwrap());
        stored.extend(holds.added().chain(holds.altered()).map(|hold| (hold.order, hold.clone())));
        levels.extend(stock.levels());
        for (sku, level) in &levels {
            prop_assert!(0 <= level.held && level.held <= level.on_hand, "{sku}: {level:?}");
            let open = stored.values().filter(|hold| hold.state == State::Open).flat_map(|hold| &hold.lines);
            let sum: i64 = open.filter(|line| line.sku == *sku).map(|line| i64::from(line.quantity.get())).sum();
            prop_assert_eq!(level.held, sum, "{}", sku);
        }
    }
    Ok((stored, answers))
}

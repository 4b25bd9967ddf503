//! Batches of messages against stock that is scarce and lies in two warehouses.

use std::collections::BTreeMap;

use contracts::{
    CommandId,
    inventory::{InventoryEvent::*, StockLine},
};
use proptest::prelude::*;

use super::*;
use crate::{
    hold::State,
    stock::{Level, Levels, tests::levels},
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const SKUS: [&str; 3] = ["A", "B", "C"];

fn command(name: &str, order: OrderId) -> CommandId {
    format!("{order}/{name}").try_into().unwrap()
}

fn hold_stock(order: OrderId, lines: &[(&str, u32)]) -> Message {
    let line =
        |(sku, pieces): &(&str, u32)| StockLine { sku: sku.parse().unwrap(), quantity: (*pieces).try_into().unwrap() };
    let lines = lines.iter().map(line).collect();
    Message::Command(InventoryCommand::HoldStock { command: command("do", order), order, lines })
}

fn release_stock(order: OrderId) -> Message {
    Message::Command(InventoryCommand::ReleaseStock { command: command("undo", order), order })
}

fn reclaim_stock(order: OrderId) -> Message {
    Message::Command(InventoryCommand::ReclaimStock { command: command("reclaim", order), order })
}

fn refs(messages: &[Message]) -> Vec<&Message> {
    messages.iter().collect()
}

/// So many pieces of each SKU in LYON, and one in MILAN.
fn stock(in_lyon: i64) -> BTreeMap<Sku, Levels> {
    let each = levels(&[("LYON", in_lyon, 0), ("MILAN", 1, 0)]);
    SKUS.into_iter().map(|sku| (sku.parse().unwrap(), each.clone())).collect()
}

/// What the next transaction would read.
fn stored(holds: Holds) -> Holds {
    holds.0.into_values().filter_map(|entry| entry.now).collect()
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
    let (mut holds, mut stock) = (Holds::default(), stock(3).into_iter().collect());
    let Decided { answers, .. } = decide(&refs(&batch), &mut holds, &mut stock, NOW).unwrap();
    assert!(
        matches!(
            answers[..],
            [(0, StockHeld { .. }), (1, StockRefused { .. }), (2, StockReleased { .. }), (3, StockHeld { .. })]
        ),
        "{answers:?}"
    );
    assert_eq!(holds.added().count(), 3);
    assert_eq!(holds.altered().count(), 0);
    let changes: Vec<_> = stock.changes(NOW).map(|change| change.causes.len()).collect();
    assert_eq!(changes, [3], "one change for the SKU, not one per order");
}

#[test]
fn a_stored_hold_is_written_only_as_far_as_it_has_changed() {
    let [same, allocated, released, both] = [(); 4].map(|()| OrderId::mint());
    let (mut holds, mut stock): (Holds, Stock) = (Holds::default(), stock(9).into_iter().collect());
    let first = [same, allocated, released, both].map(|order| hold_stock(order, &[("A", 1)]));
    decide(&refs(&first), &mut holds, &mut stock, NOW).unwrap();
    let mut holds = stored(holds);
    let second = [
        hold_stock(same, &[("A", 1)]),
        Message::Confirmed(allocated),
        Message::Confirmed(allocated),
        release_stock(released),
        Message::Confirmed(both),
        reclaim_stock(both),
    ];
    let decided = decide(&refs(&second), &mut holds, &mut stock, NOW).unwrap();
    let answers: Vec<usize> = decided.answers.iter().map(|(index, _)| *index).collect();
    assert_eq!(answers, [0, 3, 5], "events have no answer");
    let orders = |holds: &mut dyn Iterator<Item = &Hold>| holds.map(|hold| hold.order).collect::<BTreeSet<_>>();
    assert_eq!(orders(&mut holds.added()), [].into());
    assert_eq!(orders(&mut holds.allocated()), [allocated].into());
    assert_eq!(orders(&mut holds.altered()), [released, both].into());
    let mut holds = stored(holds);
    decide(&[&Message::Confirmed(allocated)], &mut holds, &mut stock, NOW).unwrap();
    assert_eq!(holds.allocated().chain(holds.altered()).count(), 0);
}

#[test]
fn what_is_cleaned_up_late_is_named() {
    let (open, released) = (OrderId::mint(), OrderId::mint());
    let (mut holds, mut stock) = (Holds::default(), stock(9).into_iter().collect());
    let batch = [
        hold_stock(open, &[("A", 1)]),
        hold_stock(released, &[("A", 1)]),
        release_stock(released),
        Message::Cancelled(released),
        Message::Cancelled(open),
        Message::Cancelled(open),
    ];
    let decided = decide(&refs(&batch), &mut holds, &mut stock, NOW).unwrap();
    assert_eq!(decided.late, [open]);
    assert_eq!(holds.get(open).map(|hold| &hold.state), Some(&State::Released));
}

#[test]
fn reads_what_may_be_held_and_what_may_be_let_go() {
    let [fresh, known, other, confirmed] = [(); 4].map(|()| OrderId::mint());
    let mut holds = Holds::default();
    let first = [hold_stock(known, &[("A", 1)]), hold_stock(other, &[("B", 99)]), hold_stock(confirmed, &[("B", 1)])];
    decide(&refs(&first), &mut holds, &mut stock(9).into_iter().collect(), NOW).unwrap();
    let batch = [
        hold_stock(fresh, &[("C", 1)]),
        reclaim_stock(known),
        release_stock(other),
        Message::Cancelled(other),
        Message::Confirmed(confirmed),
        hold_stock(confirmed, &[("B", 1)]),
    ];
    let read: Vec<String> = skus(&refs(&batch), &holds).into_iter().map(String::from).collect();
    assert_eq!(read, ["A", "C"], "B was refused, or stays where it is");
    assert_eq!(orders(&refs(&batch)).len(), 4);
}

/// One message: of which order, of which kind, and the pieces of each SKU if it is a do.
fn wishes() -> impl Strategy<Value = Vec<(usize, usize, [u32; 3])>> {
    let pieces = prop::array::uniform3(0u32..4);
    prop::collection::vec((0usize..8, 0usize..6, pieces), 1..60)
}

proptest! {
    /// However messages come, repeat and are cut into batches: never oversold in any warehouse, `held` is the sum of
    /// the picks of all holds, and the cuts change nothing.
    #[test]
    fn never_oversold(wishes in wishes(), in_lyon in 0i64..12, cut in 1usize..20) {
        let orders: Vec<OrderId> = (0..8).map(|_| OrderId::mint()).collect();
        // The same order always asks for the same: its first wish counts.
        let mut wanted: BTreeMap<usize, [u32; 3]> = BTreeMap::new();
        let mut messages = Vec::new();
        for (who, kind, pieces) in wishes {
            let (order, pieces) = (orders[who], wanted.entry(who).or_insert(pieces));
            let lines: Vec<_> = SKUS.into_iter().zip(*pieces).filter(|(_, pieces)| *pieces > 0).collect();
            messages.push(match kind {
                0..=2 if !lines.is_empty() => hold_stock(order, &lines),
                3 => Message::Confirmed(order),
                4 => reclaim_stock(order),
                _ => release_stock(order),
            });
        }
        let (holds, answers) = in_batches(&messages, in_lyon, cut)?;
        let (whole, same) = in_batches(&messages, in_lyon, messages.len())?;
        prop_assert_eq!(answers, same);
        prop_assert_eq!(holds, whole);
    }
}

type Taken = (BTreeMap<OrderId, Hold>, Vec<InventoryEvent>);

/// Decides `messages` in batches of `cut`, each of which reads only what [`orders`] and [`skus`] ask for. Those at fault
/// leave their batch, as the consumer has it.
fn in_batches(messages: &[Message], in_lyon: i64, cut: usize) -> Result<Taken, TestCaseError> {
    let mut levels: BTreeMap<Sku, Levels> = stock(in_lyon);
    let mut known: BTreeMap<OrderId, Hold> = BTreeMap::new();
    let mut answers = Vec::new();
    for batch in messages.chunks(cut) {
        let mut batch = refs(batch);
        loop {
            let mut holds: Holds = orders(&batch).iter().filter_map(|order| known.get(order).cloned()).collect();
            let mut stock: Stock =
                skus(&batch, &holds).into_iter().map(|sku| (sku.clone(), levels[&sku].clone())).collect();
            match decide(&batch, &mut holds, &mut stock, NOW) {
                Ok(decided) => {
                    answers.extend(decided.answers.into_iter().map(|(_, answer)| answer));
                    let written = holds.added().chain(holds.allocated()).chain(holds.altered());
                    known.extend(written.map(|hold| (hold.order, hold.clone())));
                    let changes = stock.changes(NOW);
                    levels.extend(
                        changes.map(|change| {
                            (change.sku.clone(), Levels { at: change.at, warehouses: change.to.clone() })
                        }),
                    );
                    break;
                }
                Err((index, HoldError::Impossible(_))) => drop(batch.remove(index)),
                Err((_, HoldError::BrokenBooks(broken))) => prop_assert!(false, "{}", broken),
            }
        }
        for (sku, levels) in &levels {
            for (warehouse, Level { on_hand, held }) in &levels.warehouses {
                prop_assert!(0 <= *held && held <= on_hand, "{sku} in {warehouse}: {levels:?}");
                let picks = known.values().flat_map(|hold| &hold.picks);
                let here = picks.filter(|pick| (&pick.sku, &pick.warehouse) == (sku, warehouse));
                prop_assert_eq!(
                    *held,
                    here.map(|pick| i64::from(pick.pieces)).sum::<i64>(),
                    "{} in {}",
                    sku,
                    warehouse
                );
            }
        }
    }
    Ok((known, answers))
}

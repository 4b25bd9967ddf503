//! Every state with every message; every order in which `HoldStock` and `ReleaseStock` can come, with duplicates.

use contracts::{Sku, inventory::InventoryEvent::*};

use super::*;
use crate::stock::Level;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

struct Bench {
    hold: Option<Hold>,
    stock: Stock,
    order: OrderId,
}

impl Bench {
    /// Four pieces in the warehouse, one of them held for somebody else; no hold of ours.
    fn new() -> Self {
        let stock = [(mug(), Level { on_hand: 4, held: 1 })].into_iter().collect();
        Self { hold: None, stock, order: OrderId::mint() }
    }

    fn given(commands: &[(&str, Do)]) -> Self {
        let mut bench = Self::new();
        for (id, wish) in commands {
            bench.send(id, *wish).unwrap();
        }
        bench
    }

    fn send(&mut self, id: &str, wish: Do) -> Result<InventoryEvent, HoldError> {
        let (command, order) = (command_id(id), self.order);
        let command = match wish {
            Do::Hold(pieces) => InventoryCommand::HoldStock { command, order, lines: lines(pieces) },
            Do::Release => InventoryCommand::ReleaseStock { command, order },
        };
        obey(&mut self.hold, &command, &mut self.stock, NOW)
    }

    fn held_for_us(&self) -> i64 {
        self.stock.level(&mug()).unwrap().held - 1
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Do {
    Hold(u32),
    Release,
}

fn mug() -> Sku {
    "MUG".parse().unwrap()
}

fn command_id(id: &str) -> CommandId {
    id.to_owned().try_into().unwrap()
}

fn lines(pieces: u32) -> Vec<StockLine> {
    vec![StockLine { sku: mug(), quantity: pieces.try_into().unwrap() }]
}

fn said(event: &InventoryEvent) -> &'static str {
    match event {
        StockHeld { .. } => "held",
        StockRefused { reason: StockRefusal::OutOfStock { .. }, .. } => "out of stock",
        StockRefused { reason: StockRefusal::Released, .. } => "refused: released",
        StockReleased { .. } => "released",
        StockReclaimed { .. } => "reclaimed",
        ReclaimRefused { .. } => "reclaim refused",
        StockShipped { .. } => "shipped",
    }
}

fn named(state: &State) -> &'static str {
    match state {
        State::Open => "Open",
        State::Released => "Released",
        State::Refused(_) => "Refused",
        State::Tombstone => "Tombstone",
    }
}

/// The table of the module, line by line: how the state is reached, what comes, the answer, the state then, pieces held.
#[test]
fn every_state_meets_every_message() {
    use Do::{Hold, Release};
    type Case<'a> = (&'a str, &'a [(&'a str, Do)], (&'a str, Do), &'a str, &'a str, i64);
    let table: [Case; 20] = [
        ("none", &[], ("h", Hold(3)), "held", "Open", 3),
        ("none", &[], ("h", Hold(4)), "out of stock", "Refused", 0),
        ("none", &[], ("r", Release), "released", "Tombstone", 0),
        ("Open", &[("h", Hold(2))], ("h", Hold(2)), "held", "Open", 2),
        ("Open", &[("h", Hold(2))], ("h2", Hold(2)), "held", "Open", 2),
        ("Open", &[("h", Hold(2))], ("r", Release), "released", "Released", 0),
        ("Released", &[("h", Hold(2)), ("r", Release)], ("h", Hold(2)), "held", "Released", 0),
        ("Released", &[("h", Hold(2)), ("r", Release)], ("h2", Hold(2)), "refused: released", "Released", 0),
        ("Released", &[("h", Hold(2)), ("r", Release)], ("r", Release), "released", "Released", 0),
        ("Released", &[("h", Hold(2)), ("r", Release)], ("r2", Release), "released", "Released", 0),
        ("Refused", &[("h", Hold(4))], ("h", Hold(4)), "out of stock", "Refused", 0),
        ("Refused", &[("h", Hold(4))], ("h2", Hold(1)), "out of stock", "Refused", 0),
        ("Refused", &[("h", Hold(4))], ("r", Release), "released", "Refused", 0),
        ("Refused", &[("h", Hold(4)), ("r", Release)], ("r", Release), "released", "Refused", 0),
        ("Refused", &[("h", Hold(4)), ("r", Release)], ("r2", Release), "released", "Refused", 0),
        ("Tombstone", &[("r", Release)], ("h", Hold(2)), "refused: released", "Tombstone", 0),
        ("Tombstone", &[("r", Release), ("h", Hold(2))], ("h", Hold(2)), "refused: released", "Tombstone", 0),
        ("Tombstone", &[("r", Release), ("h", Hold(2))], ("h2", Hold(2)), "refused: released", "Tombstone", 0),
        ("Tombstone", &[("r", Release)], ("r", Release), "released", "Tombstone", 0),
        ("Tombstone", &[("r", Release)], ("r2", Release), "released", "Tombstone", 0),
    ];
    for (before, given, (id, wish), answer, after, held) in table {
        let mut bench = Bench::given(given);
        assert_eq!(bench.hold.as_ref().map_or("none", |hold| named(&hold.state)), before, "{given:?}");
        let event = bench.send(id, wish).unwrap();
        let state = named(&bench.hold.as_ref().unwrap().state);
        assert_eq!((said(&event), state, bench.held_for_us()), (answer, after, held), "{before} and {wish:?} as {id}");
    }
}

#[test]
fn what_the_table_does_not_list_is_impossible() {
    use Do::{Hold, Release};
    let mut bench = Bench::given(&[("h", Hold(2))]);
    let order = bench.order;
    assert_eq!(bench.send("h2", Hold(1)), Err(Impossible::OtherLines(order).into()));
    assert_eq!(bench.send("h", Release), Err(Impossible::OtherStep(command_id("h")).into()));
    let mut bench = Bench::given(&[("r", Release)]);
    assert_eq!(bench.send("r", Hold(1)), Err(Impossible::OtherStep(command_id("r")).into()));
}

#[test]
fn lines_name_each_sku_once_and_at_least_one() {
    for wrong in [vec![], [lines(1), lines(1)].concat()] {
        let (mut bench, order) = (Bench::new(), OrderId::mint());
        let command = InventoryCommand::HoldStock { command: command_id("h"), order, lines: wrong };
        let refused = obey(&mut bench.hold, &command, &mut bench.stock, NOW);
        assert_eq!(refused, Err(Impossible::BadLines(order).into()));
        assert_eq!((bench.hold.is_some(), bench.held_for_us()), (false, 0));
    }
}

#[test]
fn an_answer_sent_again_is_the_same_to_the_last_byte() {
    let mut bench = Bench::given(&[("h", Do::Hold(2))]);
    let order = bench.order;
    let later = Timestamp::from_second(3_600).unwrap();
    let again = InventoryCommand::HoldStock { command: command_id("h"), order, lines: lines(2) };
    let answer = obey(&mut bench.hold, &again, &mut bench.stock, later);
    assert_eq!(answer, Ok(StockHeld { command: command_id("h"), order, at: NOW }));
    assert_eq!(bench.hold.unwrap().commands.len(), 1);
}

/// Duplicates, the undo before the do, the do that hangs in the network until after the undo: every sequence of up to
/// six. The answer to a command never changes, and once released nothing is held.
#[test]
fn any_order_of_do_and_undo_ends_well() {
    let mut reached = BTreeSet::new();
    for (length, pieces) in (1..=6).flat_map(|length| [(length, 3), (length, 4)]) {
        for sequence in 0..1_u32 << length {
            let mut bench = Bench::new();
            let (mut answer, mut undone) = (None, false);
            for step in 0..length {
                let is_do = sequence >> step & 1 == 1;
                let event = if is_do { bench.send("do", Do::Hold(pieces)) } else { bench.send("undo", Do::Release) };
                let expected = if is_do {
                    *answer.get_or_insert(match (undone, pieces) {
                        (true, _) => "refused: released",
                        (false, 3) => "held",
                        (false, _) => "out of stock",
                    })
                } else {
                    undone = true;
                    "released"
                };
                assert_eq!(said(&event.unwrap()), expected, "{sequence:b} at {step}");
                let open = !undone && answer == Some("held");
                assert_eq!(bench.held_for_us(), if open { 3 } else { 0 }, "{sequence:b} at {step}");
            }
            reached.extend(answer);
        }
    }
    assert_eq!(reached.len(), 3, "{reached:?}");
}

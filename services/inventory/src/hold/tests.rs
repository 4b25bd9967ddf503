//! The table of the module, and what it does not list.

use contracts::{Warehouse, inventory::InventoryEvent::*};

use super::*;
use crate::stock::{
    Levels,
    tests::{levels, line, sku},
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// The hold of one order, and the mugs there are.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    pub(super) hold: Option<Hold>,
    pub(super) levels: Levels,
    order: OrderId,
    pieces: u32,
}

/// What can come, with the command's id, or the warehouse and how many pieces if not all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Hold(&'static str),
    Release(&'static str),
    Reclaim(&'static str),
    Confirmed,
    Cancelled,
    Ship(&'static str, Option<u32>),
}

impl Bench {
    /// Two mugs in LYON, two in MILAN and one that is somebody else's; our order is for so many.
    pub(super) fn of(pieces: u32) -> Self {
        let levels = levels(&[("LYON", 2, 0), ("MILAN", 3, 1)]);
        Self { hold: None, levels, order: OrderId::mint(), pieces }
    }

    fn given(pieces: u32, whats: &[What]) -> Self {
        let mut bench = Self::of(pieces);
        for what in whats {
            let said = bench.send(*what);
            assert_ne!(said, "impossible", "{whats:?}");
        }
        bench
    }

    /// Lets it come, and gives what came of it in a word. What is impossible leaves everything as it was.
    pub(super) fn send(&mut self, what: What) -> &'static str {
        let before = self.hold.clone();
        let mut stock: Stock = [(sku("MUG"), self.levels.clone())].into_iter().collect();
        let said = self.act(what, &mut stock);
        if said == "impossible" {
            self.hold = before;
        } else if let Some(change) = stock.changes(NOW).next() {
            self.levels = Levels { at: change.at, warehouses: change.to.clone() };
        }
        said
    }

    fn act(&mut self, what: What, stock: &mut Stock) -> &'static str {
        let order = self.order;
        let command = match what {
            What::Hold(id) => {
                InventoryCommand::HoldStock { command: command_id(id), order, lines: vec![line("MUG", self.pieces)] }
            }
            What::Release(id) => InventoryCommand::ReleaseStock { command: command_id(id), order },
            What::Reclaim(id) => InventoryCommand::ReclaimStock { command: command_id(id), order },
            What::Confirmed => {
                return match allocate(self.hold.as_mut(), order, NOW) {
                    Ok(true) => "allocated",
                    Ok(false) => "nothing",
                    Err(_) => "impossible",
                };
            }
            What::Cancelled => {
                let late = close(self.hold.as_mut(), stock, NOW).unwrap();
                return if late { "late" } else { "nothing" };
            }
            What::Ship(warehouse, pieces) => return self.ship(&warehouse.parse().unwrap(), pieces, stock),
        };
        match obey(&mut self.hold, &command, stock, NOW) {
            Ok(answer) => said(&answer),
            Err(HoldError::Impossible(_)) => "impossible",
            Err(HoldError::BrokenBooks(broken)) => panic!("{what:?}: {broken}"),
        }
    }

    fn ship(&mut self, warehouse: &Warehouse, pieces: Option<u32>, stock: &mut Stock) -> &'static str {
        let Some(hold) = &mut self.hold else { return "unknown order" };
        let lines = pieces.map(|pieces| vec![line("MUG", pieces)]);
        match hold.ship(warehouse, lines.as_deref(), stock, NOW).unwrap() {
            Ok(Left { complete: true, .. }) => "shipped, complete",
            Ok(Left { complete: false, .. }) => "shipped",
            Err(NotShipped::NotAllocated(_)) => "not allocated",
            Err(NotShipped::Released) => "was released",
            Err(NotShipped::Shipped) => "all shipped",
            Err(NotShipped::NotThere(_)) => "not there",
            Err(NotShipped::UnknownOrder) => panic!("the hold is known"),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        self.hold.as_ref().map_or("none", |hold| hold.state.name())
    }

    /// On hand, and held for us, in one warehouse: `held` of somebody else's is not ours.
    pub(super) fn level(&self, warehouse: &str) -> (i64, i64) {
        let level = self.levels.warehouses[&warehouse.parse::<Warehouse>().unwrap()];
        (level.on_hand, level.held - i64::from(warehouse == "MILAN"))
    }
}

fn command_id(id: &str) -> CommandId {
    id.to_owned().try_into().unwrap()
}

fn said(event: &InventoryEvent) -> &'static str {
    match event {
        StockHeld { .. } => "held",
        StockRefused { reason: StockRefusal::OutOfStock { .. }, .. } => "out of stock",
        StockRefused { reason: StockRefusal::Released, .. } => "refused: released",
        StockReleased { .. } => "released",
        StockReclaimed { .. } => "reclaimed",
        ReclaimRefused { .. } => "reclaim refused",
        StockShipped { .. } => panic!("answers no command"),
    }
}

/// The table of the module: how a state is reached by an order for three mugs (for nine, if it is to be short), and for
/// each column what is said and what the state is then. Each command comes under a new id.
#[test]
#[expect(clippy::too_many_lines, reason = "one table, a line each")]
fn every_state_meets_every_message() {
    use What::{Cancelled, Confirmed, Hold, Reclaim, Release, Ship};
    const COLUMNS: [What; 6] = [Hold("h2"), Release("r2"), Reclaim("c2"), Confirmed, Cancelled, Ship("LYON", None)];
    type Row<'a> = (&'a str, u32, &'a [What], [(&'a str, &'a str); 6]);
    let open = [Hold("h")];
    let allocated = [Hold("h"), Confirmed];
    let in_part = [Hold("h"), Confirmed, Ship("MILAN", None)];
    let shipped = [Hold("h"), Confirmed, Ship("MILAN", None), Ship("LYON", None)];
    let released = [Hold("h"), Release("r")];
    let reclaimed = [Hold("h"), Confirmed, Reclaim("c")];
    let no = |state| ("impossible", state);
    let late_refused = |state| ("refused: released", state);
    let table: [Row; 9] = [
        (
            "none",
            3,
            &[],
            [
                ("held", "open"),
                ("released", "tombstone"),
                no("none"),
                no("none"),
                ("nothing", "none"),
                ("unknown order", "none"),
            ],
        ),
        (
            "open",
            3,
            &open,
            [
                ("held", "open"),
                ("released", "released"),
                ("reclaimed", "released"),
                ("allocated", "allocated"),
                ("late", "released"),
                ("not allocated", "open"),
            ],
        ),
        (
            "allocated",
            3,
            &allocated,
            [
                ("held", "allocated"),
                no("allocated"),
                ("reclaimed", "released"),
                ("nothing", "allocated"),
                ("late", "released"),
                ("shipped", "allocated"),
            ],
        ),
        (
            "allocated",
            3,
            &in_part,
            [
                ("held", "allocated"),
                no("allocated"),
                ("reclaim refused", "allocated"),
                ("nothing", "allocated"),
                ("late", "released"),
                ("shipped, complete", "shipped"),
            ],
        ),
        (
            "shipped",
            3,
            &shipped,
            [
                ("held", "shipped"),
                no("shipped"),
                ("reclaim refused", "shipped"),
                ("nothing", "shipped"),
                ("late", "shipped"),
                ("all shipped", "shipped"),
            ],
        ),
        (
            "released",
            3,
            &released,
            [
                late_refused("released"),
                ("released", "released"),
                no("released"),
                ("nothing", "released"),
                ("nothing", "released"),
                ("was released", "released"),
            ],
        ),
        (
            "released",
            3,
            &reclaimed,
            [
                late_refused("released"),
                ("released", "released"),
                ("reclaimed", "released"),
                ("nothing", "released"),
                ("nothing", "released"),
                ("was released", "released"),
            ],
        ),
        (
            "refused",
            9,
            &open,
            [
                ("out of stock", "refused"),
                ("released", "refused"),
                no("refused"),
                no("refused"),
                ("nothing", "refused"),
                ("not allocated", "refused"),
            ],
        ),
        (
            "tombstone",
            3,
            &[Release("r")],
            [
                late_refused("tombstone"),
                ("released", "tombstone"),
                no("tombstone"),
                no("tombstone"),
                ("nothing", "tombstone"),
                ("not allocated", "tombstone"),
            ],
        ),
    ];
    for (before, pieces, given, row) in table {
        for (what, (said, after)) in COLUMNS.into_iter().zip(row) {
            let mut bench = Bench::given(pieces, given);
            assert_eq!(bench.state(), before, "{given:?}");
            let outcome = (bench.send(what), bench.state());
            assert_eq!(outcome, (said, after), "{before} by {given:?} meets {what:?}");
        }
    }
}

#[test]
fn what_the_table_does_not_list_is_impossible() {
    use What::{Confirmed, Hold, Reclaim, Release};
    let mut bench = Bench::given(3, &[Hold("h")]);
    bench.pieces = 2;
    assert_eq!(bench.send(Hold("h2")), "impossible", "other lines");
    bench.pieces = 3;
    assert_eq!(bench.send(Release("h")), "impossible", "the id of another step");
    bench.send(Confirmed);
    bench.send(Reclaim("c"));
    for other_step in [Hold("c"), Release("c"), Reclaim("h")] {
        assert_eq!(bench.send(other_step), "impossible", "{other_step:?}");
    }
}

#[test]
fn lines_name_each_sku_once_and_at_least_one() {
    for wrong in [vec![], vec![line("MUG", 1), line("MUG", 1)]] {
        let (mut hold, order) = (None, OrderId::mint());
        let mut stock: Stock = [(sku("MUG"), levels(&[("LYON", 2, 0)]))].into_iter().collect();
        let command = InventoryCommand::HoldStock { command: command_id("h"), order, lines: wrong };
        let refused = obey(&mut hold, &command, &mut stock, NOW);
        assert_eq!(refused, Err(Impossible::BadLines(order).into()));
        assert_eq!((hold, stock.changes(NOW).count()), (None, 0));
    }
}

#[test]
fn an_answer_sent_again_is_the_same_to_the_last_byte() {
    let mut bench = Bench::given(2, &[What::Hold("h")]);
    let order = bench.order;
    let later = Timestamp::from_second(3_600).unwrap();
    let again = InventoryCommand::HoldStock { command: command_id("h"), order, lines: vec![line("MUG", 2)] };
    let answer = obey(&mut bench.hold, &again, &mut Stock::default(), later);
    assert_eq!(answer, Ok(StockHeld { command: command_id("h"), order, at: NOW }));
    assert_eq!(bench.hold.unwrap().commands.len(), 1);
}

#[test]
fn only_what_lies_there_for_the_order_leaves() {
    use What::{Confirmed, Hold, Ship};
    let mut bench = Bench::given(3, &[Hold("h"), Confirmed]);
    assert_eq!((bench.level("LYON"), bench.level("MILAN")), ((2, 2), (3, 1)));
    for nothing in [Ship("HAMBURG", None), Ship("MILAN", Some(2)), Ship("LYON", Some(3))] {
        assert_eq!(bench.send(nothing), "not there", "{nothing:?}");
    }
    assert_eq!(bench.send(Ship("LYON", Some(1))), "shipped");
    assert_eq!((bench.level("LYON"), bench.level("MILAN")), ((1, 1), (3, 1)));
    assert_eq!(bench.send(Ship("LYON", Some(2))), "not there", "one of the two has left");
    assert_eq!(bench.send(Ship("LYON", None)), "shipped");
    assert_eq!(bench.send(Ship("MILAN", Some(1))), "shipped, complete");
    assert_eq!((bench.level("LYON"), bench.level("MILAN")), ((0, 0), (2, 0)));
}

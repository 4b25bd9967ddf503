//! Shipments that wait together.

use super::*;
use crate::{
    hold::{Hold, State},
    stock::{
        Pick,
        tests::{levels, line, sku},
    },
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn dispatch(key: &str, order: OrderId, warehouse: &str, lines: Option<Vec<StockLine>>) -> Dispatch {
    Dispatch { id: RequestId::of_operator(key), order, warehouse: warehouse.parse().unwrap(), lines }
}

/// A confirmed order of four mugs, of which two lie in LYON and two in MILAN.
fn allocated(order: OrderId) -> Hold {
    let pick = |warehouse: &str| Pick { sku: sku("MUG"), warehouse: warehouse.parse().unwrap(), pieces: 2 };
    let picks = vec![pick("LYON"), pick("MILAN")];
    let lines = vec![line("MUG", 4)];
    Hold { order, state: State::Allocated, lines, picks, commands: Vec::new(), late_cleanup: false, at: NOW }
}

#[test]
fn a_key_ships_once_also_within_one_transaction() {
    let (order, stranger) = (OrderId::mint(), OrderId::mint());
    let mut holds: Holds = [allocated(order)].into_iter().collect();
    let mut stock: Stock = [(sku("MUG"), levels(&[("LYON", 2, 2), ("MILAN", 5, 2)]))].into_iter().collect();
    let one = || Some(vec![line("MUG", 1)]);
    let dispatches = [
        dispatch("x", stranger, "LYON", None),
        dispatch("a", order, "LYON", one()),
        dispatch("a", order, "LYON", one()),
        dispatch("a", order, "LYON", None),
        dispatch("a", order, "MILAN", one()),
        dispatch("b", order, "LYON", None),
        dispatch("c", order, "LYON", None),
        dispatch("d", order, "MILAN", None),
        dispatch("e", order, "MILAN", None),
    ];
    let (outcomes, new) = ship(&dispatches, &mut HashMap::new(), &mut holds, &mut stock, NOW).unwrap();
    let said: Vec<String> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(Done::Now(shipment)) => {
                format!("{} left, complete: {}", shipment.lines[0].quantity.get(), shipment.complete)
            }
            Ok(Done::Before(shipment)) => format!("{} had left", shipment.lines[0].quantity.get()),
            Err(RequestError::Refused(refusal)) => format!("{refusal:?}"),
            Err(error) => error.to_string(),
        })
        .collect();
    let reused = RequestError::<NotShipped>::KeyReused.to_string();
    let part = "1 left, complete: false";
    let last = "2 left, complete: true";
    let words = ["UnknownOrder", part, "1 had left", &reused, &reused, part, "NotThere(None)", last, "Shipped"];
    assert_eq!(said, words);
    let [_, Ok(Done::Now(first)), Ok(Done::Before(again)), ..] = &*outcomes else { panic!("{outcomes:?}") };
    assert_eq!(first, again, "the same shipment");
    assert_eq!(new.len(), 3);
    assert_eq!(stock.level_in(&sku("MUG"), "MILAN").on_hand, 3);
    assert_eq!(holds.altered().map(|hold| hold.state.clone()).collect::<Vec<_>>(), [State::Shipped]);
}

#[test]
fn what_is_refused_changes_no_hold() {
    let order = OrderId::mint();
    let mut holds: Holds = [allocated(order)].into_iter().collect();
    let mut stock: Stock = [(sku("MUG"), levels(&[("LYON", 2, 2), ("MILAN", 5, 2)]))].into_iter().collect();
    let too_many = dispatch("a", order, "LYON", Some(vec![line("MUG", 3)]));
    let (outcomes, new) = ship(&[too_many], &mut HashMap::new(), &mut holds, &mut stock, NOW).unwrap();
    let refusal = NotShipped::NotThere(Some(sku("MUG")));
    assert!(matches!(&outcomes[..], [Err(RequestError::Refused(refused))] if *refused == refusal), "{outcomes:?}");
    assert_eq!((new.len(), holds.altered().count(), stock.changes(NOW).count()), (0, 0, 0));
}

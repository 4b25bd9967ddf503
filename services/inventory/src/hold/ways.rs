//! Every sequence of messages and shipments, of any length, with any duplicates: all states that can be reached are
//! visited, and each meets everything. What the machine does is compared, step by step, with the rules of the protocol's
//! model, written down here a second time.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{Bench, What, What::*};

/// The order's pieces in LYON and in MILAN.
type Pieces = (i64, i64);

/// What the model says of one order: the machine must be like it after each step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Model {
    state: &'static str,
    here: Pieces,
    left: Pieces,
    answers: BTreeMap<&'static str, &'static str>,
    late: bool,
}

impl Model {
    fn none() -> Self {
        Self { state: "none", here: (0, 0), left: (0, 0), answers: BTreeMap::new(), late: false }
    }

    /// An order for three is held, one for more is refused.
    fn step(&mut self, what: What, is_short: bool) -> &'static str {
        match what {
            Hold(id) | Release(id) | Reclaim(id) => {
                let known = self.answers.get(id).copied();
                let answer = known.unwrap_or_else(|| self.obey(what, is_short));
                if answer != "impossible" {
                    self.answers.insert(id, answer);
                }
                answer
            }
            Confirmed => match self.state {
                "open" => self.becomes("allocated", "allocated"),
                "allocated" | "shipped" | "released" => "nothing",
                _ => "impossible",
            },
            Cancelled => match self.state {
                "open" | "allocated" => {
                    self.late = true;
                    self.let_go("late")
                }
                "shipped" if !self.late => {
                    self.late = true;
                    "late"
                }
                _ => "nothing",
            },
            Ship(warehouse, pieces) => self.ship(warehouse, pieces),
        }
    }

    fn obey(&mut self, what: What, is_short: bool) -> &'static str {
        let was_reclaimed = self.answers.values().any(|answer| *answer == "reclaimed");
        match (what, self.state) {
            (Hold(_), "none") if is_short => self.becomes("refused", "out of stock"),
            (Hold(_), "none") => {
                self.here = (2, 1);
                self.becomes("open", "held")
            }
            (Hold(_), "open" | "allocated" | "shipped") => "held",
            (Hold(_), "refused") => "out of stock",
            (Hold(_), _) => "refused: released",
            (Release(_), "none") => self.becomes("tombstone", "released"),
            (Release(_), "open") => self.let_go("released"),
            (Release(_), "released" | "refused" | "tombstone") => "released",
            (Reclaim(_), "open" | "allocated" | "shipped") if self.left != (0, 0) => "reclaim refused",
            (Reclaim(_), "open" | "allocated") => self.let_go("reclaimed"),
            (Reclaim(_), "released") if was_reclaimed => "reclaimed",
            _ => "impossible",
        }
    }

    fn ship(&mut self, warehouse: &str, pieces: Option<u32>) -> &'static str {
        match self.state {
            "allocated" => {}
            "none" => return "unknown order",
            "released" => return "was released",
            "shipped" => return "all shipped",
            _ => return "not allocated",
        }
        let (here, left) = match warehouse {
            "LYON" => (&mut self.here.0, &mut self.left.0),
            _ => (&mut self.here.1, &mut self.left.1),
        };
        let leaving = pieces.map_or(*here, i64::from);
        if leaving == 0 || leaving > *here {
            return "not there";
        }
        *here -= leaving;
        *left += leaving;
        if self.here == (0, 0) { self.becomes("shipped", "shipped, complete") } else { "shipped" }
    }

    fn becomes(&mut self, state: &'static str, said: &'static str) -> &'static str {
        self.state = state;
        said
    }

    fn let_go(&mut self, said: &'static str) -> &'static str {
        self.here = (0, 0);
        self.becomes("released", said)
    }
}

/// What the machine has become, in the words of the model.
fn seen(bench: &Bench, answers: &BTreeMap<&'static str, &'static str>) -> Model {
    let ((lyon, here_lyon), (milan, here_milan)) = (bench.level("LYON"), bench.level("MILAN"));
    Model {
        state: bench.state(),
        here: (here_lyon, here_milan),
        left: (2 - lyon, 3 - milan),
        answers: answers.clone(),
        late: bench.hold.as_ref().is_some_and(|hold| hold.late_cleanup),
    }
}

/// Takes one step on both, and holds them against each other.
fn step(bench: &Bench, model: &Model, what: What, is_short: bool) -> (Bench, Model, &'static str) {
    let (mut bench, mut after) = (bench.clone(), model.clone());
    let said = after.step(what, is_short);
    assert_eq!(bench.send(what), said, "{what:?} meets {model:?}");
    assert_eq!(seen(&bench, &after.answers), after, "{what:?} met {model:?}");
    let picked: i64 = bench.hold.iter().flat_map(|hold| &hold.picks).map(|pick| i64::from(pick.pieces)).sum();
    assert_eq!(picked, after.here.0 + after.here.1, "the stock and the hold say the same");
    if matches!(after.state, "open" | "allocated" | "shipped") {
        assert_eq!(picked + after.left.0 + after.left.1, 3, "all lines, or none");
    }
    assert!(!(after.left != (0, 0) && after.answers.values().any(|said| *said == "reclaimed")), "{after:?}");
    (bench, after, said)
}

const ALL: [What; 11] = [
    Hold("h"),
    Hold("h2"),
    Release("r"),
    Release("r2"),
    Reclaim("c"),
    Reclaim("c2"),
    Confirmed,
    Cancelled,
    Ship("LYON", None),
    Ship("LYON", Some(1)),
    Ship("MILAN", None),
];

#[test]
fn any_sequence_of_anything_is_as_the_model_has_it() {
    let (mut states, mut met, mut words) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (pieces, is_short) in [(3, false), (9, true)] {
        let mut open = vec![(Bench::of(pieces), Model::none())];
        let mut known = BTreeSet::from([Model::none()]);
        while let Some((bench, model)) = open.pop() {
            for what in ALL {
                let (bench, after, said) = step(&bench, &model, what, is_short);
                met.insert((model.state, what));
                words.insert(said);
                if known.insert(after.clone()) {
                    open.push((bench, after));
                }
            }
        }
        states.extend(known);
    }
    assert_eq!(met.len(), 7 * ALL.len(), "each state has met everything");
    assert_eq!(words.len(), 17, "{words:?}");
    assert!(states.len() > 100, "{}", states.len());
}

/// What the order service sends, and when. Any message that was sent may come at any time, in any order and again: that
/// is more than lost and rescanned topics, replays and questions asked again can do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sender {
    model: Model,
    sent: BTreeSet<What>,
}

impl Sender {
    fn has_sent(&self, what: What) -> bool {
        self.sent.contains(&what)
    }

    /// What may be sent next. Stock is released instead of the card being charged, so either or.
    fn next(&self) -> Vec<What> {
        let said = |id: &str, word: &str| self.model.answers.get(id) == Some(&word);
        let turned = self.has_sent(Release("r"));
        let charged = self.has_sent(Confirmed) || self.has_sent(Reclaim("c"));
        let refused = said("h", "out of stock") || said("h", "refused: released");
        let mut next = Vec::new();
        next.extend((!charged).then_some(Release("r")));
        // A cancel that waited for the charge: never confirmed. Else it may come later, or never.
        next.extend((said("h", "held") && !turned && !self.has_sent(Reclaim("c"))).then_some(Confirmed));
        next.extend((said("h", "held") && !turned).then_some(Reclaim("c")));
        let undone = (turned && said("r", "released")) || (refused && !turned) || said("c", "reclaimed");
        next.extend(undone.then_some(Cancelled));
        next.retain(|what| !self.has_sent(*what));
        next
    }
}

/// Of all that can really come nothing is impossible, and nothing is left to be cleaned up late.
#[test]
fn whatever_can_come_is_no_fault_and_leaves_nothing_to_clean_up() {
    let mut met: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (pieces, is_short) in [(3, false), (9, true)] {
        let first = Sender { model: Model::none(), sent: [Hold("h")].into() };
        let mut open = vec![(Bench::of(pieces), first.clone())];
        let mut known = BTreeSet::from([first]);
        while let Some((bench, sender)) = open.pop() {
            for what in sender.next() {
                let mut sender = sender.clone();
                sender.sent.insert(what);
                if known.insert(sender.clone()) {
                    open.push((bench.clone(), sender));
                }
            }
            let shipments = [Ship("LYON", None), Ship("LYON", Some(1)), Ship("MILAN", None)];
            for what in sender.sent.iter().copied().chain(shipments) {
                let (bench, model, said) = step(&bench, &sender.model, what, is_short);
                assert!(said != "impossible" && said != "late", "{what:?} meets {sender:?}");
                if let Some(name) = name(what) {
                    met.entry(sender.model.state).or_default().insert(name);
                }
                let sender = Sender { model, ..sender.clone() };
                if known.insert(sender.clone()) {
                    open.push((bench, sender));
                }
            }
        }
    }
    for (state, messages) in MET_IN_THE_MODEL {
        for message in messages {
            assert!(met[state].contains(message), "{state} meets {message} in the model, and never here");
        }
    }
}

fn name(what: What) -> Option<&'static str> {
    match what {
        Hold(_) => Some("HoldStock"),
        Release(_) => Some("ReleaseStock"),
        Reclaim(_) => Some("ReclaimStock"),
        Confirmed => Some("OrderConfirmed"),
        Cancelled => Some("OrderCancelled"),
        Ship(..) => None,
    }
}

/// The table that the model prints: with replays, losses and rescans, questions asked again, messages gone for good.
const MET_IN_THE_MODEL: [(&str, &[&str]); 7] = [
    ("none", &["HoldStock", "ReleaseStock"]),
    ("open", &["HoldStock", "ReleaseStock", "ReclaimStock", "OrderConfirmed"]),
    ("allocated", &["HoldStock", "ReclaimStock", "OrderConfirmed"]),
    ("shipped", &["HoldStock", "ReclaimStock", "OrderConfirmed"]),
    ("released", &["HoldStock", "ReleaseStock", "ReclaimStock", "OrderConfirmed", "OrderCancelled"]),
    ("tombstone", &["HoldStock", "ReleaseStock", "OrderCancelled"]),
    ("refused", &["HoldStock", "ReleaseStock", "OrderCancelled"]),
];

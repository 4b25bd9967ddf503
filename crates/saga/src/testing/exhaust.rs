//! Every failure at every step, and all pairs of two.

use std::{collections::BTreeMap, fmt};

use crate::{
    definition::{Data, Kind, Saga},
    testing::{
        plan::{plans, undoable},
        world,
    },
};

/// Runs a saga through every failure at every step and through all pairs of two, in every order in which the steps side
/// by side can answer, and checks after each input what must hold.
///
/// The failures: a step is refused, for each of `refusals`; its answer is lost and comes when it is asked again; it
/// comes only after the deadline, or after the saga has turned (before its undo is answered, after, or after the end);
/// an answer comes twice. The same for undos, which cannot be refused. Besides, every set of steps side by side falls
/// silent, and every run with one failure or none is cancelled at each of its moments. What must hold: see the rules at the head of `machine.rs`; commands are compared by value, and both the log
/// and the inputs, replayed, give the same instance.
///
/// The number of runs grows with the factorial of the steps side by side: two take milliseconds, four some seconds.
///
/// # Panics
/// With the whole story of a run in which something does not hold. Also if `refusals` is empty, or a case was not
/// reached that every definition has: the test kit would be at fault.
pub fn exhaust<D: Data>(saga: &Saga<D>, data: &D, refusals: &[D::Refusal]) -> Reached {
    assert!(!refusals.is_empty(), "without a refusal nothing can be refused");
    let mut reached = Reached::default();
    for plan in plans(saga, refusals) {
        let happened = world::run(saga, data, &plan, &mut reached);
        let cancelled: Vec<_> = (0..happened).filter_map(|after| plan.cancelled_after(after)).collect();
        reached.runs += 1 + cancelled.len();
        for plan in cancelled {
            world::run(saga, data, &plan, &mut reached);
        }
    }
    for case in cases(saga) {
        assert!(reached.times(&case) > 0, "never reached: {case}\n{reached}");
    }
    reached
}

/// What [`exhaust`] has met, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// How many runs there were.
    pub runs: usize,
    cases: BTreeMap<String, usize>,
}

impl Reached {
    /// How often a case was met: `refused: hold-stock`, `answered twice: undo hold-stock`, and so on.
    pub fn times(&self, case: &str) -> usize {
        self.cases.get(case).copied().unwrap_or_default()
    }

    pub(super) fn case(&mut self, case: String) {
        *self.cases.entry(case).or_default() += 1;
    }
}

/// Prints the cases, most of all to see that none is missing.
impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>8}  runs", self.runs)?;
        self.cases.iter().try_for_each(|(case, times)| writeln!(f, "{times:>8}  {case}"))
    }
}

/// The cases every definition has.
fn cases<D: Data>(saga: &Saga<D>) -> Vec<String> {
    let undoable: Vec<_> = undoable(saga).map(|step| step.slug()).collect();
    let mut cases = vec!["completed".to_owned(), "unwound".to_owned(), "cancelled at the pivot".to_owned()];
    if !undoable.is_empty() {
        cases.extend(["cancelled before the pivot", "cancelled while undoing"].map(str::to_owned));
    }
    if saga.steps().iter().any(|step| matches!(step.kind, Kind::Forward)) {
        cases.push("cancelled after the pivot".to_owned());
    }
    for step in saga.steps() {
        let slug = step.slug();
        let always = ["refused: ", "answered twice: do ", "asked again: do ", "answered when asked again: do "];
        let by_kind: &[&str] = match step.kind {
            Kind::SideBySide { .. } => &[
                "done late: ",
                "refused late: ",
                "answered after the end: do ",
                "answered twice: undo ",
                "asked again: undo ",
                "answered when asked again: undo ",
                "past the deadline: undo ",
            ],
            Kind::Pivot => &["past the deadline: do "],
            Kind::Forward => &["past the deadline: do ", "resumed: "],
        };
        cases.extend(always.iter().chain(by_kind).map(|case| format!("{case}{slug}")));
        // A step alone is undone at the end; nothing comes between.
        if step.is_undoable() && undoable.len() > 1 {
            cases.extend(["done after its undo: ", "refused after its undo: "].map(|case| format!("{case}{slug}")));
        }
    }
    for set in 1_usize..1 << undoable.len() {
        let silent = (0..undoable.len()).filter(|index| set >> index & 1 == 1).map(|index| undoable[index]);
        cases.push(format!("timed out without: {}", silent.collect::<Vec<_>>().join(", ")));
    }
    cases
}

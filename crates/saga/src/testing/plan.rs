//! What goes wrong in one run: who refuses, whose answer comes late or never before the turn, what is said twice.

use crate::{
    command::{CommandId, Direction},
    definition::{Data, Kind, Saga, Step},
};

/// One run: in which order the steps side by side answer, and what goes wrong.
#[derive(Debug, Clone)]
pub(super) struct Plan<R> {
    /// The steps side by side, the quickest first.
    pub(super) quickest: Vec<String>,
    pub(super) faults: Vec<Fault<R>>,
    /// Cancelled after so many things have happened.
    pub(super) cancelled_after: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Fault<R> {
    step: String,
    direction: Direction,
    what: What<R>,
}

#[derive(Debug, Clone)]
enum What<R> {
    Refused(R),
    When(When),
    Twice(Twice),
}

/// When an answer comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum When {
    AtOnce,
    /// The first asking is lost.
    AskedAgain,
    /// Not before the deadline; for commands that time cannot turn.
    PastDeadline,
    /// Once the saga has turned, ahead of all undos.
    BeforeUndone,
    /// Once the step itself is undone.
    AfterUndone,
    /// Once the saga has ended.
    AfterEnd,
}

/// When an answer comes for the second time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Twice {
    AtOnce,
    /// After all other answers that are on their way.
    Later,
}

/// How a command is answered.
#[derive(Debug)]
pub(super) struct Reply<R> {
    pub(super) refusal: Option<R>,
    pub(super) when: When,
    pub(super) twice: Option<Twice>,
}

/// The moments at which the answer to a step that the saga no longer waited for can come.
const LATE: [When; 3] = [When::BeforeUndone, When::AfterUndone, When::AfterEnd];

impl<R: Clone> Plan<R> {
    /// How the first attempt of a command is answered; all further attempts succeed at once.
    pub(super) fn reply(&self, command: &CommandId) -> Reply<R> {
        let mut reply = Reply { refusal: None, when: When::AtOnce, twice: None };
        let concerned = |fault: &&Fault<R>| fault.step == command.step && fault.direction == command.direction;
        for fault in self.faults.iter().filter(concerned).filter(|_| command.attempt == 1) {
            match &fault.what {
                What::Refused(reason) => reply.refusal = Some(reason.clone()),
                What::When(when) => reply.when = *when,
                What::Twice(twice) => reply.twice = Some(*twice),
            }
        }
        reply
    }

    /// This run, cancelled after so many things have happened; only if less than two go wrong besides.
    pub(super) fn cancelled_after(&self, happened: usize) -> Option<Self> {
        (self.faults.len() < 2).then(|| Self { cancelled_after: Some(happened), ..self.clone() })
    }

    /// The place of a step among those that answer at the same time.
    pub(super) fn rank(&self, step: &str) -> usize {
        self.quickest.iter().position(|slug| slug == step).unwrap_or_default()
    }
}

/// All runs: every order of answers with no fault, every fault, every two, and every set of steps falling silent.
pub(super) fn plans<D: Data>(saga: &Saga<D>, refusals: &[D::Refusal]) -> Vec<Plan<D::Refusal>> {
    let singles: Vec<_> = saga.steps().iter().flat_map(|step| faults(step, refusals)).collect();
    let mut sets = vec![Vec::new()];
    for (index, one) in singles.iter().enumerate() {
        sets.push(vec![one.clone()]);
        let others = singles[..index].iter().filter(|other| !contradict(one, other));
        sets.extend(others.map(|other| vec![one.clone(), other.clone()]));
    }
    let undoable: Vec<&str> = undoable(saga).map(Step::slug).collect();
    sets.extend(silences(&undoable, refusals));
    orders(&undoable)
        .iter()
        .flat_map(|quickest| {
            sets.iter().map(|faults| Plan {
                quickest: quickest.iter().map(|slug| (*slug).to_owned()).collect(),
                faults: faults.clone(),
                cancelled_after: None,
            })
        })
        .collect()
}

pub(super) fn undoable<D: Data>(saga: &Saga<D>) -> impl Iterator<Item = &Step<D>> {
    saga.steps().iter().filter(|step| step.is_undoable())
}

pub(super) fn pivot<D: Data>(saga: &Saga<D>) -> &Step<D> {
    let mut steps = saga.steps().iter();
    steps.find(|step| matches!(step.kind, Kind::Pivot)).expect("every definition has a pivot")
}

/// All that can go wrong with one step.
fn faults<D: Data>(step: &Step<D>, refusals: &[D::Refusal]) -> Vec<Fault<D::Refusal>> {
    let late = if step.is_undoable() { LATE.as_slice() } else { &[When::PastDeadline] };
    let twice = [Twice::AtOnce, Twice::Later].map(What::Twice);
    let dos = refusals.iter().cloned().map(What::Refused);
    let dos = dos.chain([When::AskedAgain].iter().chain(late).copied().map(What::When)).chain(twice.clone());
    let undos = [When::AskedAgain, When::PastDeadline].map(What::When).into_iter().chain(twice);
    let undos = undos.filter(|_| step.is_undoable());
    let of = |direction| move |what| Fault { step: step.slug().to_owned(), direction, what };
    dos.map(of(Direction::Do)).chain(undos.map(of(Direction::Undo))).collect()
}

/// Whether both say something about the same answer that cannot both be.
fn contradict<R>(one: &Fault<R>, other: &Fault<R>) -> bool {
    one.step == other.step
        && one.direction == other.direction
        && std::mem::discriminant(&one.what) == std::mem::discriminant(&other.what)
}

/// Every set of steps whose answers come too late, once as done and once as refused.
fn silences<R: Clone>(undoable: &[&str], refusals: &[R]) -> Vec<Vec<Fault<R>>> {
    let mut sets = Vec::new();
    for set in 1_usize..1 << undoable.len() {
        let silent = || (0..undoable.len()).filter(move |index| set >> index & 1 == 1).map(|index| undoable[index]);
        let fault = |step: &str, what| Fault { step: step.to_owned(), direction: Direction::Do, what };
        for when in LATE {
            let late: Vec<_> = silent().map(|step| fault(step, What::When(when))).collect();
            if let Some(reason) = refusals.first() {
                let refused = silent().map(|step| fault(step, What::Refused(reason.clone())));
                sets.push(late.iter().cloned().chain(refused).collect());
            }
            sets.push(late);
        }
    }
    sets
}

/// All permutations.
fn orders<'s>(steps: &[&'s str]) -> Vec<Vec<&'s str>> {
    let Some((first, rest)) = steps.split_first() else { return vec![Vec::new()] };
    let shorter = orders(rest);
    let with_first_at = |place: usize, order: &Vec<&'s str>| {
        let mut order = order.clone();
        order.insert(place, *first);
        order
    };
    (0..steps.len()).flat_map(|place| shorter.iter().map(move |order| with_first_at(place, order))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn orders_are_all_permutations() {
        let orders: BTreeSet<_> = orders(&["a", "b", "c", "d"]).into_iter().collect();
        assert_eq!(orders.len(), 24);
        assert!(orders.iter().all(|order| order.iter().collect::<BTreeSet<_>>().len() == 4));
    }
}

//! What a saga is made of. The order of its parts is checked by types: a wrong shape does not compile.

use std::fmt::{self, Debug};

use jiff::SignedDuration;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    command::{CommandId, Direction},
    instance::Instance,
};

/// How long a saga may take to reach its pivot, if its definition does not say: 30 s.
const DEADLINE: SignedDuration = SignedDuration::from_secs(30);

/// The longest name of a step, in characters: with it a command id stays below 120.
const NAME_MAX_LEN: usize = 60;

/// What a saga knows: all its commands are made from it, so a repeated command is the same command.
pub trait Data: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    /// What the saga tells others to do.
    type Command: Clone + Debug + PartialEq;
    /// Why others decline.
    type Refusal: Clone + Debug + PartialEq + Serialize + DeserializeOwned;
}

/// Makes the command of a step from the saga's data.
pub(crate) type Make<D> = fn(&D, &CommandId) -> <D as Data>::Command;

/// A step that can be undone, for [`Named::side_by_side`].
pub fn step<D: Data>(name: &'static str, run: Make<D>, undo: Make<D>) -> Step<D> {
    Step { name, slug: slug(name), run, kind: Kind::SideBySide { undo } }
}

/// One kind of saga: what is done side by side, what decides, and what then follows.
#[derive(Debug, Clone)]
pub struct Saga<D: Data> {
    name: &'static str,
    deadline: SignedDuration,
    steps: Vec<Step<D>>,
}

impl<D: Data> Saga<D> {
    /// Begins a definition.
    pub fn named(name: &'static str) -> Named<D> {
        Named(Saga { name, deadline: DEADLINE, steps: Vec::new() })
    }

    /// The name of this kind of saga.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How long a saga of this kind may take to reach its pivot, unless it is begun with another deadline.
    pub fn deadline(&self) -> SignedDuration {
        self.deadline
    }

    /// All steps, in the order of the definition.
    pub fn steps(&self) -> &[Step<D>] {
        &self.steps
    }

    pub(crate) fn step(&self, slug: &str) -> Option<&Step<D>> {
        self.steps.iter().find(|step| step.slug == slug)
    }

    /// The steps after the last one asked.
    pub(crate) fn ahead_of(&self, instance: &Instance<D>) -> &[Step<D>] {
        let asked = self.steps.iter().rposition(|step| instance.progress(&step.slug).is_some());
        &self.steps[asked.map_or(0, |last| last + 1)..]
    }

    fn with(mut self, step: Step<D>) -> Self {
        self.steps.push(step);
        self
    }
}

/// A definition that has a name.
#[derive(Debug, Clone)]
#[must_use = "a definition is complete with `ends()`"]
pub struct Named<D: Data>(Saga<D>);

impl<D: Data> Named<D> {
    /// How long the saga may take to reach its pivot before it turns. 30 s if not said.
    pub fn deadline(mut self, deadline: SignedDuration) -> Self {
        self.0.deadline = deadline;
        self
    }

    /// The steps the saga begins with. Their commands go out together, and so do their undos.
    pub fn side_by_side<const N: usize>(mut self, steps: [Step<D>; N]) -> Begun<D> {
        const { assert!(N > 0, "side by side stands at least one step; a saga without any begins at its pivot") };
        self.0.steps.extend(steps);
        Begun(self.0)
    }

    /// A saga that begins at its pivot has nothing to undo.
    pub fn pivot(self, name: &'static str, run: Make<D>) -> Pivoted<D> {
        Begun(self.0).pivot(name, run)
    }
}

/// A definition that has its undoable steps.
#[derive(Debug, Clone)]
#[must_use = "a definition is complete with `ends()`"]
pub struct Begun<D: Data>(Saga<D>);

impl<D: Data> Begun<D> {
    /// The step that decides. Refused, it undoes all before it; done, the saga only goes forward.
    pub fn pivot(self, name: &'static str, run: Make<D>) -> Pivoted<D> {
        Pivoted(self.0.with(Step { name, slug: slug(name), run, kind: Kind::Pivot }))
    }
}

/// A definition that has its pivot.
#[derive(Debug, Clone)]
#[must_use = "a definition is complete with `ends()`"]
pub struct Pivoted<D: Data>(Saga<D>);

impl<D: Data> Pivoted<D> {
    /// A step after the pivot. It cannot be undone, only asked until it is done.
    pub fn then(self, name: &'static str, run: Make<D>) -> Self {
        Pivoted(self.0.with(Step { name, slug: slug(name), run, kind: Kind::Forward }))
    }

    /// Completes the definition.
    ///
    /// # Panics
    /// If two steps share a name, or a name is anything but lower-case words and digits with single spaces between
    /// (60 characters at most): command ids are made of the names.
    pub fn ends(self) -> Saga<D> {
        let Pivoted(saga) = self;
        for (index, step) in saga.steps.iter().enumerate() {
            assert!(is_name(step.name), "{:?} cannot name a step of {:?}", step.name, saga.name);
            let again = saga.steps[..index].iter().any(|other| other.name == step.name);
            assert!(!again, "{:?} has two steps named {:?}", saga.name, step.name);
        }
        saga
    }
}

/// One step of a [`Saga`].
#[derive(Debug, Clone)]
pub struct Step<D: Data> {
    name: &'static str,
    slug: String,
    pub(crate) run: Make<D>,
    pub(crate) kind: Kind<D>,
}

/// What may be done about a step.
#[derive(Debug, Clone)]
pub(crate) enum Kind<D: Data> {
    /// Before the pivot: can be undone.
    SideBySide { undo: Make<D> },
    /// Decides by being done or refused.
    Pivot,
    /// After the pivot: can only be done.
    Forward,
}

impl<D: Data> Step<D> {
    /// The name as it stands in the definition.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name as it stands in command ids.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Whether the step stands before the pivot.
    pub fn is_undoable(&self) -> bool {
        self.maker(Direction::Undo).is_some()
    }

    /// What makes the command, if the step has one in this direction.
    pub(crate) fn maker(&self, direction: Direction) -> Option<Make<D>> {
        match (direction, &self.kind) {
            (Direction::Do, _) => Some(self.run),
            (Direction::Undo, Kind::SideBySide { undo }) => Some(*undo),
            (Direction::Undo, Kind::Pivot | Kind::Forward) => None,
        }
    }
}

fn slug(name: &str) -> String {
    name.replace(' ', "-")
}

fn is_name(name: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= NAME_MAX_LEN && name.split(' ').all(is_word)
}

/// Prints the table of steps, to be pinned by a test beside each definition.
impl<D: Data> fmt::Display for Saga<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or_default().max("step".len());
        writeln!(f, "saga {}: {:#} to reach the pivot", self.name, self.deadline)?;
        writeln!(f, "{:width$}  {:12}  {:30}  no answer", "step", "stands", "refused")?;
        for step in &self.steps {
            let (stands, refused, unanswered) = match step.kind {
                Kind::SideBySide { .. } => {
                    ("side by side", "the others are undone", "asked again; at the deadline undone with the others")
                }
                Kind::Pivot => ("pivot", "all before it are undone", "asked again"),
                Kind::Forward => ("forward only", "the saga parks for an operator", "asked again"),
            };
            writeln!(f, "{:width$}  {stands:12}  {refused:30}  {unanswered}", step.name)?;
        }
        Ok(())
    }
}

//! What an audit has found.

use std::fmt;

use comfy_table::{Table, presets};

/// How many violations of one predicate are shown.
const SHOWN: usize = 5;

/// One predicate, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The predicate, as a sentence.
    pub predicate: &'static str,
    /// How many rows it was held against. None at all: it was not shown to hold.
    pub examined: usize,
    /// What contradicts it.
    pub violations: Vec<String>,
}

/// All predicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order of the families.
    pub findings: Vec<Finding>,
}

/// What an audit says of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every predicate was held against something, and holds.
    True,
    /// A predicate is violated.
    Violated,
    /// No predicate is violated, but one had nothing to be held against.
    NotShown,
}

impl Finding {
    /// Holds `predicate` against each of `rows`: `contradicts` says what is wrong with one, if anything.
    pub(super) fn of<T>(
        predicate: &'static str,
        rows: impl IntoIterator<Item = T>,
        contradicts: impl Fn(T) -> Option<String>,
    ) -> Self {
        let (mut examined, mut violations) = (0, Vec::new());
        for row in rows {
            examined += 1;
            violations.extend(contradicts(row));
        }
        Self { predicate, examined, violations }
    }
}

impl Report {
    /// What it all amounts to.
    pub fn verdict(&self) -> Verdict {
        if self.findings.iter().any(|finding| !finding.violations.is_empty()) {
            Verdict::Violated
        } else if self.findings.iter().any(|finding| finding.examined == 0) {
            Verdict::NotShown
        } else {
            Verdict::True
        }
    }
}

impl Verdict {
    /// The exit status of `shop audit`.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::True => 0,
            Self::Violated => 1,
            Self::NotShown => 2,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["predicate", "rows", "violations"]);
        for Finding { predicate, examined, violations } in &self.findings {
            let said = match (examined, violations.len()) {
                (0, _) => "not shown".to_owned(),
                (_, count) => count.to_string(),
            };
            table.add_row([(*predicate).to_owned(), examined.to_string(), said]);
        }
        writeln!(f, "{table}")?;
        for Finding { predicate, violations, .. } in &self.findings {
            for violation in violations.iter().take(SHOWN) {
                writeln!(f, "VIOLATED: {predicate}: {violation}")?;
            }
        }
        match self.verdict() {
            Verdict::True => write!(f, "The books add up."),
            Verdict::Violated => write!(f, "The books do not add up."),
            Verdict::NotShown => write!(f, "Not shown: a predicate had no rows to be held against. Place some orders."),
        }
    }
}

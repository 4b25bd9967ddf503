//! User and system CPU time of whole process trees, from the kernel's accounting in `/proc`.

use std::{collections::BTreeMap, time::Duration};

use crate::process::Processes;

/// What process trees have used so far, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage(BTreeMap<String, Cost>);

/// CPU time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// In the program.
    pub user: Duration,
    /// In the kernel, for the program.
    pub system: Duration,
}

impl Usage {
    /// What each tree has used until now, its dead children included. Trees of one name are added up.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn now(trees: &[(String, u32)]) -> anyhow::Result<Self> {
        let processes = Processes::now();
        anyhow::ensure!(processes.get(std::process::id()).is_some(), "/proc cannot be read");
        let mut usage: BTreeMap<String, Cost> = BTreeMap::new();
        for (name, root) in trees {
            let cost = usage.entry(name.clone()).or_default();
            for stat in processes.tree(*root).into_iter().filter_map(|pid| processes.get(pid)) {
                *cost = cost.plus(Cost { user: stat.user, system: stat.system });
            }
        }
        Ok(Self(usage))
    }

    /// What was used between `before` and this.
    pub fn since(&self, before: &Self) -> Self {
        let used = |name: &String, now: &Cost| {
            let was = before.0.get(name).copied().unwrap_or_default();
            (
                name.clone(),
                Cost { user: now.user.saturating_sub(was.user), system: now.system.saturating_sub(was.system) },
            )
        };
        Self(self.0.iter().map(|(name, now)| used(name, now)).collect())
    }

    /// Each tree's, by name.
    pub fn each(&self) -> impl Iterator<Item = (&str, Cost)> {
        self.0.iter().map(|(name, cost)| (name.as_str(), *cost))
    }

    /// All trees' together.
    pub fn total(&self) -> Cost {
        self.0.values().fold(Cost::default(), |sum, cost| sum.plus(*cost))
    }
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }

    /// User and system together.
    pub fn sum(self) -> Duration {
        self.user + self.system
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_this_process_uses() {
        let trees = [("this".to_owned(), std::process::id())];
        let before = Usage::now(&trees).unwrap();
        let mut spent = Usage::default();
        while spent.total().sum().is_zero() {
            spent = Usage::now(&trees).unwrap().since(&before);
        }
        assert!(spent.each().any(|(name, cost)| name == "this" && !cost.sum().is_zero()));
    }
}

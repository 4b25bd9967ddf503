//! User and system CPU time of whole process trees, from the kernel's accounting in `/proc`.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::Context;

/// The unit of `/proc/<pid>/stat`: clock ticks of 10 ms. Source: proc(5), and `getconf CLK_TCK`, which is 100 on Linux
/// on every architecture we run on.
const TICK: Duration = Duration::from_millis(10);

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

struct Process {
    id: u32,
    parent: u32,
    cost: Cost,
}

impl Usage {
    /// What each tree has used until now, its dead children included. Trees of one name are added up.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn now(trees: &[(String, u32)]) -> anyhow::Result<Self> {
        let processes = processes()?;
        let mut usage = BTreeMap::new();
        for (name, root) in trees {
            let cost: &mut Cost = usage.entry(name.clone()).or_default();
            let mut open = vec![*root];
            while let Some(id) = open.pop() {
                open.extend(processes.iter().filter(|process| process.parent == id).map(|process| process.id));
                for process in processes.iter().filter(|process| process.id == id) {
                    *cost = cost.plus(process.cost);
                }
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

fn processes() -> anyhow::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc cannot be read")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has just ended has no stat any more; its parent has its time.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        found.extend(parse(id, &stat));
    }
    Ok(found)
}

/// Fields 4 (parent) and 14 to 17 (user and system time, own and of dead children) of proc(5)'s stat.
fn parse(id: u32, stat: &str) -> Option<Process> {
    // The second field is the program's name in parentheses, which may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
    let (user, system) = (ticks(14)? + ticks(16)?, ticks(15)? + ticks(17)?);
    Some(Process { id, parent: ticks(4)?, cost: Cost { user: TICK * user, system: TICK * system } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_proc() {
        let stat = "42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 100 50 20 10 20 0 1 0 99 1 1";
        let process = parse(42, stat).unwrap();
        assert_eq!((process.id, process.parent), (42, 7));
        assert_eq!(process.cost, Cost { user: Duration::from_millis(1200), system: Duration::from_millis(600) });
    }

    #[test]
    fn counts_what_this_process_uses() {
        let trees = [("this".to_owned(), std::process::id())];
        let before = Usage::now(&trees).unwrap();
        let mut spent = Usage::default();
        while spent.total().sum() < TICK {
            spent = Usage::now(&trees).unwrap().since(&before);
        }
        assert!(spent.each().any(|(name, cost)| name == "this" && cost.sum() >= TICK));
    }
}

//! What the system knows of processes: read from `/proc`.

use std::{collections::HashMap, fs, time::Duration};

/// Clock ticks per second in `/proc`. Linux shows 100 to every program, whatever the kernel uses inside.
const TICKS_PER_SECOND: u64 = 100;

/// One process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its parent.
    pub parent: u32,
    /// When it started. Unit: ticks of 10 ms since the machine did.
    pub started_ticks: u64,
    /// The CPU time it has used in the program, its dead children included.
    pub user: Duration,
    /// The same in the kernel, for the program.
    pub system: Duration,
}

/// Every process of the machine at one moment.
#[derive(Debug, Clone)]
pub struct Processes(HashMap<u32, Stat>);

impl Processes {
    /// Looks at all of them.
    pub fn now() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Self(pids.filter_map(|pid| Some((pid, stat(pid)?))).collect())
    }

    /// One process.
    pub fn get(&self, pid: u32) -> Option<Stat> {
        self.0.get(&pid).copied()
    }

    /// The process and all that descend from it.
    pub fn tree(&self, root: u32) -> Vec<u32> {
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            tree.extend(self.0.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        tree
    }

    /// How long the process has been running.
    pub fn uptime(&self, pid: u32) -> Option<Duration> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let seconds: u64 = uptime.split(['.', ' ']).next()?.parse().ok()?;
        Some(Duration::from_secs(seconds.saturating_sub(self.get(pid)?.started_ticks / TICKS_PER_SECOND)))
    }

    /// The memory of the process and all that descend from it; what several share is counted once. Unit: bytes.
    pub fn memory(&self, root: u32) -> u64 {
        self.tree(root).into_iter().filter_map(memory).sum()
    }
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// See proc(5). The name, in parentheses, may contain anything; the field after it is number 3.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let time = |ticks: u64| Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND));
    Some(Stat {
        parent: u32::try_from(field(4)?).ok()?,
        started_ticks: field(22)?,
        user: time(field(14)? + field(16)?),
        system: time(field(15)? + field(17)?),
    })
}

/// The proportional share of one process. Unit: bytes.
fn memory(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process_whatever_its_name() {
        let text = "7 (a) b (c) S 5 7 7 0 -1 4194560 1 2 3 4 10 20 300 4000 20 0 1 0 99 1 2 3";
        let [user, system] = [3_100, 40_200].map(Duration::from_millis);
        assert_eq!(parse_stat(text), Some(Stat { parent: 5, started_ticks: 99, user, system }));
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_tree_holds_descendants_only() {
        let stat = |parent| Stat { parent, started_ticks: 0, user: Duration::ZERO, system: Duration::ZERO };
        let processes = Processes([(1, stat(0)), (2, stat(1)), (3, stat(2)), (4, stat(1))].into_iter().collect());
        assert_eq!(processes.tree(2), [2, 3]);
        assert_eq!(processes.tree(1).len(), 4);
    }

    #[test]
    fn finds_itself() {
        let processes = Processes::now();
        let us = std::process::id();
        assert!(processes.get(us).is_some() && processes.memory(us) > 100_000);
        assert!(processes.uptime(us).is_some_and(|uptime| uptime < Duration::from_secs(3600)));
    }
}

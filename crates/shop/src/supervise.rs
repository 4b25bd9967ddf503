//! Watches the processes of a running shop: whatever dies is started again.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use servers::{Guarded, guard::all_ended};
use tokio::{select, sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    plan::{Part, Plan},
    state::{PartState, State},
};

/// The wait before what died is started again; doubled each time until it lives.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// What lived this long was well: its next wait is the first one again.
const LIVED: Duration = Duration::from_secs(30);

/// Every process of one shop as it is now; also written to `shop.json` whenever it changes.
#[derive(Debug)]
pub(crate) struct Roster {
    folder: PathBuf,
    inner: Mutex<Inner>,
    /// The names of parts that are not started again for now.
    kept_down: watch::Sender<HashSet<String>>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    processes: HashMap<String, Arc<Guarded>>,
}

impl Roster {
    pub(crate) fn new(plan: &Plan) -> Self {
        let inner = Inner { state: plan.state(), processes: HashMap::new() };
        Self { folder: plan.folder.clone(), inner: Mutex::new(inner), kept_down: watch::Sender::default() }
    }

    /// Once it has ended, the part `name` is not started again.
    pub(crate) fn keep_down(&self, name: &str) {
        self.kept_down.send_modify(|kept| {
            kept.insert(name.to_owned());
        });
    }

    /// The part `name` may start again.
    pub(crate) fn let_up(&self, name: &str) {
        self.kept_down.send_modify(|kept| {
            kept.remove(name);
        });
    }

    async fn until_let_up(&self, part: &Part) {
        // The sender is ours.
        let _ = self.kept_down.subscribe().wait_for(|kept| !kept.contains(&part.name)).await;
    }

    /// `part` runs, as this process.
    pub(crate) fn came_up(&self, part: &Part, process: Guarded) -> Arc<Guarded> {
        let process = Arc::new(process);
        self.change(|inner| {
            let again = inner.processes.insert(part.name.clone(), Arc::clone(&process)).is_some();
            inner.with(part, |state| {
                state.pid = Some(process.pid());
                state.restarts += u32::from(again);
            });
        });
        process
    }

    /// `part` runs no more.
    fn went_down(&self, part: &Part) {
        self.change(|inner| inner.with(part, |state| state.pid = None));
    }

    /// Everything runs and the catalogue is filled.
    pub(crate) fn ready(&self) {
        self.change(|inner| inner.state.ready = true);
    }

    /// The process that `name` runs as, also just after it has died.
    pub(crate) fn process(&self, name: &str) -> Option<Arc<Guarded>> {
        self.lock().processes.get(name).cloned()
    }

    /// What is written down.
    pub(crate) fn state(&self) -> State {
        self.lock().state.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        change(&mut inner);
        if let Err(error) = inner.state.write(&self.folder) {
            error!(%error, folder = %self.folder.display(), "The state of the shop could not be written down.");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn with(&mut self, part: &Part, change: impl FnOnce(&mut PartState)) {
        if let Some(state) = self.state.parts.iter_mut().find(|state| state.name == part.name) {
            change(state);
        }
    }
}

/// Keeps `part` running until told to stop, then stops it.
pub(crate) async fn supervise(
    plan: Arc<Plan>,
    part: Part,
    mut process: Arc<Guarded>,
    roster: Arc<Roster>,
    stop: CancellationToken,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let since = Instant::now();
        select! {
            status = process.ended() => {
                roster.went_down(&part);
                warn!(part = part.name, last_words = process.last_words(), "{} ended ({status}).", part.shown);
            }
            () = stop.cancelled() => {
                process.stop().await;
                roster.went_down(&part);
                info!("{} is stopped.", part.shown);
                return;
            }
        }
        if since.elapsed() > LIVED {
            wait = FIRST_WAIT;
        }
        let again = select! {
            again = start_again(&plan, &part, &roster, &mut wait) => again,
            () = stop.cancelled() => {
                // What was being started is told to stop, and may take its time.
                all_ended(&plan.log(&part)).await;
                return;
            }
        };
        process = roster.came_up(&part, again);
    }
}

/// Tries until it runs.
async fn start_again(plan: &Plan, part: &Part, roster: &Roster, wait: &mut Duration) -> Guarded {
    loop {
        sleep(*wait).await;
        roster.until_let_up(part).await;
        *wait = (*wait * 2).min(LONGEST_WAIT);
        match plan.start(part).await {
            Ok(process) => {
                info!(part = part.name, pid = process.pid(), "{} is up again.", part.shown);
                return process;
            }
            Err(error) => warn!(part = part.name, "{} could not be started again: {error}", part.shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use servers::Program;

    use super::*;
    use crate::{Options, process::Processes, programs};

    /// A program that takes a second to stop is being started again when the shop stops.
    #[tokio::test]
    async fn what_is_being_started_again_has_ended_when_watching_ends() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let program = format!(
            "#!/bin/sh\ntrap 'sleep 1; exit' TERM\necho $$ >{}\nwhile :; do sleep 0.1; done\n",
            pid_file.display()
        );
        for name in programs::NAMES {
            let path = folder.path().join(name);
            fs::write(&path, &program).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let options = Options::for_test(folder.path().join("shop"), folder.path().to_owned());
        let plan = Arc::new(Plan::make(&options).unwrap());
        let part = plan.parts.iter().find(|part| part.name == "order").unwrap().clone();
        let roster = Arc::new(Roster::new(&plan));
        let dead = Program::new("order", "false", plan.log(&part)).start().unwrap();
        dead.ended().await;
        let dead = roster.came_up(&part, dead);
        let stop = CancellationToken::new();
        let watching = supervise(plan, part, dead, roster, stop.clone());
        let begun = async {
            loop {
                let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
                if let Some(pid) = pid {
                    assert!(Processes::now().get(pid).is_some(), "it runs when the shop is stopped");
                    stop.cancel();
                    return pid;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let ((), pid) =
            tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(watching, begun) }).await.unwrap();
        assert_eq!(Processes::now().get(pid), None, "nothing outlives the watching");
    }
}

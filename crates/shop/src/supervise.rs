//! Watches the processes of a running shop: whatever dies is started again.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use servers::Guarded;
use tokio::{select, time::sleep};
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
}

#[derive(Debug)]
struct Inner {
    state: State,
    processes: HashMap<String, Arc<Guarded>>,
}

impl Roster {
    pub(crate) fn new(plan: &Plan) -> Self {
        let inner = Inner { state: plan.state(), processes: HashMap::new() };
        Self { folder: plan.folder.clone(), inner: Mutex::new(inner) }
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
            again = start_again(&plan, &part, &mut wait) => again,
            () = stop.cancelled() => return,
        };
        process = roster.came_up(&part, again);
    }
}

/// Tries until it runs.
async fn start_again(plan: &Plan, part: &Part, wait: &mut Duration) -> Guarded {
    loop {
        sleep(*wait).await;
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

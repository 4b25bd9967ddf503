//! Starting a shop, and holding it.

use std::{path::Path, sync::Arc, time::Duration};

use futures::future::try_join_all;
use servers::{Guarded, Server, fetch, require_writable};
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::info;
use web::access::Principal;

use crate::{
    Options, Service, ShopError, State, containers,
    metrics::Metrics,
    plan::{Part, Plan},
    seed,
    state::Lock,
    supervise::{Roster, supervise},
    token,
};

/// What is removed for a fresh start. Keys and passwords stay: old tokens still work, and nothing else hangs on them.
const DATA: [&str; 8] = ["pg-orders", "pg-billing", "mongo", "kafka", "provider", "logs", "shop.json", seed::MARKER];

/// A running shop. Dropping it stops everything without waiting for it; so does our death, in whatever way.
///
/// What it watches runs on a thread of its own, so a shop can be shared by tests that have a runtime each.
#[derive(Debug)]
pub struct Shop {
    roster: Arc<Roster>,
    folder: std::path::PathBuf,
    services: Watched,
    servers: Watched,
    _lock: Lock,
    _runtime: OwnRuntime,
}

/// Processes that are stopped together.
#[derive(Debug, Default)]
struct Watched {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Shop {
    /// Starts everything in order of health and fills the catalogue. Returns when orders can be placed.
    ///
    /// If anything fails, or the caller stops waiting, what has been started is told to stop.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub async fn start(options: Options) -> Result<Self, ShopError> {
        let runtime = OwnRuntime::new()?;
        let handle = runtime.handle().clone();
        let starting = handle.spawn(async move { Self::start_here(options, runtime).await });
        let starting = AbortOnDrop(starting);
        starting.join().await
    }

    async fn start_here(options: Options, runtime: OwnRuntime) -> Result<Self, ShopError> {
        require_writable(options.servers.path())?;
        require_writable(&options.folder)?;
        let lock = Lock::take(&options.folder)?;
        // It may have come up in containers since somebody looked last: the services are built in between.
        containers::require_none(&options.folder).await?;
        fetch::fetch(&options.servers, &Server::ALL).await?;
        let plan = Arc::new(Plan::make(&options)?);
        let roster = Arc::new(Roster::new(&plan));
        let (mut services, mut servers) = (Watched::default(), Watched::default());
        let is_service = |part: &&Part| part.kind.is_service();
        let is_server = |part: &&Part| !part.kind.is_service();
        start_all(&plan, plan.parts.iter().filter(is_server), &roster, &mut servers).await?;
        start_all(&plan, plan.parts.iter().filter(is_service), &roster, &mut services).await?;
        seed::fill(&options.folder, &roster.state(), options.seed).await?;
        roster.ready();
        Ok(Self { roster, folder: options.folder, services, servers, _lock: lock, _runtime: runtime })
    }

    /// What the shop tells about itself: URLs, processes.
    pub fn state(&self) -> State {
        self.roster.state()
    }

    /// The folder of the shop: data, logs, keys.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The URL of the first process of `service`.
    pub fn url(&self, service: Service) -> String {
        self.state().url(service).to_owned()
    }

    /// A token for `principal`, valid for an hour.
    ///
    /// # Errors
    /// [`ShopError::Keys`] if somebody has changed the keys.
    pub fn token(&self, principal: &Principal) -> Result<String, ShopError> {
        token::sign(&self.folder, principal, Duration::from_secs(3600))
    }

    /// The process id of the part `name`, such as `order` or `kafka`; `None` while it is down.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.state().parts.into_iter().find(|part| part.name == name)?.pid
    }

    /// The metric `name` of the process `part`, such as `messaging_fenced_total` of `inventory-2`, summed over its labels.
    /// Nothing if that process does not measure it.
    ///
    /// # Errors
    /// As [`Metrics::of`].
    pub async fn metric(&self, part: &str, name: &str) -> Result<Option<f64>, ShopError> {
        Ok(Metrics::of(&self.state(), &self.folder, part).await?.sum(name))
    }

    /// Kills the part `name` with SIGKILL and waits until it is gone. It is started again.
    ///
    /// # Errors
    /// [`ShopError::UnknownPart`].
    pub async fn kill(&self, name: &str) -> Result<(), ShopError> {
        let process = self.process(name)?;
        process.kill();
        process.ended().await;
        Ok(())
    }

    /// Kills the part `name` like [`Shop::kill`], and keeps it down until [`Shop::bring_up`].
    ///
    /// # Errors
    /// [`ShopError::UnknownPart`].
    pub async fn take_down(&self, name: &str) -> Result<(), ShopError> {
        self.put_down(name, Guarded::kill).await
    }

    /// Has the part `name` end by itself, told by SIGTERM, and keeps it down until [`Shop::bring_up`].
    ///
    /// # Errors
    /// [`ShopError::UnknownPart`].
    pub async fn end(&self, name: &str) -> Result<(), ShopError> {
        self.put_down(name, Guarded::terminate).await
    }

    async fn put_down(&self, name: &str, tell: impl Fn(&Guarded)) -> Result<(), ShopError> {
        let process = self.process(name)?;
        self.roster.keep_down(name);
        tell(&process);
        process.ended().await;
        Ok(())
    }

    /// Lets the part `name` start again, after [`Shop::take_down`] or [`Shop::end`].
    pub fn bring_up(&self, name: &str) {
        self.roster.let_up(name);
    }

    /// Lets the part `name` do nothing, by SIGSTOP, until [`Shop::thaw`].
    ///
    /// # Errors
    /// [`ShopError::UnknownPart`].
    pub fn freeze(&self, name: &str) -> Result<(), ShopError> {
        self.process(name).map(|process| process.freeze())
    }

    /// Lets the part `name` go on, after [`Shop::freeze`].
    ///
    /// # Errors
    /// [`ShopError::UnknownPart`].
    pub fn thaw(&self, name: &str) -> Result<(), ShopError> {
        self.process(name).map(|process| process.thaw())
    }

    fn process(&self, name: &str) -> Result<Arc<Guarded>, ShopError> {
        self.roster.process(name).ok_or_else(|| self.state().unknown(name))
    }

    /// Waits until every part runs, such as after [`Shop::kill`]. The caller sets the deadline.
    pub async fn all_up(&self) {
        let runs = |name: &str| self.roster.process(name).is_some_and(|process| process.exit().is_none());
        while !self.state().parts.iter().all(|part| part.pid.is_some() && runs(&part.name)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the books add up, once no order is on its way any more.
    ///
    /// # Errors
    /// A store cannot be read, or orders do not settle.
    pub async fn audit(&self) -> anyhow::Result<crate::audit::Report> {
        self.state().audit().await
    }

    /// Stops everything, services first, and waits until all of it has ended.
    pub async fn stop(self) {
        let Self { services, servers, folder, .. } = self;
        services.stop().await;
        servers.stop().await;
        State::remove(&folder);
    }
}

impl Watched {
    async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Removes the data of the shop in `folder`, which must not be up.
///
/// # Errors
/// [`ShopError::Running`], or what the system says.
pub fn remove_data(folder: &Path) -> Result<(), ShopError> {
    if !folder.exists() {
        return Ok(());
    }
    let _lock = Lock::take(folder)?;
    for path in DATA.map(|name| folder.join(name)) {
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ShopError::system(format!("removing {}", path.display()))(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Starts `parts` side by side and watches them.
async fn start_all(
    plan: &Arc<Plan>,
    parts: impl Iterator<Item = &Part>,
    roster: &Arc<Roster>,
    watched: &mut Watched,
) -> Result<(), ShopError> {
    let starting: Vec<_> = parts.map(|part| start_one(plan, part, roster)).collect();
    for (part, process) in try_join_all(starting).await? {
        let watch = supervise(Arc::clone(plan), part, process, Arc::clone(roster), watched.stop.clone());
        watched.tasks.spawn(watch);
    }
    Ok(())
}

async fn start_one(plan: &Plan, part: &Part, roster: &Roster) -> Result<(Part, Arc<Guarded>), ShopError> {
    let process = plan.start(part).await?;
    info!("{} is up on port {}.", part.shown, part.port);
    Ok((part.clone(), roster.came_up(part, process)))
}

/// A runtime that may be dropped anywhere, because nobody waits for its tasks.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> Result<Self, ShopError> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().thread_name("shop").build();
        Ok(Self(Some(runtime.map_err(ShopError::system("starting a thread"))?)))
    }

    fn handle(&self) -> &tokio::runtime::Handle {
        self.0.as_ref().expect("taken only when dropped").handle()
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> T {
        match (&mut self.0).await {
            Ok(done) => done,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

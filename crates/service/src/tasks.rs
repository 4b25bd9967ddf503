//! The long-running parts of a process: relay, consumers, HTTP, workers.
//!
//! None of them may end before the process is told to stop. One that does (with an error, in a panic, or even with
//! `Ok`) ends them all, and the process reports which one it was: a service that lost its consumer but still answers
//! HTTP is worse than one that is restarted.

use std::{
    collections::HashMap,
    future::{Future, pending},
    io,
    panic::resume_unwind,
    time::Duration,
};

use anyhow::{Context, anyhow};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::{Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};
use web::trace::carried;

/// Does `work` to its end, also if whoever waits for it does not: a client that hangs up drops its handler, and with it
/// what that was waiting for, such as the end of a transaction. A panic is passed on to whoever waits.
pub async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let broken = match TaskTracker::new().spawn(carried(work)).await {
        Ok(done) => return done,
        Err(broken) => broken,
    };
    match broken.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        // The process ends, and nobody will be answered.
        Err(_) => pending().await,
    }
}

/// How long tasks may take to finish once told to stop; then they are aborted.
pub const GRACE: Duration = Duration::from_secs(10);

/// The tasks of one process, and the token that tells them to stop. Dropped, it aborts them.
#[derive(Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    running: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// No tasks yet, and a stop token of their own.
    pub fn new() -> Self {
        Self::default()
    }

    /// No tasks yet; they stop when `stop` is cancelled. The other way round, their end does not cancel `stop`.
    pub fn stopped_by(stop: &CancellationToken) -> Self {
        Self { stop: stop.child_token(), ..Self::default() }
    }

    /// Cancelled when the tasks shall stop. Whoever cancels it stops them.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts `task`, which runs until the [stop token](Self::stop_token) is cancelled.
    pub fn spawn<E>(&mut self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Into<anyhow::Error> + 'static,
    {
        let handle = self.running.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Runs until SIGTERM or SIGINT, or as [`run_until_cancelled`](Self::run_until_cancelled).
    ///
    /// # Errors
    /// As [`run_until_cancelled`](Self::run_until_cancelled), and if signals cannot be listened to.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let mut signals = Signals::listen().context("cannot listen to signals")?;
        let stop = self.stop_token();
        let mut running = std::pin::pin!(self.run_until_cancelled());
        tokio::select! {
            result = &mut running => return result,
            name = signals.next() => info!(signal = name, "The process is told to stop."),
        }
        stop.cancel();
        running.await
    }

    /// Runs until the stop token is cancelled or a task ends early; then tells all tasks to stop and waits for them,
    /// at most [`GRACE`]. Those that are late are named in a warning and aborted.
    ///
    /// # Errors
    /// The first task that failed, by name: with an error, in a panic, or by ending before it was told to.
    pub async fn run_until_cancelled(mut self) -> anyhow::Result<()> {
        let stop = self.stop_token();
        let mut first = Ok(());
        tokio::select! {
            () = stop.cancelled() => {}
            ended = self.next_end(), if !self.running.is_empty() => first = ended,
        }
        stop.cancel();
        self.wait_for_all(first).await
    }

    async fn wait_for_all(mut self, mut first: anyhow::Result<()>) -> anyhow::Result<()> {
        let deadline = Instant::now() + GRACE;
        while !self.running.is_empty() {
            let Ok(ended) = timeout_at(deadline, self.next_end()).await else {
                let late: Vec<_> = self.names.values().copied().collect();
                warn!(tasks = ?late, "Some tasks did not stop in time and are aborted.");
                break;
            };
            match (ended, &first) {
                (Err(failure), Ok(())) => first = Err(failure),
                // Only the first failure is returned, so the others are told here.
                (Err(failure), Err(_)) => error!(error = format!("{failure:#}"), "Another task failed as well."),
                (Ok(()), _) => {}
            }
        }
        first
    }

    /// Waits for the next task to end: `Ok` if it was told to and did so without a failure.
    async fn next_end(&mut self) -> anyhow::Result<()> {
        let Some(joined) = self.running.join_next_with_id().await else { return Ok(()) };
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.names.remove(&id).expect("every task is named when it is spawned");
        match joined {
            Ok((_, Ok(()))) if self.stop.is_cancelled() => Ok(()),
            Ok((_, Ok(()))) => Err(anyhow!("task `{name}` ended before it was told to")),
            Ok((_, Err(failure))) => Err(failure.context(format!("task `{name}` failed"))),
            Err(broken) => Err(anyhow!("task `{name}` panicked: {}", panic_text(broken))),
        }
    }
}

fn panic_text(broken: JoinError) -> String {
    match broken.try_into_panic() {
        Ok(panic) => web::serve::panic_text(panic.as_ref()).to_owned(),
        Err(cancelled) => cancelled.to_string(),
    }
}

/// The two signals that mean: stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

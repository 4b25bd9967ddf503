//! A shop that outlives the command that started it, and stopping one.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    ShopError, State,
    state::{logs, supervisor},
};

/// How long a shop may take to stop: every part has its own, shorter limit.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// How often a shop that starts or stops is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs this program with `args` in the background and waits until its shop in `folder` is ready.
///
/// If the caller stops waiting, the background shop is stopped.
///
/// # Errors
/// [`ShopError::Background`] with the last words of a shop that would not start.
pub async fn start(folder: &Path, args: &[String]) -> Result<State, ShopError> {
    let path = logs(folder).join("shop.log");
    servers::require_writable(&logs(folder))?;
    let log = fs::File::create(&path).map_err(ShopError::system(format!("writing {}", path.display())))?;
    let program = env::current_exe().map_err(ShopError::system("looking for our own program"))?;
    let mut command = Command::new(program);
    command.args(args).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut child = Starting(Some(command.spawn().map_err(ShopError::system("starting a process"))?));
    loop {
        if child.has_ended() {
            let said = fs::read_to_string(&path).unwrap_or_default();
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            return Err(ShopError::Background(last.to_owned()));
        }
        match State::read(folder) {
            Ok(state) if state.ready && child.is(state.pid) => {
                child.keep();
                return Ok(state);
            }
            Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Makes this process the leader of its own session, so that no terminal reaches it.
///
/// # Errors
/// [`ShopError::System`] if it is one already.
pub fn leave_terminal() -> Result<(), ShopError> {
    rustix::process::setsid().map(drop).map_err(|error| ShopError::system("leaving the terminal")(error.into()))
}

/// Stops the shop in `folder` and waits until it is gone.
///
/// # Errors
/// [`ShopError::NotRunning`], or [`ShopError::WouldNotStop`].
pub async fn stop(folder: &Path) -> Result<(), ShopError> {
    let pid = supervisor(folder).ok_or(ShopError::NotRunning)?;
    terminate(pid);
    let deadline = Instant::now() + STOP_LIMIT;
    while supervisor(folder) == Some(pid) {
        if Instant::now() > deadline {
            return Err(ShopError::WouldNotStop { pid });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The only error left is that it has just ended.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// A background shop that somebody waits for. Stopped if nobody waits any more.
struct Starting(Option<Child>);

impl Starting {
    fn has_ended(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    fn is(&self, pid: u32) -> bool {
        self.0.as_ref().is_some_and(|child| child.id() == pid)
    }

    /// From now on it runs by itself.
    fn keep(&mut self) {
        self.0.take();
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            terminate(child.id());
            // It stops what it has started; every part of that is bounded.
            let _ = child.wait();
        }
    }
}

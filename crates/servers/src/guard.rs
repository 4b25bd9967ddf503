//! Child processes that never outlive their parent.
//!
//! Each program runs under a small shell script, in a process group of its own so that a Ctrl-C in the terminal does
//! not reach it. The script holds one end of a pipe and we the other; when ours closes, because we let go of it or
//! because we died in whatever way, the script stops the program: gently first, then with SIGKILL. So there is one way
//! to stop and it needs nobody's cooperation.

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{LazyLock, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use crate::{ServerError, home::User};

/// A log larger than this is put aside when its program starts. Unit: bytes.
const LARGE_LOG: u64 = 32 * 1024 * 1024;

/// The signal that stops a program gently, by its name in `sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGINT; PostgreSQL then disconnects its clients and shuts down cleanly.
    Int,
    /// SIGQUIT; PostgreSQL then ends at once, as in a crash.
    Quit,
    /// SIGKILL; nothing can refuse it.
    Kill,
}

/// What to run, and how to stop it. Of its environment, which may hold passwords, `Debug` shows the names alone.
#[derive(Clone)]
pub struct Program {
    name: String,
    command: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: PathBuf,
    log: PathBuf,
    stop: StopSignal,
    patience: Duration,
    user: Option<User>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, command, args, env, folder, log, stop, patience, user } = self;
        let variables: Vec<&OsString> = env.iter().map(|(variable, _)| variable).collect();
        let mut shown = f.debug_struct("Program");
        shown.field("name", name).field("command", command).field("args", args).field("env", &variables);
        shown.field("folder", folder).field("log", log).field("stop", stop).field("patience", patience);
        shown.field("user", user).finish()
    }
}

impl Program {
    /// `command` under `name`; what it says is added to the file `log`. Stopped by SIGTERM with 10 s of patience.
    pub fn new(name: impl Into<String>, command: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            command: command.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: "/".into(),
            log: log.into(),
            stop: StopSignal::Term,
            patience: Duration::from_secs(10),
            user: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment; the others are ours.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Stops it by `signal`, and by SIGKILL after `patience`.
    #[must_use]
    pub fn stopped_by(mut self, signal: StopSignal, patience: Duration) -> Self {
        self.stop = signal;
        self.patience = patience;
        self
    }

    /// Runs it in `folder` instead of `/`.
    #[must_use]
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self
    }

    /// Runs it, and its guard, as another user.
    #[must_use]
    pub(crate) fn run_by(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its words go.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`ServerError::System`] if the log cannot be opened or no process be started. A command that does not exist ends
    /// with code 127, like one that ends for any other reason.
    pub fn start(&self) -> Result<Guarded, ServerError> {
        let mut guard = self.guard().map_err(ServerError::system(format!("starting {}", self.name)))?;
        let pipe = guard.stdin.take();
        let running = Running::under(&self.log);
        let pid = read_pid(&mut guard).map_err(ServerError::system(format!("starting {}", self.name)))?;
        let (ended, exit) = watch::channel(None);
        thread::spawn(move || {
            let status = guard.wait().ok().or(Some(ExitStatus::from_raw(0)));
            drop(running);
            ended.send(status)
        });
        Ok(Guarded { name: self.name.clone(), log: self.log.clone(), pid, pipe: Mutex::new(pipe), exit })
    }

    fn guard(&self) -> io::Result<Child> {
        let stop = match self.stop {
            StopSignal::Term => "TERM",
            StopSignal::Int => "INT",
            StopSignal::Quit => "QUIT",
            StopSignal::Kill => "KILL",
        };
        let tenths = self.patience.as_millis() / 100;
        let mut guard = Command::new("/bin/sh");
        guard.arg("-c").arg(include_str!("guard.sh")).arg("guard").arg(stop).arg(tenths.to_string());
        guard.arg(&self.command).args(&self.args).envs(self.env.iter().cloned()).current_dir(&self.folder);
        guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(open_log(&self.log)?).process_group(0);
        if let Some(User { uid, gid }) = self.user {
            guard.uid(uid).gid(gid);
        }
        guard.spawn()
    }
}

/// How many programs of this process run, by their logs.
static RUNNING: LazyLock<watch::Sender<HashMap<PathBuf, usize>>> = LazyLock::new(watch::Sender::default);

/// Waits until no program runs whose words go to `log`, also none that was dropped and takes its time to stop.
pub async fn all_ended(log: &Path) {
    // The sender is never dropped.
    let _ = RUNNING.subscribe().wait_for(|running| !running.contains_key(log)).await;
}

/// Counts as a running program for as long as it exists.
struct Running(PathBuf);

impl Running {
    fn under(log: &Path) -> Self {
        RUNNING.send_modify(|running| *running.entry(log.to_owned()).or_default() += 1);
        Self(log.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.send_modify(|running| {
            let left = running.get(&self.0).map_or(0, |count| count - 1);
            if left > 0 {
                running.insert(self.0.clone(), left)
            } else {
                running.remove(&self.0)
            };
        });
    }
}

/// The log, to be added to; put aside as `<name>.old` when it has grown large.
fn open_log(log: &Path) -> io::Result<File> {
    if fs::metadata(log).is_ok_and(|found| found.len() > LARGE_LOG) {
        fs::rename(log, log.with_added_extension("old"))?;
    }
    OpenOptions::new().create(true).append(true).open(log)
}

/// The first line a guard writes.
fn read_pid(guard: &mut Child) -> io::Result<u32> {
    let mut line = String::new();
    if let Some(stdout) = guard.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    line.trim().parse().map_err(|_| io::Error::other("its guard ended at once"))
}

/// A running program. Dropping it stops the program, gently, without waiting for it.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    log: PathBuf,
    pid: u32,
    /// Our end of the guard's pipe. `None` once it was told to stop.
    pipe: Mutex<Option<ChildStdin>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Guarded {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its words go.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process id of the program itself, not of its guard.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, `None` while it runs.
    pub fn exit(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until it has ended, for whatever reason.
    pub async fn ended(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        // The sender goes away only after it has sent.
        ended.ok().and_then(|status| *status).unwrap_or_default()
    }

    /// Tells it to stop; returns at once. The guard kills it if it takes longer than its patience.
    pub fn tell_to_stop(&self) {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Stops it and waits until it has ended.
    pub async fn stop(&self) -> ExitStatus {
        self.tell_to_stop();
        self.ended().await
    }

    /// Asks it to end, by SIGTERM, and lets it take its time; its guard does not kill it.
    pub fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Kills it with SIGKILL, as a crash would. [`Guarded::ended`] tells when it is gone.
    pub fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Lets it do nothing until [`Guarded::thaw`], by SIGSTOP. It does not know; stopping it for good works as ever.
    pub fn freeze(&self) {
        self.send(Signal::STOP);
    }

    /// Lets it go on where it was frozen, by SIGCONT.
    pub fn thaw(&self) {
        self.send(Signal::CONT);
    }

    fn send(&self, signal: Signal) {
        if self.exit().is_none()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // The only error left is that it has just ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// What its log last complained of, or else said.
    pub fn last_words(&self) -> String {
        complaint(&fs::read(&self.log).unwrap_or_default())
    }
}

/// The last complaint near the end of a log, or its last line if it does not complain.
pub(crate) fn complaint(log: &[u8]) -> String {
    let tail = &log[log.len().saturating_sub(8192)..];
    let text = String::from_utf8_lossy(tail);
    let mut said = text.lines().map(str::trim).filter(|line| line.chars().any(char::is_alphanumeric));
    let complains = |line: &&str| ["FATAL", "ERROR", "error:"].iter().any(|word| line.contains(word));
    let found = said.clone().rfind(complains).or_else(|| said.next_back());
    found.unwrap_or("it said nothing").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_environment_holds_is_not_shown() {
        let program = Program::new("order", "order", "order.log").env("ORDER_DATABASE_URL", "canary");
        let shown = format!("{program:?}");
        assert!(shown.contains("ORDER_DATABASE_URL") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_complaint_is_preferred_to_the_last_line() {
        assert_eq!(complaint(b"LOG: hello\nFATAL: no space\nLOG: shut down\n---\n"), "FATAL: no space");
        assert_eq!(complaint(b"one\ntwo\n\n"), "two");
        assert_eq!(complaint(b""), "it said nothing");
    }
}

//! What all servers of one test process share: a temporary folder, and the sweeping of dead processes' folders.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use servers::{Home, Server, ServerError, fetch};

use crate::containers::Contained;

/// The start of the name of each run's folder and of each test database; the process id follows.
const PREFIX: &str = "ironmonger_test_";

/// Waits for the end of standard input, which is our end, then removes the containers that bear the label it has read there, if
/// any, and the folder. Servers may still be writing.
const CLEANER: &str = "label=
while read -r line; do label=$line; done
[ -z \"$label\" ] || docker ps --all --quiet --filter \"label=$label\" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
tries=200
until rm -rf \"$1\" 2>/dev/null || [ $((tries -= 1)) -le 0 ]; do sleep 0.05; done";

/// The folder of this process.
struct Run {
    folder: PathBuf,
    /// Holds the pipe whose closing starts the cleaning. Never waited for: it outlives us by a moment.
    cleaner: Child,
}

/// What runs a server, for as long as it is held.
#[derive(Debug)]
pub(crate) enum Held<S> {
    /// A child process.
    Native(S),
    /// A container.
    Contained(#[expect(dead_code, reason = "it runs as long as it is held")] Box<Contained>),
}

/// Tells whoever runs the tests, past the capture of what a test prints: a server is no one test's.
pub(crate) fn say(line: &str) {
    // Where nobody reads any more there is nobody to tell.
    let _ = writeln!(io::stderr(), "testkit: {line}");
}

/// The folder of this process, created at the first call, removed after our end.
pub fn folder() -> &'static Path {
    &run().folder
}

/// Has all containers that bear `label` removed after our end.
pub(crate) fn remove_containers(label: &str) -> io::Result<()> {
    let mut cleaner = run().cleaner.stdin.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
    writeln!(cleaner, "{label}")
}

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let temp = env::temp_dir();
        sweep_folders(&temp);
        begin(temp.join(name(""))).unwrap_or_else(|error| panic!("no folder for test servers: {error}"))
    })
}

fn begin(folder: PathBuf) -> std::io::Result<Run> {
    let mut cleaner = Command::new("/bin/sh");
    cleaner.arg("-c").arg(CLEANER).arg("cleaner").arg(&folder).current_dir("/").process_group(0);
    let cleaner = cleaner.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    fs::create_dir(&folder)?;
    // PostgreSQL may have to enter it as another user.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    Ok(Run { folder, cleaner })
}

/// Fetches `server` if need be and returns where fetched servers live.
pub(crate) async fn fetched(server: Server) -> Result<Home, ServerError> {
    let home = Home::of_this_user();
    fetch::fetch(&home, &[server]).await?;
    Ok(home)
}

/// A name that tells which process made it, so that it can be swept once that is dead.
pub(crate) fn name(rest: &str) -> String {
    format!("{PREFIX}{}_{}{rest}", std::process::id(), started(std::process::id()).unwrap_or_default())
}

/// Whether `name` is one of ours and its process is dead.
pub(crate) fn is_stale(name: &str) -> bool {
    let Some((pid, rest)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else { return false };
    let then = rest.split('_').next().and_then(|ticks| ticks.parse().ok());
    pid.parse().ok().and_then(started) != then
}

/// When a living process was started, in ticks since the machine was: tells it from a later one of the same id.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything; the start is field 22 and the fields after the name begin at 3.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// Removes the folders of dead processes whose cleaner died too.
fn sweep_folders(temp: &Path) {
    for entry in fs::read_dir(temp).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_stale) {
            // It may be another user's; it is swept in their next run.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_stale() {
        assert!(!is_stale(&name("_db")), "we live");
        let (pid, ticks) = (std::process::id(), started(std::process::id()).unwrap());
        assert!(is_stale(&format!("{PREFIX}{pid}_{}_db", ticks - 1)), "an earlier process had our id");
        assert!(is_stale(&format!("{PREFIX}4194305_1")), "no process has this id");
        assert!(!is_stale("postgres") && !is_stale("ironmonger_test_"), "not ours");
    }
}

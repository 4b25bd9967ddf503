//! A guarded program never outlives its parent.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use servers::{Program, guard::StopSignal};

#[tokio::test]
async fn is_stopped_gently_and_keeps_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let program = sh(dir.path(), "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    let program = program.start().unwrap();
    wait_until("it listens", || program.last_words() == "ready");
    assert!(alive(program.pid()));
    let status = within(program.stop()).await;
    assert_eq!(status.code(), Some(7));
    assert_eq!(program.last_words(), "bye");
    assert!(!alive(program.pid()));
}

#[tokio::test]
async fn is_killed_when_it_does_not_listen() {
    let dir = tempfile::tempdir().unwrap();
    let deaf = sh(dir.path(), "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    let program = deaf.stopped_by(StopSignal::Term, Duration::from_millis(300)).start().unwrap();
    wait_until("it is deaf", || program.last_words() == "ready");
    assert_eq!(within(program.stop()).await.code(), Some(128 + 9));
    assert!(!alive(program.pid()));
}

#[tokio::test]
async fn ends_even_if_its_guard_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let program = sh(dir.path(), "exec sleep 1000").start().unwrap();
    let (pid, guard) = (program.pid(), parent_of(program.pid()));
    kill_process(Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    within(program.ended()).await;
    assert!(alive(pid), "the guard's end is not the program's");
    drop(program);
    wait_until("the program is gone", || !alive(pid));
}

#[test]
fn ends_when_its_parent_gets_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    // This same test program, running only the function below.
    let mut parent = Command::new(env::current_exe().unwrap())
        .env(FOLDER, dir.path())
        .args(["--exact", "a_parent_to_be_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
    let pid: u32 = lines.find_map(|line| line.strip_prefix("child ")?.parse().ok()).unwrap();
    assert!(alive(pid));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the child is gone", || !alive(pid));
}

#[test]
#[ignore = "started by ends_when_its_parent_gets_sigkill, which kills it"]
fn a_parent_to_be_killed() {
    let dir = env::var_os(FOLDER).expect("the test above says where");
    let program = sh(Path::new(&dir), "exec sleep 1000").start().unwrap();
    println!("\nchild {}", program.pid());
    // Bounded, should nobody kill us.
    std::thread::park_timeout(Duration::from_secs(30));
}

/// The folder of a parent that cannot clean up after itself.
const FOLDER: &str = "GUARD_TEST_FOLDER";

/// A shell script as a program; it says what it says into `log` in `dir`.
fn sh(dir: &Path, script: &str) -> Program {
    Program::new("a script", "/bin/sh", dir.join("log")).args(["-c", script])
}

/// Waits for what must come soon.
async fn within<T>(soon: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), soon).await.expect("it ends within 10 s")
}

/// Whether the process exists and is no zombie.
fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn parent_of(pid: u32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(1).unwrap().parse().unwrap()
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !reached() {
        assert!(Instant::now() < deadline, "still waiting until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

//! A process lives as long as all its tasks do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    future::pending,
    io,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::anyhow;
use rustix::process::{Signal, getpid, kill_process};
use service::tasks::{GRACE, Tasks, to_its_end};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// Far longer than a signal takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A task that ends when it is told to, and tells so.
fn obedient(stop: CancellationToken) -> (impl Future<Output = anyhow::Result<()>>, oneshot::Receiver<()>) {
    let (told, was_told) = oneshot::channel();
    let task = async move {
        stop.cancelled().await;
        told.send(()).map_err(|()| anyhow!("nobody listens"))
    };
    (task, was_told)
}

/// Runs `early` beside an obedient task; returns how the run ended, after checking that the other one was stopped.
async fn ends_early(early: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> String {
    let mut tasks = Tasks::new();
    let stop = tasks.stop_token();
    let (other, was_told) = obedient(stop.clone());
    tasks.spawn("other", other);
    tasks.spawn("relay", early);
    let failure = tasks.run_until_cancelled().await.unwrap_err();
    was_told.await.unwrap();
    assert!(stop.is_cancelled());
    format!("{failure:#}")
}

#[tokio::test]
async fn a_task_that_fails_ends_all_and_is_named() {
    let failure = ends_early(async { Err(anyhow!("no broker").context("cannot send")) }).await;
    assert_eq!(failure, "task `relay` failed: cannot send: no broker");
}

#[tokio::test]
async fn a_task_that_ends_before_it_is_told_to_is_a_failure() {
    assert_eq!(ends_early(async { Ok(()) }).await, "task `relay` ended before it was told to");
}

#[tokio::test]
async fn a_panic_ends_all_and_is_named() {
    assert_eq!(ends_early(async { panic!("number {}", 7) }).await, "task `relay` panicked: number 7");
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_token_ends_all_cleanly() {
    let outer = CancellationToken::new();
    let mut tasks = Tasks::stopped_by(&outer);
    let (task, was_told) = obedient(tasks.stop_token());
    tasks.spawn("relay", task);
    let mut running = pin!(tasks.run_until_cancelled());
    assert!(timeout(Duration::from_secs(3600), &mut running).await.is_err(), "runs while nobody says stop");
    outer.cancel();
    running.await.unwrap();
    was_told.await.unwrap();
}

#[tokio::test]
async fn a_failure_after_stop_is_a_failure() {
    let mut tasks = Tasks::new();
    let stop = tasks.stop_token();
    tasks.spawn("relay", {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            Err(anyhow!("the last batch was lost"))
        }
    });
    stop.cancel();
    let failure = tasks.run_until_cancelled().await.unwrap_err();
    assert_eq!(format!("{failure:#}"), "task `relay` failed: the last batch was lost");
}

#[tokio::test]
async fn a_failure_of_one_task_does_not_cancel_the_token_of_others() {
    let outer = CancellationToken::new();
    let mut tasks = Tasks::stopped_by(&outer);
    tasks.spawn("relay", async { anyhow::Ok(()) });
    tasks.run_until_cancelled().await.unwrap_err();
    assert!(!outer.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_stop_is_named_and_aborted() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let mut tasks = Tasks::new();
    let (held, dropped) = oneshot::channel::<()>();
    tasks.spawn("relay", async move {
        pending::<()>().await;
        drop(held);
        anyhow::Ok(())
    });
    let (task, was_told) = obedient(tasks.stop_token());
    tasks.spawn("http", task);
    tasks.stop_token().cancel();
    let start = Instant::now();
    tasks.run_until_cancelled().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), GRACE.as_secs());
    was_told.await.unwrap();
    dropped.await.unwrap_err();
    drop(guard);
    let text = log.text();
    assert!(text.contains("WARN") && text.contains(r#"tasks=["relay"]"#), "{text}");
}

#[tokio::test]
async fn both_signals_end_all_cleanly_and_an_early_end_is_seen_meanwhile() {
    // One test, for a signal reaches everybody in this process who listens.
    for signal in [Signal::TERM, Signal::INT] {
        let mut tasks = Tasks::new();
        let (task, was_told) = obedient(tasks.stop_token());
        tasks.spawn("http", async move {
            // Runs only once the main task waits, hence listens: the runtime of this test has one thread.
            kill_process(getpid(), signal).unwrap();
            task.await
        });
        timeout(PATIENCE, tasks.run_until_stopped()).await.unwrap().unwrap();
        was_told.await.unwrap();
    }
    let mut tasks = Tasks::new();
    tasks.spawn("relay", async { anyhow::Ok(()) });
    let failure = tasks.run_until_stopped().await.unwrap_err();
    assert_eq!(failure.to_string(), "task `relay` ended before it was told to");
}

/// Whoever waits hangs up before the work is half done.
#[tokio::test]
async fn work_is_done_to_its_end_though_nobody_waits_for_it() {
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let (end, has_ended) = oneshot::channel();
    let work = async {
        begun.send(()).unwrap();
        may_go_on.await.unwrap();
        end.send(()).unwrap();
    };
    tokio::select! {
        () = to_its_end(work) => panic!("it must not end so soon"),
        begun = has_begun => begun.unwrap(),
    }
    go_on.send(()).unwrap();
    timeout(PATIENCE, has_ended).await.unwrap().unwrap();
    assert_eq!(to_its_end(async { 7 }).await, 7);
}

#[tokio::test]
#[should_panic(expected = "number 7")]
async fn a_panic_reaches_whoever_waits() {
    to_its_end(async { panic!("number {}", 7) }).await
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

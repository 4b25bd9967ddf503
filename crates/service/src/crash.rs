//! Points at which a test lets a process die, as a SIGKILL or a lost machine would have it: between two statements, with
//! nothing written, sent or dropped after them.

/// Kills this process with SIGKILL if the environment's `CRASH_AT` is `point`.
///
/// Names say where: service, part, and what has just been done or is about to be (`billing.settle.called`). Programs that
/// are built for use (`--release`) have none of this.
pub fn crash_point(point: &str) {
    #[cfg(debug_assertions)]
    if asked_for().is_some_and(|asked| asked == point) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // Whatever the scheduler does until the signal comes, nothing after this point happens.
        loop {
            std::thread::park();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = point;
}

#[cfg(debug_assertions)]
fn asked_for() -> Option<&'static str> {
    static ASKED_FOR: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    ASKED_FOR.get_or_init(|| std::env::var("CRASH_AT").ok()).as_deref()
}

//! What a test program logs.

use std::{
    io,
    sync::{Mutex, Once},
};

use tracing::Level;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep what is logged of `level` and above, and tells what was.
///
/// It is kept of all tests of the process, at the level that the first of them asks for: what others log first, without a
/// subscriber, would be left out from then on.
///
/// # Panics
/// The process has another subscriber already.
pub fn log(level: Level) -> impl Fn() -> String {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(|| Log).init();
    });
    || String::from_utf8(LOG.lock().expect("no writer panics").clone()).expect("a log is text")
}

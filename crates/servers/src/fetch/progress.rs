//! What is seen while servers are fetched: bars on a terminal, plain lines elsewhere.

use std::{io::IsTerminal, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// All lines of one fetch.
pub(super) struct Progress(Option<MultiProgress>);

/// One server being fetched.
pub(super) struct Line {
    name: &'static str,
    size: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(MultiProgress::new))
    }

    /// Begins the line of `name`, of about `size` bytes.
    pub(super) fn line(&self, name: &'static str, size: u64) -> Line {
        let Some(bars) = &self.0 else {
            eprintln!("fetching {name} ({} MB), once", size / 1_000_000);
            return Line { name, size, bar: None };
        };
        let bar = bars.add(ProgressBar::new(size));
        let style = ProgressStyle::with_template("{spinner} {prefix:16} [{bar:30}] {bytes:>10} {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.set_prefix(name);
        bar.set_message("fetching");
        bar.enable_steady_tick(Duration::from_millis(100));
        Line { name, size, bar: Some(bar) }
    }
}

impl Line {
    /// So many bytes are there.
    pub(super) fn fetched(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes.min(self.size));
        }
    }

    /// All is there, and is being unpacked.
    pub(super) fn unpacking(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.size);
            bar.set_message("unpacking");
        }
    }

    /// It can be used.
    pub(super) fn done(&self) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.size);
                bar.finish_with_message("ready");
            }
            None => eprintln!("{} is ready", self.name),
        }
    }
}

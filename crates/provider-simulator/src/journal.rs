//! The log: lines of JSON, appended, and on disk before anybody hears of them. One thread writes; what waits meanwhile
//! is written and flushed together.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use crate::book::Line;

/// Where lines are handed in. Clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    path: Arc<Path>,
    queue: mpsc::Sender<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: Vec<u8>,
    written: oneshot::Sender<()>,
}

/// The lines are on their way to the disk.
#[derive(Debug)]
pub(crate) struct Writing(oneshot::Receiver<()>);

/// The log cannot be written any more, so nothing can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log cannot be written")]
pub(crate) struct Unwritable;

impl Journal {
    /// The log in the file `path`, and what it says so far. A torn last line is cut off.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<Line>)> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let (lines, length) = read(&file)?;
        file.set_len(length)?;
        file.sync_all()?;
        let (queue, entries) = mpsc::channel();
        std::thread::Builder::new().name("journal".into()).spawn(move || write_all(file, &entries))?;
        Ok((Self { path: path.into(), queue }, lines))
    }

    /// Appends `lines`, together and in the order of the calls.
    pub(crate) fn append(&self, lines: &[Line]) -> Writing {
        let (written, writing) = oneshot::channel();
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).expect("texts and numbers are always JSON");
            text.push(b'\n');
        }
        // Without a writer the other half is dropped with the entry, and whoever waits hears it.
        let _ = self.queue.send(Entry { text, written });
        Writing(writing)
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> PathBuf {
        self.path.to_path_buf()
    }
}

impl Writing {
    /// Waits until the lines are on disk.
    pub(crate) async fn done(self) -> Result<(), Unwritable> {
        self.0.await.map_err(|_| Unwritable)
    }
}

/// Every whole line, and how many bytes they take.
fn read(file: &File) -> io::Result<(Vec<Line>, u64)> {
    let mut reader = BufReader::new(file);
    let (mut lines, mut length, mut text) = (Vec::new(), 0, String::new());
    loop {
        text.clear();
        let bytes = reader.read_line(&mut text)?;
        if !text.ends_with('\n') {
            return Ok((lines, length));
        }
        let line = serde_json::from_str(&text);
        lines.push(line.map_err(|error| io::Error::other(format!("line {}: {error}", lines.len() + 1)))?);
        length += u64::try_from(bytes).map_err(io::Error::other)?;
    }
}

fn write_all(mut file: File, entries: &mpsc::Receiver<Entry>) {
    while let Ok(first) = entries.recv() {
        let together: Vec<Entry> = std::iter::once(first).chain(entries.try_iter()).collect();
        let text: Vec<u8> = together.iter().flat_map(|entry| entry.text.iter().copied()).collect();
        if let Err(error) = file.write_all(&text).and_then(|()| file.sync_data()) {
            tracing::error!(%error, "The log cannot be written; no call is answered any more.");
            return;
        }
        for entry in together {
            // Whoever does not wait any more has gone away.
            let _ = entry.written.send(());
        }
    }
}

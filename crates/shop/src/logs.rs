//! Shows the logs, which are plain files: `logs/<part>.log`, and `logs/shop.log` of a detached shop.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{ShopError, state::logs};

/// How much of each log is shown at first. Unit: bytes.
const TAIL: u64 = 8 * 1024;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Writes the end of the logs of `name`, or of all parts, to standard output; then, to `follow`, whatever comes.
///
/// # Errors
/// [`ShopError::UnknownPart`] if there is no such log. A closed standard output is the end, not an error.
pub fn show(folder: &Path, name: Option<&str>, follow: bool) -> Result<(), ShopError> {
    let all = files(&logs(folder));
    let named = |file: &PathBuf| name.is_none_or(|name| stem(file) == name);
    let chosen: Vec<PathBuf> = all.iter().filter(|file| named(file)).cloned().collect();
    if chosen.is_empty() {
        let known: Vec<String> = all.iter().map(|file| stem(file)).collect();
        let wanted = name.unwrap_or("log").to_owned();
        return Err(ShopError::UnknownPart { wanted, known: known.join(", ") });
    }
    let prefixed = chosen.len() > 1;
    let mut tails: Vec<Tail> = chosen.into_iter().map(|file| Tail::new(file, prefixed)).collect();
    loop {
        for tail in &mut tails {
            if tail.show(&mut io::stdout().lock()).is_err() {
                return Ok(());
            }
        }
        if !follow {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// One log, shown up to `position`.
struct Tail {
    file: PathBuf,
    prefix: String,
    position: u64,
    /// A line whose end has not been written yet.
    rest: String,
}

impl Tail {
    fn new(file: PathBuf, prefixed: bool) -> Self {
        let length = fs::metadata(&file).map_or(0, |found| found.len());
        let prefix = if prefixed { format!("{:10} | ", stem(&file)) } else { String::new() };
        Self { file, prefix, position: length.saturating_sub(TAIL), rest: String::new() }
    }

    /// Writes the whole lines that are new. A log that was put aside begins anew.
    fn show(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Ok(mut file) = File::open(&self.file) else { return Ok(()) };
        if file.metadata()?.len() < self.position {
            self.position = 0;
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        self.position += file.read_to_end(&mut bytes)? as u64;
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        while let Some((line, rest)) = self.rest.split_once('\n') {
            writeln!(out, "{}{line}", self.prefix)?;
            self.rest = rest.to_owned();
        }
        out.flush()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    files.sort();
    files
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(tail: &mut Tail) -> String {
        let mut out = Vec::new();
        tail.show(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_shown_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("order.log");
        fs::write(&file, "one\ntw").unwrap();
        let mut tail = Tail::new(file.clone(), true);
        assert_eq!(shown(&mut tail), "order      | one\n");
        fs::write(&file, "one\ntwo\n").unwrap();
        assert_eq!(shown(&mut tail), "order      | two\n");
        assert_eq!(shown(&mut tail), "");
        fs::write(&file, "new\n").unwrap();
        assert_eq!(shown(&mut tail), "order      | new\n", "the old one was put aside");
    }

    #[test]
    fn an_unknown_part_is_told_from_the_known() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(logs(folder.path())).unwrap();
        fs::write(logs(folder.path()).join("kafka.log"), "").unwrap();
        let refused = show(folder.path(), Some("kafak"), false).unwrap_err().to_string();
        assert_eq!(refused, "there is no kafak: the parts are kafka");
    }
}

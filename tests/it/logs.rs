//! What the processes of a shop say of themselves.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use tokio::time::{sleep, timeout};

use super::world::World;

/// The logs of all processes, from one moment on.
pub(crate) struct Logs {
    folder: PathBuf,
    /// How long each was at that moment.
    length: BTreeMap<String, usize>,
}

impl Logs {
    pub(crate) fn from_now_on(world: &World) -> Self {
        let folder = world.shop.folder().join("logs");
        let length = |name: String| (name.clone(), world.log(&name).len());
        Self { length: world.shop.state().parts.into_iter().map(|part| length(part.name)).collect(), folder }
    }

    /// What `process` has said since.
    pub(crate) fn of(&self, process: &str) -> String {
        let log = fs::read(self.folder.join(format!("{process}.log"))).unwrap();
        String::from_utf8_lossy(&log[self.length[process]..]).into_owned()
    }

    /// How many lines of `process` have all of `words` in them.
    pub(crate) fn count(&self, process: &str, words: &[String]) -> usize {
        self.of(process).lines().filter(|line| words.iter().all(|word| line.contains(word.as_str()))).count()
    }

    /// Waits until `process` has said a line with all of `words`.
    pub(crate) async fn await_line(&self, process: &str, words: &[String], patience: Duration) {
        let said = async {
            while self.count(process, words) == 0 {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let said = timeout(patience, said).await;
        assert!(said.is_ok(), "{process} did not say {words:?}, but:\n{}", self.of(process));
    }
}

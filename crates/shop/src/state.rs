//! What a running shop writes down about itself: `shop.json`, for the other commands and for nobody else, because the
//! URLs contain passwords.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{ShopError, containers::DockerError};

/// The name of the file in the shop's folder.
const FILE: &str = "shop.json";

/// The name of the same file where docker compose holds the shop. No lock tells then whether it is up: its parts are
/// containers.
const COMPOSED: &str = "compose.json";

/// The name of the file that is locked while a shop is up.
const LOCK: &str = "lock";

/// A service of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Takes orders.
    Order,
    /// Holds stock.
    Inventory,
    /// Takes money.
    Billing,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Order, Self::Inventory, Self::Billing];

    /// Its name, which is also that of its package and its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Billing => "billing",
        }
    }
}

/// A running shop.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The process that supervises all others.
    pub pid: u32,
    /// Whether everything has started and the catalogue is filled.
    pub ready: bool,
    /// The URLs of each service, one per replica.
    pub services: BTreeMap<Service, Vec<String>>,
    /// How to reach the stores.
    pub stores: Stores,
    /// Every process.
    pub parts: Vec<PartState>,
}

/// How to reach the stores. The users may do anything there; `Debug` shows neither them nor their passwords.
#[derive(Clone, Serialize, Deserialize)]
pub struct Stores {
    /// Postgres, database `orders`.
    pub orders: String,
    /// Postgres, database `billing`.
    pub billing: String,
    /// MongoDB, database `inventory`.
    pub inventory: String,
    /// Kafka: host and port.
    pub brokers: String,
    /// The payment provider, whose log is the witness.
    pub provider: String,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders: _, billing: _, inventory: _, brokers, provider } = self;
        f.debug_struct("Stores").field("brokers", brokers).field("provider", provider).finish_non_exhaustive()
    }
}

/// One process of the shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartState {
    /// Its name, such as `order` or `order-2`; its log is `logs/<name>.log`.
    pub name: String,
    /// Its name to be shown, such as `PostgreSQL (orders)`.
    pub shown: String,
    /// Where it listens.
    pub port: u16,
    /// Its process id. `None` while it is down.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
}

impl State {
    /// Reads the state of the shop in `folder`.
    ///
    /// # Errors
    /// [`ShopError::NotRunning`] if no shop is up there.
    pub fn read(folder: &Path) -> Result<Self, ShopError> {
        if let Ok(text) = fs::read(folder.join(COMPOSED)) {
            return serde_json::from_slice(&text).map_err(|_| ShopError::NotRunning);
        }
        let text = fs::read(folder.join(FILE)).map_err(|_| ShopError::NotRunning)?;
        let state: Self = serde_json::from_slice(&text).map_err(|_| ShopError::NotRunning)?;
        // After a SIGKILL the file is still there, and the lock is free.
        if supervisor(folder).is_some() { Ok(state) } else { Err(ShopError::NotRunning) }
    }

    /// Writes the state, whole or not at all, readable for its owner only.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        self.write_to(&folder.join(FILE))
    }

    /// Writes the state of a shop that docker compose holds.
    pub(crate) fn write_composed(&self, folder: &Path) -> io::Result<()> {
        self.write_to(&folder.join(COMPOSED))
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.persist(path).map(drop).map_err(io::Error::from)
    }

    /// Removes the file.
    pub(crate) fn remove(folder: &Path) {
        // A file that stays does no harm: without the lock nobody believes it.
        let _ = fs::remove_file(folder.join(FILE));
    }

    /// What to say of a part that does not exist.
    pub(crate) fn unknown(&self, wanted: &str) -> ShopError {
        let known: Vec<&str> = self.parts.iter().map(|part| part.name.as_str()).collect();
        ShopError::UnknownPart { wanted: wanted.to_owned(), known: known.join(", ") }
    }

    /// The URL of the first process of `service`.
    pub fn url(&self, service: Service) -> &str {
        self.services.get(&service).and_then(|urls| urls.first()).map_or("", String::as_str)
    }
}

/// Where the logs are.
pub fn logs(folder: &Path) -> PathBuf {
    folder.join("logs")
}

/// What follows the process id in the lock while a shop comes up in containers.
const IN_CONTAINERS: &str = " in containers";

/// Holds the shop's folder: one shop at a time. Free again when it is dropped, also by our death.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock is held as long as the file is open")] File);

impl Lock {
    /// Takes the lock and writes our process id into it. What an earlier shop wrote down is void then.
    pub(crate) fn take(folder: &Path) -> Result<Self, ShopError> {
        Self::take_and_write(folder, "")
    }

    /// The same for a shop that comes up in containers, which is supervised by the engine and not by this process: hold it
    /// until the shop is up, or gone again.
    pub(crate) fn take_for_containers(folder: &Path) -> Result<Self, ShopError> {
        Self::take_and_write(folder, IN_CONTAINERS)
    }

    fn take_and_write(folder: &Path, where_it_runs: &str) -> Result<Self, ShopError> {
        let path = folder.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let mut file = file.map_err(ShopError::system(format!("opening {}", path.display())))?;
        if file.try_lock().is_err() {
            return Err(held(&fs::read_to_string(&path).unwrap_or_default()));
        }
        State::remove(folder);
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}{where_it_runs}", std::process::id()));
        written.map_err(ShopError::system(format!("writing {}", path.display())))?;
        Ok(Self(file))
    }
}

/// What to tell who comes second, by what the `holder` of the lock wrote into it.
fn held(holder: &str) -> ShopError {
    let (pid, in_containers) = match holder.trim().strip_suffix(IN_CONTAINERS) {
        Some(pid) => (pid, true),
        None => (holder.trim(), false),
    };
    let pid = pid.parse().unwrap_or(0);
    if in_containers { DockerError::Starting { pid }.into() } else { ShopError::Running { pid } }
}

/// Makes sure that no shop is up in `folder`, or comes up there. A shop that is up in containers is not seen: see
/// [`crate::containers::require_none`].
///
/// # Errors
/// [`ShopError::Running`] or [`DockerError::Starting`].
pub fn require_free(folder: &Path) -> Result<(), ShopError> {
    holder(folder).map_or(Ok(()), |holder| Err(held(&holder)))
}

/// The process that supervises the shop in `folder`, if one is up or coming up. None does for a shop in containers.
pub fn supervisor(folder: &Path) -> Option<u32> {
    holder(folder)?.trim().parse().ok()
}

/// What is written in the lock, if somebody holds it.
fn holder(folder: &Path) -> Option<String> {
    let path = folder.join(LOCK);
    let free = File::open(&path).is_ok_and(|file| file.try_lock_shared().is_ok());
    let holder = fs::read_to_string(&path).ok()?;
    (!free).then_some(holder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn state() -> State {
        let store = |name: &str| format!("{name}://user:canary@host/{name}");
        let (orders, billing, inventory) = (store("orders"), store("billing"), store("inventory"));
        let (brokers, provider) = ("host:9092".into(), "http://host:7016".into());
        let stores = Stores { orders, billing, inventory, brokers, provider };
        let services = BTreeMap::from([(Service::Order, vec!["http://127.0.0.1:7001".into()])]);
        State { pid: 7, ready: true, services, stores, parts: Vec::new() }
    }

    #[test]
    fn a_shop_is_up_as_long_as_its_lock_is_held() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(State::read(folder.path()), Err(ShopError::NotRunning)), "nothing was ever there");
        let lock = Lock::take(folder.path()).unwrap();
        state().write(folder.path()).unwrap();
        assert_eq!(State::read(folder.path()).unwrap().url(Service::Order), "http://127.0.0.1:7001");
        assert_eq!(supervisor(folder.path()), Some(std::process::id()));
        drop(lock);
        assert!(matches!(State::read(folder.path()), Err(ShopError::NotRunning)), "what is written is stale");
        assert_eq!(supervisor(folder.path()), None);
    }

    #[test]
    fn there_is_one_shop_per_folder() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let second = Lock::take(folder.path()).unwrap_err();
        assert!(matches!(second, ShopError::Running { pid } if pid == std::process::id()), "{second}");
        drop(lock);
        state().write(folder.path()).unwrap();
        let _lock = Lock::take(folder.path()).unwrap();
        assert!(State::read(folder.path()).is_err(), "what the shop before wrote down is void");
    }

    #[test]
    fn a_shop_that_comes_up_in_containers_has_no_supervisor_and_keeps_others_out() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take_for_containers(folder.path()).unwrap();
        assert_eq!(supervisor(folder.path()), None);
        let said = format!("the shop is coming up already, in containers (process {}): ", std::process::id());
        for second in [Lock::take(folder.path()), Lock::take_for_containers(folder.path())] {
            assert!(second.unwrap_err().to_string().starts_with(&said));
        }
        assert!(require_free(folder.path()).unwrap_err().to_string().starts_with(&said));
        drop(lock);
        require_free(folder.path()).unwrap();
    }

    #[test]
    fn passwords_are_for_the_owner_only() {
        let shown = format!("{:?}", state());
        assert!(shown.contains("host:9092") && !shown.contains("canary"), "{shown}");
        let folder = tempfile::tempdir().unwrap();
        state().write(folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().mode() & 0o777, 0o600);
    }
}

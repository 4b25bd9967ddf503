//! PostgreSQL: one cluster, listening on loopback only.

use std::{
    fmt, fs,
    os::unix::{self, fs::PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Data, Guarded, Home, Program, Server, ServerError,
    guard::StopSignal,
    health,
    home::{User, require_writable},
    ports,
};

/// How long a start may take: it may have to replay its log. Unit: seconds.
const START_LIMIT_S: u64 = 60;

/// The name of the cluster inside its data folder; elsewhere while it is being made, so it is whole or not there.
const CLUSTER: &str = "cluster";

/// Where and how one cluster runs. Its `Debug` shows no password.
#[derive(Clone)]
pub struct PostgresConfig {
    /// What to call it, such as `PostgreSQL (orders)`.
    pub name: String,
    /// The folder of its data; created and owned by this cluster.
    pub data: PathBuf,
    /// The file its log is added to.
    pub log: PathBuf,
    /// The port on loopback.
    pub port: u16,
    /// The password of the superuser `postgres`, set at the first start. `None`: anyone on this machine is let in.
    pub password: Option<String>,
    /// What the data is worth.
    pub worth: Data,
    /// How much of its log it keeps for readers that are late, in MB. `None`: 4096.
    pub log_limit_mb: Option<u32>,
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, data, log, port, password: _, worth, log_limit_mb } = self;
        let mut shown = f.debug_struct("PostgresConfig");
        shown.field("name", name).field("data", data).field("log", log).field("port", port).field("worth", worth);
        shown.field("log_limit_mb", log_limit_mb);
        shown.finish_non_exhaustive()
    }
}

/// A running cluster. Its `Debug` shows no password.
pub struct Postgres {
    process: Guarded,
    port: u16,
    password: Option<String>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, port, password: _ } = self;
        f.debug_struct("Postgres").field("process", process).field("port", port).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Starts the cluster in `config.data`, after making it if it is not there, and waits until it lets clients in.
    ///
    /// # Errors
    /// The port is in use, the folders cannot be used, or the server ends or stays silent.
    pub async fn start(home: &Home, config: &PostgresConfig) -> Result<Self, ServerError> {
        ports::require_free_port(config.port, &config.name)?;
        let place = Place::prepare(home, config)?;
        if !place.data.join(CLUSTER).exists() {
            match (config.worth, &config.password) {
                (Data::Throwaway, None) => place.copy_template(home).await?,
                (Data::Throwaway | Data::Kept, password) => place.make_cluster(password.as_deref()).await?,
            }
        }
        remove_stale_lock(&place.data.join(CLUSTER));
        let process = place.server(config).start()?;
        let limit = Duration::from_secs(START_LIMIT_S);
        health::wait_until_healthy(&process, limit, || lets_in(config.port)).await?;
        Ok(Self { process, port: config.port, password: config.password.clone() })
    }

    /// The URL of `database` for the superuser.
    pub fn url(&self, database: &str) -> String {
        match &self.password {
            Some(password) => self.url_as("postgres", password, database),
            None => format!("postgres://postgres@127.0.0.1:{}/{database}", self.port),
        }
    }

    /// The URL of `database` for `role`.
    pub fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The process: to watch it, and to stop it.
    pub fn process(&self) -> &Guarded {
        &self.process
    }

    /// The process alone, for whoever watches all processes alike.
    pub fn into_process(self) -> Guarded {
        self.process
    }
}

/// Everything needed to run programs on one data folder.
#[derive(Clone)]
struct Place {
    programs: PathBuf,
    data: PathBuf,
    log: PathBuf,
    name: String,
    user: Option<User>,
}

impl Place {
    fn prepare(home: &Home, config: &PostgresConfig) -> Result<Self, ServerError> {
        let programs = Server::Postgres.folder(home).join("bin");
        let user = User::instead_of_root();
        require_writable(&config.data)?;
        if let Some(user) = user {
            user.require_enterable(&programs)?;
            user.require_enterable(config.data.parent().unwrap_or(&config.data))?;
            own(user, &config.data)?;
        }
        let (data, log, name) = (config.data.clone(), config.log.clone(), config.name.clone());
        Ok(Self { programs, data, log, name, user })
    }

    /// Makes an empty cluster. One that was interrupted lies under another name and is made again.
    async fn make_cluster(&self, password: Option<&str>) -> Result<(), ServerError> {
        let (new, password_file) = (self.data.join("new"), self.data.join("password"));
        remove(&new)?;
        let mut initdb = Program::new(format!("initdb for {}", self.name), self.programs.join("initdb"), &self.log)
            .args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"])
            .args(["--builtin-locale=C.UTF-8", "--pgdata"])
            .args([&new]);
        match password {
            Some(password) => {
                write_secret(&password_file, password, self.user)?;
                initdb = initdb.args(["--auth=scram-sha-256", "--pwfile"]).args([&password_file]);
            }
            // Nothing is worth a flush in a cluster that lets everyone in.
            None => initdb = initdb.args(["--auth=trust", "--no-sync"]),
        }
        let made = self.run(initdb).await;
        remove(&password_file)?;
        made?;
        let cluster = self.data.join(CLUSTER);
        fs::rename(&new, &cluster).map_err(ServerError::not_writable(cluster))
    }

    /// Copies the cluster that all test runs begin with; makes that one first if need be.
    async fn copy_template(&self, home: &Home) -> Result<(), ServerError> {
        let owner = self.user.map_or(rustix::process::getuid().as_raw(), |user| user.uid);
        let template = home.servers().join(format!("postgres-18.1-empty-{owner}"));
        if !template.join(CLUSTER).exists() {
            let lock = template.with_added_extension("lock");
            let _lock = crate::fetch::lock(&lock).await?;
            require_writable(&template)?;
            if let Some(user) = self.user {
                own(user, &template)?;
            }
            if !template.join(CLUSTER).exists() {
                Self { data: template.clone(), ..self.clone() }.make_cluster(None).await?;
            }
        }
        let copy = Program::new(format!("copying the data of {}", self.name), "cp", &self.log);
        self.run(copy.args(["--archive"]).args([template.join(CLUSTER), self.data.join(CLUSTER)])).await
    }

    /// Runs a program to its good end.
    async fn run(&self, program: Program) -> Result<(), ServerError> {
        let running = program.run_by(self.user).stopped_by(StopSignal::Kill, Duration::ZERO).start()?;
        if running.ended().await.success() {
            return Ok(());
        }
        let name = running.name().to_owned();
        Err(ServerError::Died { name, last_words: running.last_words(), log: self.log.clone() })
    }

    fn server(&self, config: &PostgresConfig) -> Program {
        let (stop, patience) = match config.worth {
            Data::Kept => (StopSignal::Int, Duration::from_secs(20)),
            Data::Throwaway => (StopSignal::Quit, Duration::from_secs(1)),
        };
        let here = ["listen_addresses=127.0.0.1".into(), "unix_socket_directories=".into()];
        let settings = [format!("port={}", config.port)].into_iter().chain(here);
        let settings = settings.chain(settings_of(config.worth, config.log_limit_mb));
        let settings = settings.flat_map(|setting| ["-c".into(), setting]);
        Program::new(&self.name, self.programs.join("postgres"), &self.log)
            .args(["-D".into(), self.data.join(CLUSTER)])
            .args(settings)
            .stopped_by(stop, patience)
            .run_by(self.user)
    }
}

/// What a cluster is set to, wherever it listens and its data is: `name=value`, each.
pub fn settings_of(worth: Data, log_limit_mb: Option<u32>) -> Vec<String> {
    let mut settings = vec![
        "timezone=UTC".into(),
        "log_timezone=UTC".into(),
        // The relays read the log; a reader that went away frees its slot after 5 s. A slot that nobody reads is
        // given up before it fills the disk.
        "wal_level=logical".into(),
        "wal_sender_timeout=5s".into(),
        format!("max_slot_wal_keep_size={}MB", log_limit_mb.unwrap_or(4096)),
        "max_wal_size=2GB".into(),
    ];
    match worth {
        Data::Kept => settings.extend(["max_connections=100", "shared_buffers=256MB"].map(String::from)),
        Data::Throwaway => {
            settings.extend(["fsync=off", "full_page_writes=off", "synchronous_commit=local"].map(String::from));
            settings.extend(["max_connections=300", "max_replication_slots=50"].map(String::from));
            settings.extend(["max_wal_senders=50", "shared_buffers=128MB"].map(String::from));
        }
    }
    settings
}

/// Whether a client that wants in at this port of loopback is asked for its credentials; while the server starts, it gets an
/// error.
pub async fn lets_in(port: u16) -> bool {
    // Length, protocol 3.0, then names and values, each ended by a zero byte.
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let length = 8 + u8::try_from(parameters.len()).expect("a constant of 34 bytes");
    let request = [&[0, 0, 0, length, 0, 3, 0, 0], parameters.as_slice()].concat();
    matches!(health::ask(port, &request).await, Ok([b'R']))
}

/// Removes the lock file of a server that is gone. PostgreSQL believes it when any process of its user has that id,
/// as happens after a reboot.
fn remove_stale_lock(cluster: &Path) {
    let lock = cluster.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else { return };
    let holder = text.lines().next().unwrap_or_default();
    let command = fs::read(format!("/proc/{holder}/cmdline")).unwrap_or_default();
    let ours = cluster.as_os_str().as_encoded_bytes();
    if !command.windows(ours.len()).any(|part| part == ours) {
        // If it cannot be removed, PostgreSQL says so itself.
        let _ = fs::remove_file(&lock);
    }
}

/// Hands `path` to `user`.
fn own(user: User, path: &Path) -> Result<(), ServerError> {
    unix::fs::chown(path, Some(user.uid), Some(user.gid)).map_err(ServerError::not_writable(path))
}

/// Writes `secret` for `user` alone.
fn write_secret(path: &Path, secret: &str, user: Option<User>) -> Result<(), ServerError> {
    remove(path)?;
    fs::write(path, "").map_err(ServerError::not_writable(path))?;
    let closed = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, closed).map_err(ServerError::not_writable(path))?;
    fs::write(path, secret).map_err(ServerError::not_writable(path))?;
    user.map_or(Ok(()), |user| own(user, path))
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<(), ServerError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if path.exists() => Err(ServerError::not_writable(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

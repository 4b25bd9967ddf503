//! What the `shop` program says and leaves behind when it cannot do what it is told, and when it is interrupted.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::ExitStatusExt,
    },
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use servers::{Home, Server, fetch, free_ports};

const PATIENCE: Duration = Duration::from_secs(60);

/// A state folder of its own, and services that start and are never ready.
struct Place {
    dir: tempfile::TempDir,
    /// Nobody listens on the ports above it.
    port_base: u16,
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let place = Place::new().await;
    let taken = place.port_base + 14;
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
    let said = place.refused(&mut place.up());
    let what = format!("port {taken}, wanted by Kafka, is in use: stop what listens there, or choose other ports with");
    assert!(said.starts_with(&what), "{said}");
}

/// Nothing of it can run without the engine.
#[tokio::test]
async fn a_shop_in_containers_whose_engine_is_gone_is_in_nobodys_way() {
    let place = Place::new().await;
    let engine = format!("unix://{}/docker.sock", place.dir.path().display());
    let written =
        format!(r#"{{"file": "docker-compose.yml", "project": "gone", "variables": {{"DOCKER_HOST": "{engine}"}}}}"#);
    fs::create_dir_all(place.dir.path().join("shop")).unwrap();
    fs::write(place.dir.path().join("shop/containers.json"), written).unwrap();
    let taken = place.port_base + 14;
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
    let said = String::from_utf8(place.up().output().unwrap().stderr).unwrap();
    let [gone, next] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(gone.starts_with("The shop that was up in containers is not: "), "{said}");
    assert!(next.starts_with(&format!("port {taken}, wanted by Kafka, is in use")), "{said}");
}

/// Whoever brings it up holds the lock, and is no supervisor.
#[tokio::test]
async fn while_a_shop_comes_up_in_containers_none_starts_without_or_is_said_not_to_be_there() {
    let place = Place::new().await;
    let folder = place.dir.path().join("shop");
    fs::create_dir(&folder).unwrap();
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(folder.join("lock"), "4711 in containers\n").unwrap();
    for mut asked in [place.up(), place.shop(["status"]), place.shop(["down"])] {
        let said = place.refused(&mut asked);
        assert!(said.starts_with("the shop is coming up already, in containers (process 4711): "), "{said}");
    }
}

#[tokio::test]
async fn without_java_the_command_that_brings_it_is_named() {
    let place = Place::new().await;
    let path = place.dir.path().join("path");
    fs::create_dir(&path).unwrap();
    for program in ["sh", "sleep", "cp", "rm", "id", "python3", "mvn"] {
        let folders = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|found| found.exists());
        if let Some(found) = found {
            symlink(found, path.join(program)).unwrap();
        }
    }
    let said = place.refused(place.up().env("PATH", &path).env_remove("JAVA_HOME"));
    assert_eq!(said, "Java 17 is missing: apt-get install openjdk-17-jre-headless maven");
}

/// The folder lies below a file: unlike a folder without permission, that keeps out root as well.
#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_named() {
    let place = Place::new().await;
    let home = place.dir.path().join("file/home");
    fs::write(place.dir.path().join("file"), "").unwrap();
    let said = place.refused(place.up().env("IRONMONGER_HOME", &home));
    assert!(said.starts_with(&format!("{} cannot be written to", home.display())), "{said}");
    assert!(said.ends_with("set IRONMONGER_HOME to a folder you may write to"), "{said}");
}

/// All servers run, and the first program of ours is being waited for, when Ctrl-C is pressed.
#[tokio::test]
async fn ctrl_c_stops_everything_that_has_been_started() {
    let place = Place::new().await;
    let mut shop = Killed(place.up().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let deadline = Instant::now() + PATIENCE;
    let all = ["pg-orders", "pg-billing", "mongod", "kafka.Kafka", "services/"];
    while !all.iter().all(|name| place.processes().iter().any(|process| process.contains(name))) {
        assert!(Instant::now() < deadline && shop.0.try_wait().unwrap().is_none(), "not all of it starts");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kill_process(Pid::from_child(&shop.0), Signal::INT).unwrap();
    let status = shop.0.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(130), None));
    assert_eq!(place.processes(), [] as [String; 0]);
}

/// Not being able to look is told from a violation.
#[tokio::test]
async fn an_audit_that_cannot_reach_a_store_has_a_status_of_its_own() {
    let place = Place::new().await;
    let folder = place.dir.path().join("shop");
    fs::create_dir(&folder).unwrap();
    // A shop that is up, as far as can be seen, and whose stores do not answer.
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(folder.join("lock"), format!("{}\n", std::process::id())).unwrap();
    let store = |scheme: &str, name: &str| format!("{scheme}://user:canary@127.0.0.1:{}/{name}", place.port_base + 11);
    let state = serde_json::json!({
        "pid": std::process::id(), "ready": true, "services": {}, "parts": [],
        "stores": {
            "orders": store("postgres", "orders"), "billing": store("postgres", "billing"),
            "inventory": store("mongodb", "inventory"), "brokers": "", "provider": store("http", ""),
        },
    });
    fs::write(folder.join("shop.json"), state.to_string()).unwrap();
    let audit = place.shop(["audit"]).output().unwrap();
    let said = String::from_utf8(audit.stderr).unwrap();
    assert_eq!((audit.status.code(), said.lines().count()), (Some(3), 1), "{said}");
    assert!(said.contains("the order database cannot be reached") && !said.contains("canary"), "{said}");

    drop(lock);
    let audit = place.shop(["audit"]).output().unwrap();
    assert_eq!(audit.status.code(), Some(3), "there is no shop to look at");
}

impl Place {
    async fn new() -> Self {
        let servers = Home::of_this_user();
        fetch::fetch(&servers, &Server::ALL).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        // PostgreSQL may have to enter it as another user.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        symlink(servers.servers(), dir.path().join("servers")).unwrap();
        let services = dir.path().join("services");
        fs::create_dir(&services).unwrap();
        for name in ["order", "inventory", "billing", "provider-simulator"] {
            fs::write(services.join(name), "#!/bin/sh\nwhile :; do sleep 0.1; done\n").unwrap();
            fs::set_permissions(services.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let port_base = free_ports(20).unwrap();
        Self { dir, port_base }
    }

    fn shop<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut shop = Command::new(env!("CARGO_BIN_EXE_shop"));
        shop.args(args).env("IRONMONGER_HOME", self.dir.path()).env("RUST_LOG", "off");
        shop
    }

    fn up(&self) -> Command {
        let mut up = self.shop(["up", "--native", "--bin-dir"]);
        up.arg(self.dir.path().join("services")).args(["--port-base", &self.port_base.to_string()]);
        up
    }

    /// What `up` says when it fails: one sentence, with nothing left running.
    fn refused(&self, up: &mut Command) -> String {
        let Output { status, stdout, stderr } = up.output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stdout.len(), said.lines().count()), (Some(1), 0, 1), "{said}");
        assert_eq!(self.processes(), [] as [String; 0], "something is left running");
        said.trim_end().to_owned()
    }

    /// The command lines of all processes that have to do with this place, but the shop itself.
    fn processes(&self) -> Vec<String> {
        let ours = self.dir.path().to_str().unwrap();
        let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| command_line(&entry.path()));
        lines.filter(|line| line.contains(ours) && !line.contains("--bin-dir")).collect()
    }
}

fn command_line(process: &Path) -> Option<String> {
    let line = fs::read(process.join("cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).replace('\0', " "))
}

/// A shop that does not outlive a failed test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Its servers die with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

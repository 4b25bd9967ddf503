//! The shop in containers: what every command does there, and what `up` says and leaves behind when it cannot come up. All but one
//! need a Docker engine with compose, and images by `POSTGRES_IMAGE`, `MONGO_IMAGE`, `KAFKA_IMAGE` and `IRONMONGER_IMAGE`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use mongodb::bson::{Document, doc};
use rustix::process::{Pid, Signal, kill_process};
use servers::free_ports;

const PATIENCE: Duration = Duration::from_secs(120);

/// A shop of its own: its state folder, and its name at the engine.
struct Place {
    dir: tempfile::TempDir,
    project: String,
    port_base: u16,
}

#[test]
fn without_docker_the_command_that_brings_it_is_named() {
    let place = Place::new();
    let said = refused(place.shop(&["up", "--docker"]).env("PATH", place.dir.path()));
    assert!(said.starts_with("docker is missing: apt-get install docker.io"), "{said}");
}

#[test]
#[ignore = "needs docker and compose"]
fn without_an_engine_it_is_said_where_none_answers() {
    let place = Place::new();
    let nowhere = format!("unix://{}/docker.sock", place.dir.path().display());
    let said = refused(place.shop(&["up", "--docker"]).env("DOCKER_HOST", &nowhere));
    assert!(said.starts_with(&format!("no Docker engine answers at {nowhere}: start one")), "{said}");
}

/// Also root, once it has given up what lets it pass everywhere.
#[test]
#[ignore = "needs docker and compose"]
fn without_permission_it_is_said_who_may_use_the_engine() {
    let place = Place::new();
    let socket = place.dir.path().join("docker.sock");
    let _engine = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
    let at = format!("unix://{}", socket.display());
    let mut closed = Command::new("setpriv");
    closed.arg("--bounding-set=-dac_override,-dac_read_search").args([env!("CARGO_BIN_EXE_shop"), "up", "--docker"]);
    let said = refused(closed.env("IRONMONGER_HOME", place.dir.path()).env("DOCKER_HOST", &at));
    assert!(said.starts_with(&format!("you may not use the Docker engine at {at}: run this as root, or")), "{said}");
}

#[test]
#[ignore = "needs docker, compose and images"]
fn an_image_that_is_not_there_is_named_with_what_makes_it() {
    let place = Place::new();
    let image = "ironmonger/offline-kafka:none";
    let said = place.refused(place.up().env("KAFKA_IMAGE", image));
    assert_eq!(said, format!("the image {image} is not here: `deploy/offline/build` makes it"));
    // No registry is at this address.
    let image = "127.0.0.1:1/mongo:6";
    let said = place.refused(place.up().env("MONGO_IMAGE", image));
    assert!(said.starts_with(&format!("the image {image} is not here and cannot be had (")), "{said}");
    assert!(said.contains("COMPOSE_ENV_FILES=deploy/offline/images.env"), "{said}");
}

#[test]
#[ignore = "needs docker, compose and images"]
fn a_port_that_somebody_has_is_named() {
    let place = Place::new();
    let taken = place.port_base + 2;
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
    let said = place.refused(&mut place.up());
    let what = format!("port {taken}, wanted by the inventory service, is in use: stop what listens there, or choose");
    assert!(said.starts_with(&what), "{said}");
}

#[test]
#[ignore = "needs docker, compose and images"]
fn a_volume_of_another_release_of_postgres_is_left_alone() {
    let place = Place::new();
    let (image, volume) = place.older_postgres();
    let said = place.refused(&mut place.up());
    assert!(said.starts_with("the data of postgres-orders is of another version (there appears to be"), "{said}");
    assert!(said.ends_with("or remove all data with `cargo shop up --docker --fresh`"), "{said}");
    let kept = docker(&["run", "--rm", "--volume", &volume, "--entrypoint", "ls", &image, "/var/lib/postgresql"]);
    assert_eq!(String::from_utf8_lossy(&kept.stdout).trim(), "15");
}

/// Of two at once the first goes on, and leaves nothing when it is interrupted. A third without containers is one too many, too.
#[test]
#[ignore = "needs docker, compose and images"]
fn while_one_comes_up_another_is_refused_in_containers_or_without() {
    let place = Place::new();
    let mut first = place.up().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while place.containers().is_empty() {
        assert!(Instant::now() < deadline && first.try_wait().unwrap().is_none(), "the first comes up");
        thread::sleep(Duration::from_millis(50));
    }
    for where_it_runs in ["--docker", "--native"] {
        let said = refused(&mut place.shop(&["up", where_it_runs]));
        let what = format!("the shop is coming up already, in containers (process {})", first.id());
        assert!(said.starts_with(&what), "{said}");
    }
    assert!(first.try_wait().unwrap().is_none() && !place.containers().is_empty(), "the first goes on");
    kill_process(Pid::from_child(&first), Signal::INT).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(130));
    assert_eq!(place.containers(), "");
}

/// MongoDB alone is enough of it.
#[test]
#[ignore = "needs docker, compose and images"]
fn a_shop_that_was_started_by_hand_is_left_as_it_is() {
    let place = Place::new();
    place.compose(&["up", "--detach", "--no-build", "mongo"]);
    let (ran, there) = (place.running(), place.containers());
    assert!(!ran.is_empty());
    let said = refused(&mut place.up());
    assert!(said.starts_with("the shop runs already, started by `docker compose up`: "), "{said}");
    assert!(said.contains(&format!("`docker compose --project-name {} down`", place.project)), "{said}");
    assert_eq!((place.running(), place.containers()), (ran, there.clone()));

    // Stopped, it may come up; what then fails takes away what is new, and no more.
    place.compose(&["stop"]);
    place.older_postgres();
    let said = refused(&mut place.up());
    assert!(said.starts_with("the data of postgres-orders is of another version ("), "{said}");
    assert_eq!((place.running(), place.containers()), (String::new(), there));
}

/// One shop for all of it: it takes half a minute to come up.
#[test]
#[ignore = "needs docker, compose and images"]
fn every_command_works_as_it_does_without_containers() {
    let place = Place::new();
    let up = place.succeeds(&["up", "--docker", "--detach", "--port-base", &place.port_base.to_string()]);
    assert!(up.contains(&format!("http://127.0.0.1:{}", place.port_base + 1)), "{up}");
    for again in ["--docker", "--native"] {
        let said = refused(&mut place.shop(&["up", again]));
        assert!(said.starts_with("the shop is up already, in containers"), "{said}");
    }

    let status = place.succeeds(&["status"]);
    for part in ["order", "inventory", "billing", "provider", "postgres-orders", "postgres-billing", "mongo", "kafka"] {
        let line =
            status.lines().find(|line| line.contains(&format!("│ {part} "))).unwrap_or_else(|| panic!("{status}"));
        let cells: Vec<&str> = line.split(['│', '┆']).map(str::trim).collect();
        assert!(cells[4] == "ready" && cells[6] != "0 MB", "{line}");
        let measured = ["order", "inventory", "billing"].contains(&part);
        assert_eq!(cells[8].parse::<u64>().is_ok(), measured, "what it has yet to read: {line}");
    }
    assert!(place.succeeds(&["logs", "pg-orders"]).contains("ready to accept connections"));
    let unknown = refused(&mut place.shop(&["logs", "kafak"]));
    assert!(unknown.starts_with("there is no kafak: the parts are billing, inventory, kafka"), "{unknown}");

    place.inventory_may_only_add_to_what_happened();
    assert_eq!(place.succeeds(&["token", "--customer", "new"]).trim().split('.').count(), 3);
    assert!(place.succeeds(&["demo"]).contains("as promised"));
    assert!(place.succeeds(&["load", "--orders", "20", "--connections", "4"]).contains("20"));
    let audit = place.succeeds(&["audit"]);
    assert!(audit.contains("The books add up."), "{audit}");
    place.succeeds(&["dead", "list"]);
    place.succeeds(&["sagas", "list"]);
    assert!(place.succeeds(&["republish", "--all"]).contains("are sent again"));
    place.succeeds(&["rebuild"]);

    assert!(place.succeeds(&["down"]).contains("The shop is stopped."));
    assert_eq!(place.containers(), "");
    assert_eq!(place.shop(&["audit"]).output().unwrap().status.code(), Some(3), "there is no shop to look at");
    assert!(place.succeeds(&["down"]).contains("The shop was not up."));
    place.another_schema_is_told();
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port_base = free_ports(4).unwrap();
        // Whoever gives a name clears away what begins with it, should we be killed.
        let name = std::env::var("COMPOSE_PROJECT_NAME").unwrap_or_else(|_| "ironmonger-test".to_owned());
        Self { dir, project: format!("{name}-{}-{port_base}", std::process::id()), port_base }
    }

    fn shop(&self, args: &[&str]) -> Command {
        let mut shop = Command::new(env!("CARGO_BIN_EXE_shop"));
        shop.args(args).env("IRONMONGER_HOME", self.dir.path()).env("COMPOSE_PROJECT_NAME", &self.project);
        // Also of the services: what they fail with is looked at.
        shop.env("RUST_LOG", "error");
        shop
    }

    fn up(&self) -> Command {
        self.shop(&["up", "--docker", "--detach", "--port-base", &self.port_base.to_string()])
    }

    fn succeeds(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.shop(args).output().unwrap();
        let (said, complained) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{args:?}: {said}\n{complained}");
        said.into_owned()
    }

    /// What `up` says when it fails: one sentence, and nothing is left running.
    fn refused(&self, up: &mut Command) -> String {
        let said = refused(up);
        assert_eq!(self.containers(), "", "something is left");
        assert!(!self.dir.path().join("shop/containers.json").exists(), "somebody will believe it");
        said
    }

    /// The ids of all containers of this shop.
    fn containers(&self) -> String {
        self.listed(&["--all"])
    }

    /// The ids of those that run.
    fn running(&self) -> String {
        self.listed(&[])
    }

    fn listed(&self, which: &[&str]) -> String {
        let label = format!("label=com.docker.compose.project={}", self.project);
        let listed = docker(&[&["ps", "--quiet", "--filter", &label], which].concat());
        String::from_utf8(listed.stdout).unwrap()
    }

    /// What an operator does by hand.
    fn compose(&self, args: &[&str]) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker-compose.yml");
        let mut compose = Command::new("docker");
        compose.args(["compose", "--project-name", &self.project, "--file", file]).args(args);
        let done = compose.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// What the container of `service` says to `docker`.
    fn of_container(&self, service: &str, docker_does: impl Fn(&str) -> Output) -> String {
        let id = self.listed(&["--filter", &format!("label=com.docker.compose.service={service}")]);
        let Output { status, stdout, stderr } = docker_does(id.trim());
        assert!(status.success(), "{service}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    /// With the role of the inventory service, from outside. What PostgreSQL's roles may not is tried by deploy/check.
    fn inventory_may_only_add_to_what_happened(&self) {
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let mongo = self.of_container("mongo", |id| docker(&["inspect", "--format", address, id]));
        let told = ["with-secrets", "printenv", "INVENTORY_MONGODB_URL"];
        let url = self.of_container("inventory", |id| docker(&[&["exec", id], &told[..]].concat()));
        let url = url.replace("@mongo:", &format!("@{mongo}:"));
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let client = mongodb::Client::with_uri_str(url).await.unwrap();
            let inventory = client.database("inventory");
            for happened in ["movement", "receipt", "shipment"] {
                let happened = inventory.collection::<Document>(happened);
                happened.find_one(doc! {}).await.unwrap();
                refuses(happened.delete_many(doc! {}).await);
                refuses(happened.update_many(doc! {}, doc! { "$set": { "pieces": 0 } }).await);
                refuses(happened.drop().await);
            }
            assert!(inventory.collection::<Document>("stock").count_documents(doc! {}).await.unwrap() > 0);
            refuses(client.database("other").collection::<Document>("any").insert_one(doc! {}).await);
            refuses(client.database("admin").run_command(doc! { "usersInfo": 1 }).await);
        });
    }

    /// The volume of orders as release 15 of PostgreSQL leaves it; the image that made it.
    fn older_postgres(&self) -> (String, String) {
        let (image, volume) =
            (std::env::var("POSTGRES_IMAGE").unwrap(), format!("{}_orders:/var/lib/postgresql", self.project));
        let older = "mkdir -p /var/lib/postgresql/15/docker && echo 15 >/var/lib/postgresql/15/docker/PG_VERSION";
        let run = ["run", "--rm", "--volume", &volume, "--entrypoint", "bash", &image, "-c", older];
        assert!(docker(&run).status.success());
        (image, volume)
    }

    /// The database of orders was made by a program whose first migration was another.
    fn another_schema_is_told(&self) {
        let (image, volume) =
            (std::env::var("POSTGRES_IMAGE").unwrap(), format!("{}_orders:/var/lib/postgresql", self.project));
        let change = "postgres --single -cwal_level=logical -D \"$PGDATA\" orders <<<\"update _sqlx_migrations set checksum = '\\x00'\"";
        let run =
            ["run", "--rm", "--user", "999:999", "--volume", &volume, "--entrypoint", "bash", &image, "-c", change];
        assert!(docker(&run).status.success());
        let said = self.refused(&mut self.up());
        assert!(said.starts_with("the data of order is of another version ("), "{said}");
        assert!(said.contains("was previously applied but has been modified"), "{said}");
    }
}

impl Drop for Place {
    /// Volumes too, whose names begin with that of the project.
    fn drop(&mut self) {
        let Ok(listed) = Command::new("docker")
            .args(["ps", "--all", "--quiet", "--filter"])
            .arg(format!("label=com.docker.compose.project={}", self.project))
            .output()
        else {
            return;
        };
        let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
        if !ids.is_empty() {
            docker(&[&["rm", "--force"], &ids.split_whitespace().collect::<Vec<_>>()[..]].concat());
        }
        for (kind, name) in [("network", "{{.Name}}"), ("volume", "{{.Name}}")] {
            let listed = docker(&[kind, "ls", "--format", name, "--filter", &format!("name={}_", self.project)]);
            for name in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
                docker(&[kind, "rm", name]);
            }
        }
    }
}

/// MongoDB does not let this role do it, says its code 13, `Unauthorized`.
fn refuses<T: std::fmt::Debug>(done: mongodb::error::Result<T>) {
    let refusal = done.unwrap_err();
    assert!(refusal.to_string().contains("(Unauthorized)"), "{refusal}");
}

fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).output().unwrap()
}

/// What the program says when it will not do what it is told: one sentence, and status 1.
fn refused(shop: &mut Command) -> String {
    let Output { status, stdout, stderr } = shop.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len(), said.lines().count()), (Some(1), 0, 1), "{said}");
    said.trim_end().to_owned()
}

//! Starting a shop in containers. All that can be known before is looked at before, so that little is half-started and then
//! removed again.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::File,
    io::{Read, Seek},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use servers::require_free_port;
use tokio::process::Child;
use tracing::info;

use super::{
    Contained, ENGINE, STOP_LIMIT,
    docker::{Container, DockerError, last_words, output, refusal, require_engine, said},
    require_none,
};
use crate::{Service, ShopError, state::Lock};

/// The description, at the root of the project.
const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker-compose.yml");

/// What chooses an image, and a container that runs it.
const IMAGES: [(&str, &str); 4] = [
    ("IRONMONGER_IMAGE", "order"),
    ("POSTGRES_IMAGE", "postgres-orders"),
    ("MONGO_IMAGE", "mongo"),
    ("KAFKA_IMAGE", "kafka"),
];

/// What chooses a port, and how far it lies above the base.
const PORTS: [(&str, Service, u16); 3] = [
    ("ORDER_PORT", Service::Order, 1),
    ("INVENTORY_PORT", Service::Inventory, 2),
    ("BILLING_PORT", Service::Billing, 3),
];

/// How images are called that no registry has.
const OFFLINE: &str = "ironmonger/offline-";

/// How often the start is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A container that has ended so often while it should come up does not.
const RESTARTS: u32 = 3;

/// How a container says that its data is of another version: PostgreSQL's entrypoint and its server, MongoDB, and the migrations of
/// our services.
const OTHER_VERSION: [&str; 6] = [
    "there appears to be PostgreSQL data in",
    "database files are incompatible with server",
    "Wrong mongod version",
    "UPGRADE PROBLEM",
    "was previously applied but has been modified",
    "was previously applied but is missing",
];

/// How the shop shall come up.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Removes all data first, and keys and passwords with it.
    pub fresh: bool,
    /// Services listen from this port + 1; without it, by the variables of the description.
    pub port_base: Option<u16>,
}

/// What `docker compose config` makes of the description.
#[derive(Deserialize)]
struct Config {
    name: String,
    services: BTreeMap<String, Described>,
}

#[derive(Deserialize)]
struct Described {
    image: String,
    build: Option<serde_json::Value>,
    #[serde(default)]
    ports: Vec<Published>,
}

#[derive(Deserialize)]
struct Published {
    published: String,
}

/// A shop that can come up in containers. As long as this is there nobody else brings one up, in containers or without.
#[derive(Debug)]
pub struct Start {
    shop: Contained,
    /// The ids of the containers that were there before, all of them stopped.
    before: BTreeSet<String>,
    _lock: Lock,
}

impl Start {
    /// Looks whether a shop can come up in containers, and fetches or builds the images that are missing. Nothing is started.
    ///
    /// # Errors
    /// [`DockerError`], [`ShopError::Running`] or [`ShopError::PortInUse`].
    pub async fn prepare(folder: &Path, wanted: Wanted) -> Result<Self, ShopError> {
        require_engine().await?;
        servers::require_writable(folder)?;
        let lock = Lock::take_for_containers(folder)?;
        require_none(folder).await?;
        let (shop, config) = Contained::configured(wanted.port_base).await?;
        let there = shop.containers().await?;
        // Whoever has started it may stop it: we could not bring it up without changing it, nor take back what we changed.
        if there.iter().any(Container::runs) {
            return Err(DockerError::ByHand { project: shop.project }.into());
        }
        shop.require_images(&config).await?;
        for (variable, service, _) in PORTS {
            let port = shop.variables.get(variable).and_then(|port| port.parse().ok());
            port.map_or(Ok(()), |port| require_free_port(port, &format!("the {} service", service.name())))?;
        }
        if wanted.fresh {
            shop.remove(true).await?;
        }
        let before = shop.containers().await?.into_iter().map(|container| container.id).collect();
        Ok(Self { shop, before, _lock: lock })
    }

    /// Starts everything in order of health and returns when orders can be placed. If that fails, what has been started is gone
    /// again; if the caller stops waiting, it is to call [`Start::undo`].
    ///
    /// # Errors
    /// [`DockerError::OtherVersion`], [`DockerError::Failed`] or [`DockerError::Refused`].
    pub async fn run(&self, folder: &Path) -> Result<(), ShopError> {
        self.shop.write(folder)?;
        let Err(error) = self.shop.come_up().await else { return Ok(()) };
        // Why it did not come up matters more than that it could not be removed either.
        let _ = self.undo(folder).await;
        Err(error.into())
    }

    /// Stops what has been started, and removes what was not there before.
    ///
    /// # Errors
    /// [`DockerError::Refused`].
    pub async fn undo(&self, folder: &Path) -> Result<(), ShopError> {
        if self.before.is_empty() {
            return self.shop.down(folder).await;
        }
        said(&mut self.shop.compose(["stop", "--timeout", STOP_LIMIT]), "stopping the shop").await?;
        let ids = self.shop.containers().await?.into_iter().map(|container| container.id);
        let new: Vec<String> = ids.filter(|id| !self.before.contains(id)).collect();
        if !new.is_empty() {
            said(self.shop.docker().args(["rm", "--force"]).args(new), "removing what was started").await?;
        }
        Contained::forget(folder);
        Ok(())
    }

    /// It is up, and others may know.
    pub fn up(self) -> Contained {
        self.shop
    }
}

impl Contained {
    async fn configured(port_base: Option<u16>) -> Result<(Self, Config), ShopError> {
        let mut variables = BTreeMap::new();
        for name in ENGINE {
            variables.extend(env::var(name).ok().map(|value| (name.to_owned(), value)));
        }
        for (name, _, offset) in PORTS {
            variables.extend(port_base.map(|base| (name.to_owned(), base.saturating_add(offset).to_string())));
        }
        let file = std::path::absolute(DESCRIPTION).map_err(ShopError::system("looking for docker-compose.yml"))?;
        let mut asked = Command::new("docker");
        asked.envs(&variables).args(["compose", "--file"]).arg(&file).args(["config", "--format", "json"]);
        let text = said(&mut asked, "reading docker-compose.yml").await?;
        let config: Config = serde_json::from_str(&text)
            .map_err(|error| DockerError::Refused { doing: "reading docker-compose.yml", said: error.to_string() })?;
        // Later commands are to find the same, whatever their environment is.
        for (name, container) in IMAGES {
            variables.extend(config.services.get(container).map(|it| (name.to_owned(), it.image.clone())));
        }
        for (name, service, _) in PORTS {
            let port = config.services.get(service.name()).and_then(|it| it.ports.first());
            variables.extend(port.map(|port| (name.to_owned(), port.published.clone())));
        }
        Ok((Self { file, project: config.name.clone(), variables }, config))
    }

    async fn require_images(&self, config: &Config) -> Result<(), ShopError> {
        let mut seen = BTreeSet::new();
        for (name, Described { image, build, .. }) in &config.services {
            let first = seen.insert(image);
            if !first || output(self.docker().args(["image", "inspect", image])).await?.status.success() {
                continue;
            }
            let image = image.clone();
            if image.starts_with(OFFLINE) {
                return Err(DockerError::NotBuilt { image }.into());
            }
            // All our containers run one image; one of them says how it is built.
            let builds = config.services.iter().find(|(_, it)| it.image == image && it.build.is_some());
            let verb = if builds.is_some() || build.is_some() { "build" } else { "pull" };
            info!("The image {image} is not here: docker compose {verb}.");
            let name = builds.map_or(name, |(name, _)| name);
            let had = output(&mut self.compose([verb, name])).await?;
            if !had.status.success() {
                let said = last_words(&String::from_utf8_lossy(&had.stderr));
                return Err(DockerError::NoImage { image, said }.into());
            }
        }
        Ok(())
    }

    /// Has docker compose bring all of it up, and looks meanwhile: it would wait for minutes for what ends again and again.
    async fn come_up(&self) -> Result<(), DockerError> {
        let doing = "starting the shop";
        let unwritten = |error: std::io::Error| DockerError::Refused { doing, said: error.to_string() };
        let mut complaints = tempfile::tempfile().map_err(unwritten)?;
        let mut up = self.compose(["up", "--detach", "--wait", "--no-build", "--pull", "never"]);
        up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints.try_clone().map_err(unwritten)?);
        let mut up = Group(tokio::process::Command::from(grouped(up)).spawn().map_err(|_| DockerError::Missing)?);
        let mut shown = BTreeSet::new();
        loop {
            let ended = tokio::time::timeout(LOOK_EVERY, up.0.wait()).await;
            let there = self.containers().await?;
            for container in there.iter().filter(|it| it.health == "healthy") {
                if shown.insert(container.service.clone()) {
                    info!("{} is healthy.", container.service);
                }
            }
            match ended {
                Ok(Ok(status)) if status.success() => return Ok(()),
                Ok(_) => return Err(self.why(&there, refusal(doing, &read(&mut complaints))).await),
                Err(_) if there.iter().any(ends_again_and_again) => {
                    drop(up);
                    return Err(self.why(&there, refusal(doing, &read(&mut complaints))).await);
                }
                Err(_) => {}
            }
        }
    }

    /// Why it did not come up: what the container says that is at fault, else what docker compose says.
    async fn why(&self, there: &[Container], otherwise: DockerError) -> DockerError {
        let failed = there.iter().find(|it| ends_again_and_again(it) || (!it.runs() && it.exit_code != 0));
        let failed = failed.or_else(|| there.iter().find(|it| it.health == "unhealthy"));
        let failed = failed.or_else(|| there.iter().find(|it| it.restarts > 0 && it.health != "healthy"));
        let Some(Container { id, service, .. }) = failed else { return otherwise };
        // Servers and services write to either.
        let Ok(log) = output(self.docker().args(["logs", "--tail", "60", id])).await else { return otherwise };
        let log = [log.stdout, log.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).join("\n");
        let container = service.clone();
        match other_version(&log) {
            Some(said) => DockerError::OtherVersion { container, said },
            None => DockerError::Failed { container, said: last_words(&log) },
        }
    }
}

/// What `log` says of data of another version, without what stands around it in a line of a log.
fn other_version(log: &str) -> Option<String> {
    log.lines().find_map(|line| {
        let at = OTHER_VERSION.iter().find_map(|words| line.find(words))?;
        let start = [line[..at].rfind(": ").map(|colon| colon + 2), line[..at].rfind('"').map(|quote| quote + 1)];
        let told = &line[start.into_iter().flatten().max().unwrap_or(0)..];
        Some(told.split('"').next().unwrap_or(told).trim().to_owned())
    })
}

fn ends_again_and_again(container: &Container) -> bool {
    container.restarts >= RESTARTS && container.health != "healthy"
}

fn read(file: &mut File) -> String {
    let mut text = Vec::new();
    // What cannot be read is not told.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

/// In a process group of its own, because docker runs compose as a process of its own, which would outlive it.
fn grouped(mut command: Command) -> Command {
    command.process_group(0);
    command
}

/// A process whose whole group is killed if nobody waits for it any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it has ended.
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_another_version_is_told_in_the_words_of_who_found_it() {
        let told = [
            "there appears to be PostgreSQL data in: /var/lib/postgresql (release 15)",
            "2026-01-31 10:00:00 UTC [1] FATAL:  database files are incompatible with server",
            r#"{"t":{"$date":"2026"},"s":"F","msg":"Wrong mongod version","attr":{"error":"UPGRADE PROBLEM"}}"#,
            "2026-01-31T10:00:00Z ERROR order: the schema could not be brought up to date: migration 1 was previously applied but \
             has been modified",
        ];
        assert_eq!(
            told.map(|line| other_version(&format!("up\n{line}\nover")).unwrap()),
            [
                "there appears to be PostgreSQL data in: /var/lib/postgresql (release 15)",
                "database files are incompatible with server",
                "Wrong mongod version",
                "migration 1 was previously applied but has been modified",
            ]
        );
        assert_eq!(other_version("up\nover"), None);
        let healthy = r#"{"s":"I","msg":"Setting featureCompatibilityVersion","attr":{"newVersion":"6.0"}}"#;
        assert_eq!(other_version(healthy), None);
    }
}

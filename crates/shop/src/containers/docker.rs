//! What the engine is asked, by its own program, and what it says when it refuses.

use std::{
    env, io,
    process::{Command, Output, Stdio},
};

use crate::ShopError;

/// What docker would not do, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// There is no program `docker`.
    #[error(
        "docker is missing: apt-get install docker.io, or run the shop without containers: `cargo shop up --native`"
    )]
    Missing,
    /// Its part `compose` is not there.
    #[error(
        "docker compose is missing: install the package docker-compose-plugin of Docker, or docker-compose of Debian 13"
    )]
    NoCompose,
    /// Nobody listens.
    #[error(
        "no Docker engine answers at {at}: start one (`systemctl start docker`, or as root `dockerd`), or run the shop \
         without containers: `cargo shop up --native`"
    )]
    NoEngine {
        /// Where it was looked for.
        at: String,
    },
    /// Somebody listens, and not to us.
    #[error(
        "you may not use the Docker engine at {at}: run this as root, or have root put you into the engine's group \
         (`usermod --append --groups docker $USER`) and log in again"
    )]
    NotAllowed {
        /// Where it was looked for.
        at: String,
    },
    /// An image that only `deploy/offline/build` makes.
    #[error("the image {image} is not here: `deploy/offline/build` makes it")]
    NotBuilt {
        /// Its name.
        image: String,
    },
    /// An image that is neither here nor to be had.
    #[error(
        "the image {image} is not here and cannot be had ({said}): without an image registry, deploy/offline/build makes \
         images, and COMPOSE_ENV_FILES=deploy/offline/images.env chooses them"
    )]
    NoImage {
        /// Its name.
        image: String,
        /// What docker said.
        said: String,
    },
    /// A volume with data that this version cannot go on with.
    #[error(
        "the data of {container} is of another version ({said}): go on with the version that wrote it, or remove all data with \
         `cargo shop up --docker --fresh`"
    )]
    OtherVersion {
        /// Whose data.
        container: String,
        /// How it said so.
        said: String,
    },
    /// A container ended, or is not healthy.
    #[error("{container} does not come up ({said}): nothing is left running, and the data is kept")]
    Failed {
        /// Which one.
        container: String,
        /// Its last words.
        said: String,
    },
    /// Anything else.
    #[error("docker failed at {doing}: {said}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        said: String,
    },
    /// It runs in containers.
    #[error("the shop is up already, in containers: see `cargo shop status`, stop it with `cargo shop down`")]
    Running,
    /// Another `up` has begun, and has not ended.
    #[error("the shop is coming up already, in containers (process {pid}): wait for it, or end that process")]
    Starting {
        /// The process that brings it up.
        pid: u32,
    },
    /// Somebody has started it without us.
    #[error(
        "the shop runs already, started by `docker compose up`: ask it by `docker compose run --rm shop`, or stop it with \
         `docker compose --project-name {project} down`, which keeps the data"
    )]
    ByHand {
        /// Its name at the engine.
        project: String,
    },
    /// A flag that the shop in containers does not know.
    #[error("{flag} is for a shop without containers: leave it out, or add --native")]
    OnlyNative {
        /// Which one.
        flag: &'static str,
    },
}

/// A container of the shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    /// Its name in the description.
    pub(super) service: String,
    /// As docker calls it: `running`, `restarting`, `exited`.
    pub(super) status: String,
    pub(super) exit_code: i32,
    pub(super) restarts: u32,
    /// As docker calls it: `healthy`, `unhealthy`, `starting`. `none` if nobody looks.
    pub(super) health: String,
    /// When it was started last, in the format of RFC 3339.
    pub(super) started: String,
}

/// How `docker inspect` shall show a container: a line that [`Container::read`] reads.
const SHOWN: &str = "{{.ID}} {{index .Config.Labels \"com.docker.compose.service\"}} {{.State.Status}} {{.State.ExitCode}} \
                     {{.RestartCount}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.State.StartedAt}}";

impl Container {
    fn read(line: &str) -> Option<Self> {
        let [id, service, status, exit_code, restarts, health, started] = line.split(' ').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        Some(Self {
            id: id.to_owned(),
            service: service.to_owned(),
            status: status.to_owned(),
            exit_code: exit_code.parse().ok()?,
            restarts: restarts.parse().ok()?,
            health: health.to_owned(),
            started: started.to_owned(),
        })
    }

    pub(super) fn runs(&self) -> bool {
        self.status == "running"
    }
}

/// The containers of `project`, running or not, but those that are run for a while by hand.
pub(super) async fn containers(docker: impl Fn() -> Command, project: &str) -> Result<Vec<Container>, DockerError> {
    let doing = "listing containers";
    let mut listed = docker();
    listed.args(["ps", "--all", "--quiet", "--filter"]).arg(format!("label=com.docker.compose.project={project}"));
    let ids = said(listed.args(["--filter", "label=com.docker.compose.oneoff=False"]), doing).await?;
    if ids.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut shown = docker();
    let shown = shown.args(["inspect", "--type", "container", "--format", SHOWN]).args(ids.split_whitespace());
    let output = output(shown).await?;
    // One that has gone meanwhile is complained of, and the others are shown.
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut containers: Vec<Container> = lines.lines().filter_map(Container::read).collect();
    containers.sort_by(|one, other| one.service.cmp(&other.service));
    Ok(containers)
}

/// Makes sure that there is an engine that answers us, and compose.
///
/// # Errors
/// What is missing of it.
pub async fn require_engine() -> Result<(), ShopError> {
    let mut version = Command::new("docker");
    said(version.args(["version", "--format", "{{.Server.Version}}"]), "asking the engine").await?;
    let mut compose = Command::new("docker");
    let answer = output(compose.args(["compose", "version"])).await?;
    if answer.status.success() { Ok(()) } else { Err(DockerError::NoCompose.into()) }
}

/// What `command` says on standard output, once it has ended well.
pub(super) async fn said(command: &mut Command, doing: &'static str) -> Result<String, DockerError> {
    let Output { status, stdout, stderr } = output(command).await?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(refusal(doing, &String::from_utf8_lossy(&stderr)))
}

/// What `command` says, however it ends.
pub(super) async fn output(command: &mut Command) -> Result<Output, DockerError> {
    let mut command = tokio::process::Command::from(std::mem::replace(command, Command::new("docker")));
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(|_| DockerError::Missing)
}

/// For an `exec` that came back.
pub(super) fn missing(_error: io::Error) -> ShopError {
    DockerError::Missing.into()
}

/// What docker's complaint means.
pub(super) fn refusal(doing: &'static str, complaint: &str) -> DockerError {
    let at = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let at = at.unwrap_or_else(|| "unix:///var/run/docker.sock".into());
    let small = complaint.to_lowercase();
    if small.contains("permission denied") && small.contains("connect") {
        return DockerError::NotAllowed { at };
    }
    let silent = ["cannot connect to the docker daemon", "error during connect", "no such host", "failed to connect"];
    if silent.iter().any(|words| small.contains(words)) {
        return DockerError::NoEngine { at };
    }
    DockerError::Refused { doing, said: last_words(complaint) }
}

/// The last line that says something.
pub(super) fn last_words(text: &str) -> String {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_as_it_is_shown() {
        let line = "4f1c order running 0 2 healthy 2026-01-31T10:00:00.5Z";
        let container = Container::read(line).unwrap();
        assert_eq!((container.service.as_str(), container.restarts, container.runs()), ("order", 2, true));
        assert_eq!(Container::read("4f1c order running"), None);
    }

    /// The words are those of Docker 20.10 and 28.
    #[test]
    fn what_the_engine_refuses_is_told_apart() {
        let silent = "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?";
        assert!(matches!(refusal("it", silent), DockerError::NoEngine { .. }));
        let closed =
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
        assert!(matches!(refusal("it", closed), DockerError::NotAllowed { .. }));
        let other = refusal("pulling", "Pulling\nno space left on device\n\n").to_string();
        assert_eq!(other, "docker failed at pulling: no space left on device");
    }
}

//! The shop in containers, as `docker-compose.yml` describes it: started, stopped and asked from here.
//!
//! | module | holds |
//! |---|---|
//! | [`Contained`] | a shop in containers, as `up` wrote it down, and what other commands do with it |
//! | `up` | what must be so before anything starts, the start, and why it failed |
//! | `docker` | what the engine is asked, and [`DockerError`]: what it refuses, in a sentence that says what to do |
//! | `status` | what runs, as a table |
//!
//! Nobody but the containers reaches the stores, so what asks them (`audit`, `dead`, `token` and so on) is done by the same program
//! in a container of its own, which `docker compose run` starts.

mod docker;
mod status;
mod up;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use docker::{Container, containers, said};
pub use docker::{DockerError, require_engine};
pub use up::{Start, Wanted};

use crate::{ShopError, token::write_for_owner};

/// The name of the file in the shop's folder that says that the shop is in containers.
const FILE: &str = "containers.json";

/// Runs our program in a container of its own.
const RUN: [&str; 5] = ["run", "--rm", "--no-TTY", "--no-deps", "shop"];

/// How long a container may take to stop. Unit: seconds. A service has its own, shorter limit.
const STOP_LIMIT: &str = "30";

/// How much of each log is shown at first. Unit: lines.
const TAIL: &str = "100";

/// What chooses an engine. Which one it was is written down, so that a later command asks the same.
const ENGINE: [&str; 2] = ["DOCKER_HOST", "DOCKER_CONTEXT"];

/// What the native shop calls otherwise.
const ALIASES: [(&str, &str); 2] = [("pg-orders", "postgres-orders"), ("pg-billing", "postgres-billing")];

/// Makes sure that no shop that `up` has brought up in containers of `folder` is up still: which of two is meant would not be
/// known. Without its engine nothing of it can run; that it is gone is given back, for whoever wants to tell.
///
/// # Errors
/// [`DockerError::Running`], or its engine cannot be asked.
pub async fn require_none(folder: &Path) -> Result<Option<DockerError>, ShopError> {
    match Contained::find(folder).await {
        Ok(Some(_)) => Err(DockerError::Running.into()),
        Ok(None) => Ok(None),
        Err(ShopError::Docker(gone @ (DockerError::NoEngine { .. } | DockerError::Missing))) => Ok(Some(gone)),
        Err(error) => Err(error),
    }
}

/// A shop in containers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contained {
    /// The description.
    file: PathBuf,
    /// What docker compose calls it.
    project: String,
    /// The variables by which images, ports and the engine were chosen when it came up.
    variables: BTreeMap<String, String>,
}

impl Contained {
    /// The shop of `folder`, if `up` has brought one up in containers and it is up still.
    ///
    /// # Errors
    /// [`DockerError`] if there is one and its engine cannot be asked.
    pub async fn find(folder: &Path) -> Result<Option<Self>, ShopError> {
        let Some(shop) = Self::written(folder) else { return Ok(None) };
        let is_up = shop.containers().await?.iter().any(|container| container.runs());
        Ok(is_up.then_some(shop))
    }

    fn written(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
    }

    fn write(&self, folder: &Path) -> Result<(), ShopError> {
        let text = serde_json::to_string_pretty(self).expect("texts are always JSON");
        write_for_owner(&folder.join(FILE), &text)
    }

    /// Has the program do `arguments` in a container, in place of this process.
    ///
    /// # Errors
    /// Only if docker cannot be started; else this process is docker, and ends as the program in the container does.
    pub fn run(&self, arguments: impl Iterator<Item = OsString>) -> ShopError {
        docker::missing(self.compose(RUN).args(arguments).exec())
    }

    /// Audits the books in a container, prints what it finds, and gives the audit's exit status; none if nothing was audited:
    /// docker ends with 1 too when it fails itself, and that is no verdict.
    ///
    /// # Errors
    /// Only if docker cannot be started.
    pub async fn audit(&self) -> Result<Option<u8>, ShopError> {
        let mut audit = tokio::process::Command::from(self.compose(RUN));
        audit.arg("audit").stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        let audited = audit.output().await.map_err(docker::missing)?;
        print!("{}", String::from_utf8_lossy(&audited.stdout));
        let status = audited.status.code().and_then(|status| u8::try_from(status).ok());
        Ok(status.filter(|_| !audited.stdout.is_empty()))
    }

    /// Shows the end of the logs of `name`, or of all, in place of this process.
    ///
    /// # Errors
    /// [`ShopError::UnknownPart`], or docker cannot be asked.
    pub async fn logs(&self, name: Option<&str>, follow: bool) -> ShopError {
        let containers = match self.containers().await {
            Ok(containers) => containers,
            Err(error) => return error.into(),
        };
        let wanted = name.map(|name| ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name));
        let known: Vec<&str> = containers.iter().map(|container| container.service.as_str()).collect();
        if let Some(wanted) = wanted.filter(|wanted| !known.contains(wanted)) {
            return ShopError::UnknownPart { wanted: wanted.to_owned(), known: known.join(", ") };
        }
        let mut logs = self.compose(["logs", "--no-color", "--tail", TAIL]);
        docker::missing(logs.args(follow.then_some("--follow")).args(wanted).exec())
    }

    /// Stops everything and removes the containers; the data stays.
    ///
    /// # Errors
    /// [`DockerError::Refused`].
    pub async fn down(&self, folder: &Path) -> Result<(), ShopError> {
        self.remove(false).await?;
        Self::forget(folder);
        Ok(())
    }

    fn forget(folder: &Path) {
        // A file that stays does no harm: nobody believes it while nothing runs.
        let _ = fs::remove_file(folder.join(FILE));
    }

    async fn remove(&self, data_too: bool) -> Result<(), DockerError> {
        let mut down = self.compose(["down", "--timeout", STOP_LIMIT, "--remove-orphans"]);
        down.args(data_too.then_some("--volumes"));
        said(&mut down, "stopping the shop").await.map(drop)
    }

    /// Every container of the shop, running or not, but those that operators run for a while.
    async fn containers(&self) -> Result<Vec<Container>, DockerError> {
        containers(|| self.docker(), &self.project).await
    }

    fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        ENGINE.iter().for_each(|name| _ = docker.env_remove(name));
        docker.envs(&self.variables);
        docker
    }

    fn compose<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut compose = self.docker();
        // What the file says is in our variables, and its name may be relative to another folder.
        compose.env_remove("COMPOSE_ENV_FILES");
        compose.args(["compose", "--progress", "quiet", "--project-name", &self.project, "--file"]);
        compose.arg(&self.file).args(arguments);
        compose
    }
}

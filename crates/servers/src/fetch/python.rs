//! Programs of Python's package index, which tests run.
//!
//! They are installed into a folder of their own and not into an environment: Debian has pip in one package, and what makes
//! environments in another. What was built for one version of Python may not run on another, so the folder says which.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Work, lock, needs, progress::Progress, sweep};
use crate::{Home, ServerError, home};

/// A program, with all it needs.
#[derive(Debug, Clone, Copy)]
pub struct PythonTool {
    /// Name and version, to be shown.
    pub name: &'static str,
    /// The beginning of its folder's name.
    pub folder: &'static str,
    /// What pip installs, such as `tool==1.2.3`.
    pub package: &'static str,
    /// The version of everything else that it needs, as pip reads a file of constraints.
    pub constraints: &'static str,
    /// What is to be fetched, about. Unit: bytes.
    pub size: u64,
}

/// Fetches `tool` if it is not there yet. Gives the folder that `PYTHONPATH` has to name for it.
///
/// # Errors
/// Python is missing or older than 3.11, the network is out of reach, or the state folder cannot be written to.
pub async fn python_tool(home: &Home, tool: &PythonTool) -> Result<PathBuf, ServerError> {
    needs::require_pip()?;
    let folder = home.servers().join(format!("{}-python{}", tool.folder, version()?));
    if folder.exists() {
        return Ok(folder);
    }
    let servers = home.servers();
    home::require_writable(home.path())?;
    home::require_writable(&servers)?;
    let _lock = lock(&servers.join("lock")).await?;
    sweep(&servers)?;
    // Another process may have fetched it while we waited for the lock.
    if !folder.exists() {
        install(home, tool, &folder).await?;
    }
    Ok(folder)
}

async fn install(home: &Home, tool: &PythonTool, folder: &Path) -> Result<(), ServerError> {
    let work = Work::begin(home, Progress::new().line(tool.name, tool.size))?;
    let constraints = work.path("constraints.txt");
    fs::write(&constraints, tool.constraints).map_err(ServerError::not_writable(&constraints))?;
    let (constraints, files) = (constraints.display().to_string(), work.path("files").display().to_string());
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    let args = [&install[..], &["--target", &files, "--constraint", &constraints, tool.package]].concat();
    work.run(tool.name, "pip", "python3", &args).await?;
    work.put_in_place(folder)?;
    work.line.done();
    Ok(())
}

/// Such as `3.11`.
fn version() -> Result<String, ServerError> {
    let missing = ServerError::Missing { what: "Python 3.11", install: "apt-get install python3 python3-pip" };
    let says = "import sys; assert sys.version_info >= (3, 11); print('%d.%d' % sys.version_info[:2])";
    let ran = Command::new("python3").args(["-c", says]).output();
    let said = ran.ok().filter(|ran| ran.status.success()).and_then(|ran| String::from_utf8(ran.stdout).ok());
    said.map(|version| version.trim().to_owned()).ok_or(missing)
}

//! Programs of Python's package index, which tests run.
//!
//! They are installed into a folder of their own and not into an environment: Debian has pip in one package, and what makes
//! environments in another. What was built for one version of Python may not run on another, so the folder says which.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tokio::time::timeout;

use super::{Work, lock, needs, progress::Progress, sweep};
use crate::{Home, ServerError, guard, home};

/// How long a tool may take to say its version: Python compiles all modules first.
const FIRST_RUN: Duration = Duration::from_secs(120);

/// A program, with all it needs.
#[derive(Debug, Clone, Copy)]
pub struct PythonTool {
    /// Name and version, to be shown.
    pub name: &'static str,
    /// The beginning of its folder's name.
    pub folder: &'static str,
    /// It and all that it needs: versions and hashes, as pip reads a file of requirements.
    pub requirements: &'static str,
    /// The module that Python runs as the program.
    pub module: &'static str,
    /// What is to be fetched, about. Unit: bytes.
    pub size: u64,
}

/// Fetches `tool` if it is not there yet. Gives the folder that `PYTHONPATH` has to name for it.
///
/// # Errors
/// Python is missing or older than 3.11, the network is out of reach, what it gave has another hash, the tool does not run, or
/// the state folder cannot be written to.
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
    let requirements = work.path("requirements.txt");
    fs::write(&requirements, tool.requirements).map_err(ServerError::not_writable(&requirements))?;
    let (requirements, files) = (requirements.display().to_string(), work.path("files"));
    let target = files.display().to_string();
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    let args = [&install[..], &["--require-hashes", "--target", &target, "--requirement", &requirements]].concat();
    work.run(tool.name, "pip", "python3", &args).await?;
    require_runs(tool, &files).await?;
    work.put_in_place(folder)?;
    work.line.done();
    Ok(())
}

/// Runs the tool in `files` with `--version`: something it needs may be missing, or not run here.
async fn require_runs(tool: &PythonTool, files: &Path) -> Result<(), ServerError> {
    let mut run = tokio::process::Command::new("python3");
    run.args(["-m", tool.module, "--version"]).env("PYTHONPATH", files).env("PYTHONNOUSERSITE", "1").kill_on_drop(true);
    let unusable = |reason| ServerError::Unusable { server: tool.name, reason };
    let ran = timeout(FIRST_RUN, run.output()).await.map_err(|_elapsed| unusable("it does not end".to_owned()))?;
    let ran = ran.map_err(|error| unusable(error.to_string()))?;
    if ran.status.success() { Ok(()) } else { Err(unusable(guard::complaint(&ran.stderr))) }
}

/// Such as `3.11`.
fn version() -> Result<String, ServerError> {
    let missing = ServerError::Missing { what: "Python 3.11", install: "apt-get install python3 python3-pip" };
    let says = "import sys; assert sys.version_info >= (3, 11); print('%d.%d' % sys.version_info[:2])";
    let ran = Command::new("python3").args(["-c", says]).output();
    let said = ran.ok().filter(|ran| ran.status.success()).and_then(|ran| String::from_utf8(ran.stdout).ok());
    said.map(|version| version.trim().to_owned()).ok_or(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tool_that_does_not_run_is_told_from_one_that_does() {
        let files = tempfile::tempdir().unwrap();
        let tool = PythonTool { name: "a tool", folder: "tool", requirements: "", module: "tool", size: 0 };
        let said = require_runs(&tool, files.path()).await.unwrap_err().to_string();
        assert!(
            said.starts_with("a tool was fetched but cannot be used: ") && said.contains("No module named"),
            "{said}"
        );
        fs::write(files.path().join("tool.py"), "print('1.0')").unwrap();
        require_runs(&tool, files.path()).await.unwrap();
        fs::write(files.path().join("tool.py"), "import what_it_needs").unwrap();
        assert!(require_runs(&tool, files.path()).await.unwrap_err().to_string().contains("what_it_needs"));
    }
}

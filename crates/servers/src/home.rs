//! Where fetched servers and their data live, and who owns them.

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::ServerError;

/// The state folder. Below it: `servers/`, fetched once and shared; whatever else its users keep there.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// `$IRONMONGER_HOME`, else `$XDG_STATE_HOME/ironmonger`, else `/var/tmp/ironmonger-<user>`.
    pub fn of_this_user() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let fallback = || PathBuf::from(format!("/var/tmp/ironmonger-{}", user_name()));
        let home = set("IRONMONGER_HOME")
            .or_else(|| set("XDG_STATE_HOME").map(|state| state.join("ironmonger")))
            .unwrap_or_else(fallback);
        Self::at(home)
    }

    /// The state folder at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self(std::path::absolute(&path).unwrap_or(path))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where fetched servers live.
    pub fn servers(&self) -> PathBuf {
        self.0.join("servers")
    }
}

/// Creates `folder` and its parents and makes sure that it can be written to.
///
/// # Errors
/// [`ServerError::NotWritable`].
pub fn require_writable(folder: &Path) -> Result<(), ServerError> {
    let known = folder.exists();
    fs::create_dir_all(folder).map_err(ServerError::not_writable(folder))?;
    if !known {
        // Whatever the umask says: PostgreSQL may have to pass through as another user.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder, open).map_err(ServerError::not_writable(folder))?;
    }
    tempfile::tempfile_in(folder).map_err(ServerError::not_writable(folder))?;
    Ok(())
}

/// The user that PostgreSQL runs as when we are root, because it refuses to be root itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    /// The user id.
    pub(crate) uid: u32,
    /// The id of its main group.
    pub(crate) gid: u32,
}

/// Its name.
const NOBODY: &str = "nobody";

impl User {
    /// `None` if we are not root: then everything runs as ourselves.
    pub(crate) fn instead_of_root() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let known = fs::read_to_string("/etc/passwd").ok().and_then(|passwd| entry_of(NOBODY, &passwd));
        Some(known.unwrap_or(Self { uid: 65534, gid: 65534 }))
    }

    /// Makes sure that this user can enter `folder`.
    pub(crate) fn require_enterable(self, folder: &Path) -> Result<(), ServerError> {
        let closed = folder.ancestors().find(|ancestor| {
            let Ok(found) = fs::metadata(ancestor) else { return false };
            let bit = if found.uid() == self.uid {
                0o100
            } else if found.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            found.mode() & bit == 0
        });
        closed.map_or(Ok(()), |folder| Err(ServerError::NotEnterable { folder: folder.into(), user: NOBODY }))
    }
}

/// User and group id of `name` in the text of `/etc/passwd`.
fn entry_of(name: &str, passwd: &str) -> Option<User> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// The name behind our user id, or the id where it has no name.
fn user_name() -> String {
    let named = Command::new("id").arg("-un").output().ok().filter(|ran| ran.status.success());
    let name = named.and_then(|ran| String::from_utf8(ran.stdout).ok()).map(|name| name.trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| rustix::process::getuid().as_raw().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_user_by_its_whole_name() {
        let passwd = "nobody2:x:7:8::/:\nnobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(entry_of("nobody", passwd), Some(User { uid: 65534, gid: 65533 }));
        assert_eq!(entry_of("somebody", passwd), None);
    }

    #[test]
    fn a_closed_folder_is_named() {
        let outer = tempfile::tempdir().unwrap();
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let inner = outer.path().join("data");
        fs::create_dir(&inner).unwrap();
        let stranger = User { uid: 4_000_000, gid: 4_000_000 };
        let Err(ServerError::NotEnterable { folder, .. }) = stranger.require_enterable(&inner) else {
            panic!("the outer folder has mode 0700");
        };
        assert_eq!(folder, outer.path());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let below = file.path().join("home");
        let refused = require_writable(&below).unwrap_err().to_string();
        assert!(refused.contains("set IRONMONGER_HOME"), "{refused}");
    }
}

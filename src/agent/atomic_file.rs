//! Files that are replaced as a whole.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

/// What is written before it takes the file's place.
pub(super) fn next_of(path: &Path) -> PathBuf {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    next.into()
}

/// Replaces the file by what `write` writes; after a power loss either the old or the new content is there, never a part.
///
/// # Errors
/// Those of `write`, or the system's. The old content stays.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let next = next_of(path);
    let mut writer = BufWriter::new(File::create(&next)?);
    write(&mut writer)?;
    let file = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    // The rename is durable only once the directory is synced.
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

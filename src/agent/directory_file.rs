//! Which directory of manifests was read last, on disk. An agent that starts while its file system is not mounted would take
//! the empty mount point for that directory without its files, and withdraw everything.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::atomic_file;
use crate::cluster::DirectoryId;

/// Its name in the run directory.
pub(super) const NAME: &str = "manifests.json";

#[derive(Serialize, Deserialize)]
struct Entry {
    /// The path by which it was read.
    path: PathBuf,
    directory: DirectoryId,
}

/// The directory that had manifests when it was last read by `path`. `None` if there was none, or the file cannot be used,
/// which is logged.
pub(super) fn load(run_dir: &Path, path: &Path) -> Option<DirectoryId> {
    let file = run_dir.join(NAME);
    let read = fs::read(&file).and_then(|text| Ok(serde_json::from_slice::<Entry>(&text)?));
    match read {
        Ok(entry) => (entry.path == path).then_some(entry.directory),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::error!(path = %file.display(), "which directory was read last is not known: {error}; an empty one counts as empty");
            None
        }
    }
}

/// Keeps which directory was read by `path`.
///
/// # Errors
/// The file cannot be written; the old one stays.
pub(super) fn save(run_dir: &Path, path: &Path, directory: DirectoryId) -> io::Result<()> {
    atomic_file::replace(&run_dir.join(NAME), |file| {
        let path = path.to_owned();
        serde_json::to_writer(&mut *file, &Entry { path, directory })?;
        file.write_all(b"\n")
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_directory_of_this_path_is_known_again() {
        let dir = TempDir::new().unwrap();
        let path = Path::new("/etc/directway/manifests");
        assert_eq!(load(dir.path(), path), None);
        let id = DirectoryId {
            device: 65_025,
            inode: u64::MAX,
        };
        save(dir.path(), path, id).unwrap();
        assert_eq!(load(dir.path(), path), Some(id));
        assert_eq!(load(dir.path(), Path::new("/srv")), None);
        fs::write(dir.path().join(NAME), "{").unwrap();
        assert_eq!(load(dir.path(), path), None);
        assert!(save(&dir.path().join("none"), path, id).is_err());
    }
}

//! The last good snapshot on disk, beside the ledger: an agent that is started while its sources cannot be read serves,
//! renews and elects with it.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use super::atomic_file;
use crate::{
    cluster::{SavedError, SourceName, Store, restore, save},
    model::Snapshot,
};

/// Its name in the run directory.
pub(super) const NAME: &str = "snapshot.jsonl";
/// In bytes. 10,000 VirtualServices take about 6 MiB.
const MAX_SIZE: u64 = 64 << 20;

/// What was known when the file was written.
#[derive(Debug)]
pub struct LastKnown {
    /// All of it.
    pub store: Store,
    /// When that was, as text.
    pub at: String,
}

/// Where a snapshot is kept.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    /// The name of the source, so that an agent that gets another one does not use the file.
    source: String,
}

impl SnapshotFile {
    /// In this run directory, of the source that prints as `source`.
    pub fn new(run_dir: &Path, source: String) -> Self {
        Self {
            path: run_dir.join(NAME),
            source,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file by what was known at the time `at`; syncs the disk.
    ///
    /// # Errors
    /// The system's, or the snapshot is too large. The older file stays.
    pub fn save(&self, snapshot: &Snapshot, at: &str) -> io::Result<()> {
        atomic_file::replace(&self.path, |file| {
            let mut limited = Limited {
                file,
                left: MAX_SIZE,
            };
            save(snapshot, &self.source, at, &mut limited)
        })
    }

    /// What was saved, as a store of `sources`. `None` if there is no file, or none that can be used, which is logged.
    pub fn load(&self, sources: &[SourceName]) -> Option<LastKnown> {
        match self.read(sources) {
            Ok((store, at)) => Some(LastKnown { store, at }),
            Err(SavedError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(path = %self.path.display(), "the saved snapshot is not used: {error}");
                None
            }
        }
    }

    fn read(&self, sources: &[SourceName]) -> Result<(Store, String), SavedError> {
        // A longer file has no end, and is refused for that.
        let text = BufReader::new(File::open(&self.path)?.take(MAX_SIZE));
        restore(text, &self.source, sources)
    }
}

/// Fails instead of writing more than `left` bytes.
struct Limited<W> {
    file: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = bytes.len() as u64;
        self.left = self.left.checked_sub(size).ok_or_else(|| {
            let cause = format!("it is larger than {} MiB", MAX_SIZE >> 20);
            io::Error::new(io::ErrorKind::FileTooLarge, cause)
        })?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        cluster::Change,
        model::{Directing, Mac, Node, PeerState, ReservedAs},
    };

    const SOURCES: [SourceName; 2] = [SourceName::Nodes, SourceName::NodeStates];

    fn known() -> Store {
        let mut store = Store::new(&SOURCES);
        let node = Node {
            labels: [("rack".to_owned(), "a".to_owned())].into(),
            weight: Some("3".to_owned()),
            drained: true,
            addresses: vec![[10, 0, 0, 1].into()],
            cordoned: true,
            silent: false,
        };
        let peer = PeerState {
            addresses: [[10, 0, 0, 1].into()].into(),
            reserved: [([10, 0, 0, 254].into(), ReservedAs::NextHop)].into(),
            macs: [([10, 0, 0, 1].into(), Mac([2, 0, 0, 0, 0, 1]))].into(),
            bound: [[10, 0, 0, 100].into(), [10, 0, 0, 101].into()].into(),
            held: [[10, 0, 0, 100].into()].into(),
            incomplete: [[10, 0, 0, 101].into()].into(),
            directing: vec![Directing {
                vips: [[10, 0, 0, 100].into()].into(),
                ports: ["443/TCP".parse().unwrap()].into(),
                ready: [[10, 0, 0, 11].into()].into(),
                draining: [[10, 0, 0, 12].into()].into(),
                ..Directing::default()
            }],
            partial: true,
        };
        store.apply([
            Change::Node("a".into(), node),
            Change::Peer("a".into(), peer),
            Change::Undo(Some("now".to_owned())),
        ]);
        store
    }

    fn file(dir: &TempDir) -> SnapshotFile {
        SnapshotFile::new(dir.path(), "kubernetes".to_owned())
    }

    #[test]
    fn what_was_saved_is_known_again() {
        let dir = TempDir::new().unwrap();
        assert!(file(&dir).load(&SOURCES).is_none());
        file(&dir).save(known().snapshot(), "now").unwrap();
        let read = file(&dir).load(&SOURCES).unwrap();
        assert_eq!(read.store.snapshot(), known().snapshot());
        assert!(read.store.is_synced());
        assert_eq!(read.at, "now");
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["snapshot.jsonl"], "nothing else is left behind");
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let dir = TempDir::new().unwrap();
        let file = file(&dir);
        file.save(known().snapshot(), "now").unwrap();
        let good = fs::read_to_string(&file.path).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        for bad in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            lines[..lines.len() - 1].join("\n"),
            format!("{}\n{}", lines[0], lines[2..].join("\n")),
            lines[1..].join("\n"),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("kubernetes", "dir:/etc/directway"),
            good.replace("10.0.0.100", "10.0.0.0/8"),
        ] {
            fs::write(&file.path, &bad).unwrap();
            assert!(file.load(&SOURCES).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_too_large_leaves_the_older_file() {
        let mut limited = Limited {
            file: Vec::new(),
            left: 3,
        };
        assert!(limited.write_all(b"abc").is_ok());
        assert!(limited.write_all(b"d").is_err());
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        let failed = atomic_file::replace(&path, |_| Err(io::Error::other("no")));
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }
}

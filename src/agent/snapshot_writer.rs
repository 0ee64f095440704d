//! The thread that writes the snapshot to disk. At 10,000 VirtualServices the file has several MiB, and no pass shall wait
//! for a disk: passes only send what is to be written.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::snapshot_file::SnapshotFile;
use crate::{cluster::Store, model::Snapshot};

/// The least time between two snapshots that are sent: NodeStates change all the time.
const PACE: Duration = Duration::from_secs(30);
/// How soon a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What was known, and when.
#[derive(Clone, Debug)]
struct Known {
    snapshot: Arc<Snapshot>,
    at: jiff::Timestamp,
}

/// Holds at most one snapshot, the newest: a disk that is slower than the changes does not make a queue grow.
#[derive(Debug, Default)]
struct Slot {
    state: Mutex<SlotState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SlotState {
    newest: Option<Known>,
    /// Nothing else will be sent.
    closed: bool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut SlotState)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// Waits until a snapshot is there or the slot is closed, at most for `patience` if that is given; takes the snapshot.
    fn take(&self, patience: Option<Duration>) -> SlotState {
        let waiting = |state: &mut SlotState| state.newest.is_none() && !state.closed;
        let mut state = match patience {
            Some(patience) => {
                let waited = self
                    .changed
                    .wait_timeout_while(self.lock(), patience, waiting);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.changed.wait_while(self.lock(), waiting);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        SlotState {
            newest: state.newest.take(),
            closed: state.closed,
        }
    }
}

/// The passes' end. It knows no file, so it cannot write.
#[derive(Debug)]
pub struct SnapshotSender {
    slot: Arc<Slot>,
    changed: bool,
    /// The earliest time of the next snapshot.
    next: Duration,
}

/// The end of the thread that writes.
#[derive(Debug)]
pub struct SnapshotWriter {
    slot: Arc<Slot>,
    file: SnapshotFile,
    /// What the last write failed to write.
    unwritten: Option<Known>,
    /// Why it failed.
    failed: Option<String>,
}

/// Both ends, for this file.
pub fn channel(file: SnapshotFile) -> (SnapshotSender, SnapshotWriter) {
    let slot = Arc::new(Slot::default());
    let sender = SnapshotSender {
        slot: Arc::clone(&slot),
        changed: false,
        next: Duration::ZERO,
    };
    let writer = SnapshotWriter {
        slot,
        file,
        unwritten: None,
        failed: None,
    };
    (sender, writer)
}

impl SnapshotSender {
    /// The sources have something new.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// Sends what is known if it has changed and the last snapshot was sent long enough ago.
    pub fn send_in_time(&mut self, store: &Store, now: Duration) {
        if self.changed && now >= self.next {
            self.next = now + PACE;
            self.send(store);
        }
    }

    /// Sends what is known if it has changed.
    pub fn send(&mut self, store: &Store) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let known = Known {
            snapshot: store.shared_snapshot(),
            at: jiff::Timestamp::now(),
        };
        self.slot.change(|state| state.newest = Some(known));
    }

    /// Nothing else will be sent: the writer ends once it has written what was.
    pub fn close(&self) {
        self.slot.change(|state| state.closed = true);
    }
}

impl SnapshotWriter {
    /// Writes one snapshot after the other, each time the newest, until the sender has closed. What could not be written
    /// is tried again, unless a newer one has come: after a while, and at the end.
    pub fn run(mut self) {
        loop {
            let patience = self.unwritten.as_ref().map(|_| RETRY);
            if self.write_next(patience) {
                return;
            }
        }
    }

    /// Waits for the next snapshot, for `patience` if that is given, and writes the newest that is not on disk. Returns
    /// whether the sender has closed.
    pub(super) fn write_next(&mut self, patience: Option<Duration>) -> bool {
        let SlotState { newest, closed } = self.slot.take(patience);
        if let Some(known) = newest.or_else(|| self.unwritten.take()) {
            let written = self.file.save(&known.snapshot, &known.at.to_string());
            let failed = written.err().map(|error| error.to_string());
            self.unwritten = failed.is_some().then_some(known);
            if let Some(error) = self.news(failed) {
                tracing::error!(path = %self.file.path().display(), "what is known was not saved: {error}; an agent that starts while the sources cannot be read has an older file, or none");
            }
        }
        closed
    }

    /// The error of the last write, unless the one before failed for the same reason.
    fn news(&mut self, failed: Option<String>) -> Option<String> {
        let same = self.failed == failed;
        self.failed.clone_from(&failed);
        failed.filter(|_| !same)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        cluster::{Change, SourceName},
        model::Node,
    };

    const SOURCES: [SourceName; 1] = [SourceName::Nodes];

    fn file(dir: &TempDir) -> SnapshotFile {
        SnapshotFile::new(&dir.path().join("run"), "kubernetes".to_owned())
    }

    /// A run directory, and both ends.
    fn ends() -> (TempDir, SnapshotSender, SnapshotWriter) {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        let (sender, writer) = channel(file(&dir));
        (dir, sender, writer)
    }

    /// One node more becomes known.
    fn learn(store: &mut Store, sender: &mut SnapshotSender, node: &str) {
        store.apply([Change::Node(node.into(), Node::default())]);
        sender.changed();
    }

    /// The nodes that are on disk.
    fn saved(dir: &TempDir) -> Vec<String> {
        let known = file(dir).load(&SOURCES);
        known.map_or_else(Vec::new, |known| {
            let nodes = known.store.snapshot().nodes.keys();
            nodes.map(|name| name.0.clone()).collect()
        })
    }

    #[test]
    fn only_the_newest_is_written() {
        let (dir, mut sender, mut writer) = ends();
        let mut store = Store::new(&SOURCES);
        learn(&mut store, &mut sender, "a");
        sender.send(&store);
        learn(&mut store, &mut sender, "b");
        sender.send(&store);
        assert!(saved(&dir).is_empty(), "the sender wrote");
        writer.write_next(None);
        assert_eq!(saved(&dir), ["a", "b"]);
        fs::remove_file(file(&dir).path()).unwrap();
        writer.write_next(Some(Duration::ZERO));
        assert!(saved(&dir).is_empty(), "the older one came afterwards");
    }

    #[test]
    fn what_was_sent_does_not_change_with_the_store() {
        let (dir, mut sender, mut writer) = ends();
        let mut store = Store::new(&SOURCES);
        learn(&mut store, &mut sender, "a");
        sender.send(&store);
        learn(&mut store, &mut sender, "b");
        writer.write_next(None);
        assert_eq!(saved(&dir), ["a"]);
    }

    #[test]
    fn changes_are_sent_from_time_to_time_only() {
        let (dir, mut sender, mut writer) = ends();
        let mut store = Store::new(&SOURCES);
        let mut at = |store: &Store, sender: &mut SnapshotSender, now| {
            sender.send_in_time(store, now);
            writer.write_next(Some(Duration::ZERO));
            saved(&dir)
        };
        learn(&mut store, &mut sender, "a");
        assert_eq!(at(&store, &mut sender, Duration::ZERO), ["a"]);
        learn(&mut store, &mut sender, "b");
        assert_eq!(at(&store, &mut sender, PACE / 2), ["a"], "too soon");
        assert_eq!(at(&store, &mut sender, PACE), ["a", "b"]);
        fs::remove_file(file(&dir).path()).unwrap();
        let unchanged = at(&store, &mut sender, PACE * 2);
        assert!(unchanged.is_empty(), "nothing has changed");
    }

    #[test]
    fn what_could_not_be_written_is_tried_again() {
        let (dir, mut sender, mut writer) = ends();
        let mut store = Store::new(&SOURCES);
        fs::remove_dir(dir.path().join("run")).unwrap();
        learn(&mut store, &mut sender, "a");
        sender.send(&store);
        writer.write_next(None);
        let known_at = writer.unwritten.as_ref().map(|known| known.at.to_string());
        fs::create_dir(dir.path().join("run")).unwrap();
        writer.write_next(Some(Duration::ZERO));
        assert_eq!(saved(&dir), ["a"]);
        let at = file(&dir).load(&SOURCES).map(|known| known.at);
        assert_eq!(at, known_at, "when it was known, not when it was written");

        fs::remove_dir_all(dir.path().join("run")).unwrap();
        learn(&mut store, &mut sender, "b");
        sender.send(&store);
        writer.write_next(None);
        learn(&mut store, &mut sender, "c");
        sender.send(&store);
        fs::create_dir(dir.path().join("run")).unwrap();
        writer.write_next(None);
        assert_eq!(saved(&dir), ["a", "b", "c"], "the newer one instead");
        assert!(writer.unwritten.is_none(), "the older one is left");
    }

    #[test]
    fn a_failure_is_told_once_for_each_cause() {
        let (_dir, _sender, mut writer) = ends();
        let mut told = |cause: Option<&str>| writer.news(cause.map(str::to_owned)).is_some();
        let causes = [
            Some("full"),
            Some("full"),
            Some("read-only"),
            None,
            Some("full"),
        ];
        assert_eq!(causes.map(&mut told), [true, false, true, false, true]);
    }

    #[test]
    fn the_last_one_is_written_before_the_thread_ends() {
        let (dir, mut sender, writer) = ends();
        let mut store = Store::new(&SOURCES);
        fs::remove_dir(dir.path().join("run")).unwrap();
        learn(&mut store, &mut sender, "a");
        sender.send(&store);
        let thread = std::thread::spawn(|| writer.run());
        // Whether the writer has tried in vain by then or not, the end is a reason to try.
        fs::create_dir(dir.path().join("run")).unwrap();
        sender.close();
        thread.join().unwrap();
        assert_eq!(saved(&dir), ["a"]);
    }
}

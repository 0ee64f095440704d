//! A directory of manifests. Files may be half-written, broken, duplicated or gone for a moment: the last good content
//! stays in force until there is a new one.

mod files;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use notify::{
    EventKind, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};

use serde::{Deserialize, Serialize};

use super::{Change, ChangeSender, Closed, SourceName, Store};

pub use files::Files;

/// How often the directory is read without a notification, because not every file system sends them.
const REREAD: Duration = Duration::from_secs(3);
/// How long one look may take: files that are being written settle within a second.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which directory was read: at the same path there is another one while its file system is not mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryId {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// Reads `path` and follows its changes on a thread of its own, until the agent ends. `before` is the directory that an
/// earlier agent read; `keep` is called with the one that has manifests, until it succeeds.
pub fn spawn(
    path: PathBuf,
    before: Option<DirectoryId>,
    keep: impl FnMut(DirectoryId) -> io::Result<()> + Send + 'static,
    feed: ChangeSender,
) -> io::Result<()> {
    std::thread::Builder::new()
        .name("directory".to_owned())
        .spawn(move || {
            let Err(Closed) = follow(path, before, keep, &feed);
        })
        .map(|_| ())
}

fn follow(
    path: PathBuf,
    before: Option<DirectoryId>,
    mut keep: impl FnMut(DirectoryId) -> io::Result<()>,
    feed: &ChangeSender,
) -> Result<std::convert::Infallible, Closed> {
    let start = Instant::now();
    let (tell, told) = mpsc::channel();
    let mut files = Files::new(&path, before);
    let mut kept = before;
    let mut watcher = None;
    loop {
        if watcher.is_none() {
            let tell = tell.clone();
            let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.map_or(true, |event| matters(event.kind)) {
                    // An error means that the reading thread has ended and needs no wake-up.
                    let _ = tell.send(());
                }
            });
            // Without a watcher the directory is read every `REREAD`.
            watcher = made
                .and_then(|mut made| {
                    made.watch(&path, RecursiveMode::NonRecursive)
                        .map(|()| made)
                })
                .inspect_err(|error| tracing::debug!(%error, path = %path.display(), "not watched"))
                .ok();
        }
        let look = files.look(start.elapsed());
        if let Some(directory) = files.identity()
            && kept != Some(directory)
        {
            // The run directory may not be there yet; if it cannot be written, the ledger says so.
            match keep(directory) {
                Ok(()) => kept = Some(directory),
                Err(error) => tracing::debug!(%error, "which directory was read is not kept"),
            }
        }
        if look.unreadable {
            // When the path can be read again it may be another directory, which needs another watcher.
            watcher = None;
        }
        feed.send_blocking(look.changes)?;
        match told.recv_timeout(look.again.unwrap_or(REREAD)) {
            Ok(()) => while told.try_recv().is_ok() {},
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// Reads `path` once, completely.
///
/// # Errors
/// It cannot be read, or some of its files cannot because they keep changing.
pub fn look(path: &Path) -> Result<Store, LookError> {
    let start = Instant::now();
    let mut files = Files::new(path, None);
    let mut store = Store::new(&[SourceName::Directory]);
    loop {
        let look = files.look(start.elapsed());
        store.apply(look.changes);
        if look.unreadable {
            let problems: Vec<&str> = store.problems().values().map(String::as_str).collect();
            return Err(LookError::Unreadable(problems.join("; ")));
        }
        match look.again {
            Some(wait) if start.elapsed() < TIMEOUT => std::thread::sleep(wait),
            _ if store.is_synced() => return Ok(store),
            Some(_) | None => return Err(LookError::Unsettled),
        }
    }
}

/// Why a directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The directory itself cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Its files keep changing.
    #[error("not all files could be read; they keep changing")]
    Unsettled,
}

/// Whether an event may mean a change. Opening and reading do not: they are this process's own accesses.
fn matters(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// One look at the directory.
#[derive(Debug, Default)]
pub struct DirectoryRead {
    /// What is new.
    pub changes: Vec<Change>,
    /// How long to wait before the next look if there is no notification.
    pub again: Option<Duration>,
    /// Whether the directory itself could not be read.
    pub unreadable: bool,
}

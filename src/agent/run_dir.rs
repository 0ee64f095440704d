//! The run directory: the ledger, and the lock that allows one agent per node.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::model::Ledger;

use super::{LedgerError, LedgerFile, atomic_file, directory_file, ledger_file, snapshot_file};

/// The lock file.
const LOCK: &str = "agent.lock";

/// Why the run directory cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunDirError {
    /// Another agent works on this node; this one waits for it to end, as in a rolling update.
    #[error("{path} is locked by another agent ({holder}): waiting for it to end")]
    Busy {
        /// The lock file.
        path: String,
        /// What the other agent wrote into it: its pid and since when.
        holder: String,
    },
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The run directory of one agent.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    file: LedgerFile,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    // Kept open for its lock, which the kernel releases when the process ends, also after a crash.
    _lock: File,
    /// As it is on disk; `None` while there is no file.
    ledger: Option<Ledger>,
}

impl RunDir {
    /// Does nothing yet; see [`Self::open`].
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: LedgerFile::in_dir(path),
            open: None,
        }
    }

    /// Deletes the files that directway keeps in this directory, and the directory if nothing else is in it.
    ///
    /// # Errors
    /// A file that cannot be deleted, and why.
    pub fn forget(path: &Path) -> Result<(), String> {
        let names = [ledger_file::NAME, snapshot_file::NAME, directory_file::NAME];
        let replaced = names.map(|name| path.join(name));
        let unfinished = replaced.each_ref().map(|file| atomic_file::next_of(file));
        // The lock goes last, so that no agent starts while another file is still there.
        let files = replaced.into_iter().chain(unfinished);
        for file in files.chain([path.join(LOCK)]) {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(format!("{}: {error}; delete it by hand", file.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        match fs::remove_dir(path) {
            // A mount point, or a directory with other files in it, stays.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Locks the directory and reads the ledger, once. To be tried again after an error.
    pub fn open(&mut self) -> Result<(), RunDirError> {
        if self.open.is_none() {
            let lock = self.lock()?;
            let ledger = self.file.load()?;
            self.open = Some(Open {
                _lock: lock,
                ledger,
            });
        }
        Ok(())
    }

    /// Whether this agent has the lock.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The ledger on disk, once opened and if there is one.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.open.as_ref().and_then(|open| open.ledger.as_ref())
    }

    /// Writes the ledger if it differs from what is on disk; returns whether it was written.
    pub fn save(&mut self, ledger: &Ledger) -> Result<bool, RunDirError> {
        self.open()?;
        let nothing = Ledger::default();
        if self.ledger().unwrap_or(&nothing) == ledger {
            return Ok(false);
        }
        if !self.path.exists() {
            // The directory was removed, and with it the lock file that other agents would see.
            self.open = None;
            self.open()?;
        }
        self.file.save(ledger)?;
        if let Some(open) = &mut self.open {
            open.ledger = Some(ledger.clone());
        }
        Ok(true)
    }

    fn lock(&self) -> Result<File, RunDirError> {
        let path = self.path.join(LOCK);
        let unusable = |error: io::Error| LedgerError::unusable(&path, &error);
        // One level only: /run is empty after every boot. Creating parents would hide a mistyped path.
        match fs::create_dir(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(LedgerError::unusable(&self.path, &error).into()),
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: the lock counts, whatever the file contains.
                if file.read_to_string(&mut holder).is_err() || holder.trim().is_empty() {
                    holder = "unknown".to_owned();
                }
                return Err(RunDirError::Busy {
                    path: path.display().to_string(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error).into()),
        }
        let me = format!(
            "pid {}, since {}\n",
            std::process::id(),
            jiff::Timestamp::now()
        );
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(me.as_bytes()))
            .map_err(unusable)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.dummies.insert("vip0".parse().unwrap());
        ledger
    }

    #[test]
    fn the_second_agent_learns_who_is_first_and_gets_its_turn() {
        let dir = TempDir::new().unwrap();
        let mut first = RunDir::new(dir.path());
        first.open().unwrap();
        first.save(&ledger()).unwrap();
        let mut second = RunDir::new(dir.path());
        let error = second.open().unwrap_err();
        let pid = format!("pid {}", std::process::id());
        assert!(
            matches!(&error, RunDirError::Busy { holder, .. } if holder.starts_with(&pid)),
            "{error}"
        );
        assert!(
            second.save(&Ledger::default()).is_err(),
            "it wrote over the first one's ledger"
        );
        drop(first);
        second.open().unwrap();
        assert_eq!(second.ledger(), Some(&ledger()), "the ledger is adopted");
    }

    #[test]
    fn what_did_not_change_is_not_written() {
        let dir = TempDir::new().unwrap();
        let mut run_dir = RunDir::new(dir.path());
        assert_eq!(run_dir.save(&ledger()), Ok(true));
        assert_eq!(run_dir.save(&ledger()), Ok(false));
    }

    #[test]
    fn a_removed_directory_is_made_again_with_its_lock() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("run");
        let mut first = RunDir::new(&path);
        first.open().unwrap();
        fs::remove_dir_all(&path).unwrap();
        first.save(&ledger()).unwrap();
        assert_eq!(LedgerFile::in_dir(&path).load(), Ok(Some(ledger())));
        assert!(matches!(
            RunDir::new(&path).open(),
            Err(RunDirError::Busy { .. })
        ));
    }

    #[test]
    fn a_run_dir_that_cannot_be_made_is_an_error_with_the_fix() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = RunDir::new(&dir.path().join("file/run"))
            .open()
            .unwrap_err();
        assert!(error.to_string().contains("--run-dir"), "{error}");
    }
}

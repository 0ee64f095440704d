use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{DirectoryId, DirectoryRead};
use crate::{
    api::{Manifest, ParsedVirtualService, parse_manifests},
    cluster::{Change, SourceName},
    model::{Node, NodeName, Reason, Refusal, VsKey},
};

/// How long a file must stay unchanged before it is read.
const SETTLE: Duration = Duration::from_millis(50);
/// The size of a manifest in bytes that is still read. A List of ten thousand objects has some 6 MiB.
const MAX_SIZE: u64 = 64 << 20;
/// How long errors, and missing objects or files, must last before they count: an editor may be saving a file.
const VANISH: Duration = Duration::from_millis(500);

/// The files of a directory, with the last good content of each.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    files: BTreeMap<String, File>,
    /// Whether a complete list has been sent.
    listed: bool,
    /// Whether the directory could not be read last time.
    unreadable: bool,
    /// The directory that had manifests last.
    identity: Option<DirectoryId>,
    /// What was reported as not read.
    passed_over: BTreeSet<String>,
    /// The subjects of duplicates that were reported.
    duplicates: BTreeSet<String>,
}

/// Metadata that differs between two versions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    /// `st_ctime` in seconds and nanoseconds, which also changes with the permissions.
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

#[derive(Debug, Default)]
struct File {
    /// The last stamp, and since when it has been the same.
    seen: Option<(Stamp, Duration)>,
    /// The stamp of the version that was read last, with or without errors.
    read: Option<Stamp>,
    /// Since when it is missing.
    missing: Option<Duration>,
    /// Its last good content; `None` if it has never been read.
    good: Option<Content>,
    /// Whether some of its documents have never been readable.
    partial: bool,
    failed: bool,
}

#[derive(Debug, Default, PartialEq)]
struct Content {
    virtual_services: BTreeMap<VsKey, ParsedVirtualService>,
    nodes: BTreeMap<NodeName, Node>,
}

/// The result of a look at one file.
enum Reading {
    /// It has not settled: look again after this time.
    Wait(Duration),
    /// It has not changed since it was read.
    Same,
    /// It was read without errors.
    New(Content),
    /// Its errors, and its good documents.
    Broken(String, Content),
}

impl Files {
    /// Reads nothing yet. `before` is the directory at this path that had manifests when an earlier agent read it.
    pub fn new(dir: &Path, before: Option<DirectoryId>) -> Self {
        Self {
            dir: dir.to_owned(),
            files: BTreeMap::new(),
            listed: false,
            unreadable: false,
            identity: before,
            passed_over: BTreeSet::new(),
            duplicates: BTreeSet::new(),
        }
    }

    /// The directory that had manifests last.
    pub fn identity(&self) -> Option<DirectoryId> {
        self.identity
    }

    /// Reads what has changed; `now` is monotonic.
    pub fn look(&mut self, now: Duration) -> DirectoryRead {
        let mut look = DirectoryRead::default();
        let path = self.dir.display().to_string();
        let names = match self.list(&mut look.changes) {
            Ok(names) => names,
            Err(message) => {
                // All known objects stay, because an unmounted directory does not mean an empty one.
                look.changes.push(problem(&path, message));
                look.unreadable = true;
                self.unreadable = true;
                return look;
            }
        };
        if std::mem::take(&mut self.unreadable) {
            look.changes.push(no_problem(&path));
        }
        for name in names.keys() {
            self.files.entry(name.clone()).or_default();
        }
        let mut different = !self.listed;
        let mut wait: Option<Duration> = None;
        let mut gone = Vec::new();
        for (name, file) in &mut self.files {
            let Some(stamp) = names.get(name) else {
                let since = *file.missing.get_or_insert(now);
                let missing_for = now.saturating_sub(since);
                if missing_for >= VANISH {
                    gone.push(name.clone());
                } else {
                    wait = sooner(wait, VANISH - missing_for);
                }
                continue;
            };
            file.missing = None;
            match file.read(&self.dir.join(name), name, *stamp, now) {
                Reading::Wait(more) => wait = sooner(wait, more),
                Reading::Same => {}
                Reading::New(content) => {
                    different |= file.good.as_ref() != Some(&content) || file.partial;
                    file.good = Some(content);
                    file.partial = false;
                    if std::mem::take(&mut file.failed) {
                        look.changes.push(no_problem(name));
                    }
                }
                Reading::Broken(message, rest) => {
                    file.failed = true;
                    if file.good.is_none() || file.partial {
                        different = true;
                        file.partial = true;
                        file.good.get_or_insert_default().overlay(rest);
                        look.changes.push(problem(name, message));
                    } else {
                        let message = format!("{message}; its last good version stays in force");
                        look.changes.push(problem(name, message));
                    }
                }
            }
        }
        for name in gone {
            self.files.remove(&name);
            look.changes.push(no_problem(&name));
            different = true;
        }
        look.again = wait;
        // The first list is sent only when every file has been read.
        let unread = self.files.values().any(|file| file.good.is_none());
        if different && (self.listed || !unread) {
            self.listed = true;
            self.publish(&mut look.changes);
        }
        look
    }

    /// The manifests that are there now, or why they are not known. An empty directory in the place of one that had
    /// manifests is a mount point whose file system is gone; whoever wants everything gone deletes the files.
    fn list(&mut self, changes: &mut Vec<Change>) -> Result<BTreeMap<String, Stamp>, String> {
        let listed = identity(&self.dir).and_then(|id| Ok((id, list(&self.dir)?)));
        let (id, Listing { names, passed_over }) = listed.map_err(|error| {
            format!("{error}; give --source dir:PATH a directory that the agent can read")
        })?;
        if names.is_empty() && self.identity.is_some_and(|before| before != id) {
            return Err("has no manifests and is another directory than before: is it unmounted? What it had stays in force; mount it again, or put the manifests that shall count into this one".to_owned());
        }
        if !names.is_empty() {
            self.identity = Some(id);
        }
        let before = std::mem::take(&mut self.passed_over);
        for name in before
            .iter()
            .filter(|name| !passed_over.contains_key(*name))
        {
            changes.push(no_problem(name));
        }
        for (name, why) in &passed_over {
            changes.push(problem(name, why));
        }
        self.passed_over = passed_over.into_keys().collect();
        Ok(names)
    }

    /// Adds a complete list of the objects in all files.
    fn publish(&mut self, changes: &mut Vec<Change>) {
        let mut virtual_services: BTreeMap<&VsKey, Vec<(&str, &ParsedVirtualService)>> =
            BTreeMap::new();
        let mut nodes: BTreeMap<&NodeName, Vec<(&str, &Node)>> = BTreeMap::new();
        for (name, file) in &self.files {
            let Some(good) = &file.good else { continue };
            for (key, admitted) in &good.virtual_services {
                virtual_services
                    .entry(key)
                    .or_default()
                    .push((name, admitted));
            }
            for (node_name, node) in &good.nodes {
                nodes.entry(node_name).or_default().push((name, node));
            }
        }
        let mut duplicates = BTreeSet::new();
        changes.push(Change::Relist(SourceName::Directory));
        for (key, found) in virtual_services {
            let Some((_, first)) = found.first() else {
                continue;
            };
            let mut admitted = (*first).clone();
            if found.len() > 1 {
                let subject = format!("VirtualService {key}");
                let message = format!("{subject} is in {}: keep it in one of them", files(&found));
                changes.push(problem(&subject, &message));
                duplicates.insert(subject);
                admitted.parsed = Err(Refusal::new(Reason::InvalidSpec, message));
            }
            changes.push(Change::VirtualService(Box::new(admitted)));
        }
        for (name, found) in nodes {
            let Some((file, first)) = found.first() else {
                continue;
            };
            // A refused node would lose its roles, so the first file counts. That is the same file for every agent.
            if found.iter().any(|(_, node)| node != first) {
                let subject = format!("Node {name}");
                let message = format!(
                    "{subject} is in {} with different content: {file} counts; keep it in one of them",
                    files(&found)
                );
                changes.push(problem(&subject, message));
                duplicates.insert(subject);
            }
            changes.push(Change::Node(name.clone(), (*first).clone()));
        }
        for subject in self.duplicates.difference(&duplicates) {
            changes.push(no_problem(subject));
        }
        self.duplicates = duplicates;
        let files = self.files.iter();
        let unread = files.filter(|(_, file)| file.good.is_none() || file.partial);
        let unread = unread.map(|(name, _)| name.clone()).collect();
        changes.push(Change::Unread(unread));
        changes.push(Change::Listed(SourceName::Directory));
    }
}

fn sooner(wait: Option<Duration>, other: Duration) -> Option<Duration> {
    Some(wait.map_or(other, |wait| wait.min(other)))
}

fn files<T>(found: &[(&str, T)]) -> String {
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    names.join(" and ")
}

impl File {
    fn read(&mut self, path: &Path, name: &str, stamp: Stamp, now: Duration) -> Reading {
        if self.read == Some(stamp) {
            return Reading::Same;
        }
        let settled_for = match self.seen {
            Some((seen, since)) if seen == stamp => now.saturating_sub(since),
            Some(_) => Duration::ZERO,
            // At the first look, its modification time tells how long it has been unchanged.
            None => age(stamp).unwrap_or_default().min(VANISH),
        };
        if self.seen.is_none_or(|(seen, _)| seen != stamp) {
            self.seen = Some((stamp, now.saturating_sub(settled_for)));
        }
        if settled_for < SETTLE {
            return Reading::Wait(SETTLE - settled_for);
        }
        let read = read(path).and_then(|bytes| Ok((bytes, self::stamp(path)?)));
        let (result, content) = match read {
            Ok((_, after)) if after != stamp => return Reading::Wait(SETTLE),
            Ok((bytes, _)) => parse(name, bytes),
            Err(error) => (Err(format!("{name}: {error}")), Content::default()),
        };
        let vanishes = self
            .good
            .as_ref()
            .is_some_and(|good| good.has_more_than(&content));
        if (result.is_err() || vanishes) && settled_for < VANISH {
            return Reading::Wait(VANISH - settled_for);
        }
        self.read = Some(stamp);
        match result {
            Ok(()) => Reading::New(content),
            Err(message) => Reading::Broken(message, content),
        }
    }
}

impl Content {
    /// Takes over the good objects of `newer`, and refused ones where there was no object before.
    fn overlay(&mut self, newer: Self) {
        for (key, admitted) in newer.virtual_services {
            if admitted.parsed.is_ok() || !self.virtual_services.contains_key(&key) {
                self.virtual_services.insert(key, admitted);
            }
        }
        self.nodes.extend(newer.nodes);
    }

    fn has_more_than(&self, other: &Self) -> bool {
        let service_gone = |key| !other.virtual_services.contains_key(key);
        let node_gone = |name| !other.nodes.contains_key(name);
        self.virtual_services.keys().any(service_gone) || self.nodes.keys().any(node_gone)
    }
}

/// The objects of a file, and what is wrong with it.
fn parse(name: &str, bytes: Vec<u8>) -> (Result<(), String>, Content) {
    let mut content = Content::default();
    let mut problems = Vec::new();
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return (Err(format!("{name}: is not UTF-8: {error}")), content),
    };
    let manifests = parse_manifests(name, &text);
    if manifests.is_empty() {
        // A crash or a full disk leaves such a file, so it does not delete the objects that it had.
        problems.push(format!(
            "{name}: has no objects; delete the file to delete what it had"
        ));
    }
    for manifest in manifests {
        match manifest {
            Ok(Manifest::VirtualService(mut admitted)) => {
                refuse_service(name, &mut admitted);
                if let Err(refusal) = &admitted.parsed {
                    problems.push(refusal.message.clone());
                }
                let key = admitted.key.clone();
                if content
                    .virtual_services
                    .insert(key.clone(), *admitted)
                    .is_some()
                {
                    problems.push(format!(
                        "{name}: VirtualService {key} is there twice: keep one"
                    ));
                }
            }
            Ok(Manifest::Node(node_name, node)) => {
                if content.nodes.insert(node_name.clone(), node).is_some() {
                    problems.push(format!("{name}: Node {node_name} is there twice: keep one"));
                }
            }
            Ok(Manifest::Other(other)) => problems.push(other.refusal().message),
            Err(refusal) => problems.push(refusal.message),
        }
    }
    if problems.is_empty() {
        (Ok(()), content)
    } else {
        (Err(problems.join("; ")), content)
    }
}

/// Refuses `spec.realServers.service`, because a directory has no endpoints.
fn refuse_service(file: &str, admitted: &mut ParsedVirtualService) {
    let service = admitted
        .parsed
        .as_ref()
        .ok()
        .and_then(|accepted| accepted.real_servers.service.as_ref());
    if let Some(service) = service {
        let message = format!(
            "{file}: VirtualService {}: spec.realServers.service: \"{}\" has endpoints in a Kubernetes API only, not in a directory: use nodeSelector or external",
            admitted.key, service.name
        );
        admitted.parsed = Err(Refusal::new(Reason::InvalidSpec, message));
    }
}

/// What a directory has.
#[derive(Default)]
struct Listing {
    /// Its manifests, without dangling links.
    names: BTreeMap<String, Stamp>,
    /// What may have been meant as manifests and is not read, with the reason.
    passed_over: BTreeMap<String, String>,
}

fn list(dir: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let name = name.to_string_lossy().into_owned();
            if is_manifest(&name) {
                let why = "is not read, because its name is not UTF-8: rename it";
                listing.passed_over.insert(name, why.to_owned());
            }
            continue;
        };
        if !is_manifest(name) {
            if !name.starts_with('.') && has_manifests(&entry.path()) {
                let why = "is a directory and its manifests are not read: move them out of it";
                listing.passed_over.insert(name.to_owned(), why.to_owned());
            }
            continue;
        }
        match stamp(&entry.path()) {
            Ok(stamp) => {
                listing.names.insert(name.to_owned(), stamp);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

/// By its name; capitals are what some systems make of it.
fn is_manifest(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut ends = [".yaml", ".yml", ".json"].iter();
    !name.starts_with('.') && ends.any(|end| name.ends_with(end))
}

/// Whether it is a directory with manifests. One that cannot be read has none that the agent could miss.
fn has_manifests(path: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(path) else {
        return false;
    };
    entries.any(|entry| entry.is_ok_and(|it| is_manifest(&it.file_name().to_string_lossy())))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        let cause = format!("is larger than {} MiB: divide it", MAX_SIZE >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, cause));
    }
    Ok(bytes)
}

/// Device and inode.
fn identity(dir: &Path) -> io::Result<DirectoryId> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(dir)?;
    Ok(DirectoryId {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    Ok(Stamp {
        modified: metadata.modified().ok(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        size: metadata.len(),
        inode: metadata.ino(),
    })
}

fn age(stamp: Stamp) -> Option<Duration> {
    SystemTime::now().duration_since(stamp.modified?).ok()
}

fn problem(subject: &str, message: impl ToString) -> Change {
    Change::problem(SourceName::Directory, subject, message)
}

fn no_problem(subject: &str) -> Change {
    Change::no_problem(SourceName::Directory, subject)
}

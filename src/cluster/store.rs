//! The state that the sources' changes add up to.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    api::{ObservedGenerations, ParsedVirtualService, Report},
    model::{NodeName, PeerState, Peers, ServiceName, Snapshot, VsKey},
};

use super::{Change, Key, NoReport, Object, SourceName, WATCH_SUBJECT};

/// All that is known from the sources: in compact form, and the only copy.
#[derive(Debug)]
pub struct Store {
    /// Copied before a change only while a copy of this Arc is elsewhere.
    snapshot: Arc<Snapshot>,
    /// Like `reports`, empty unless details are wanted.
    objects: BTreeMap<VsKey, Object>,
    reports: BTreeMap<NodeName, Result<Report, NoReport>>,
    /// The times in the nodes' heartbeats, as written.
    heartbeats: BTreeMap<NodeName, String>,
    /// Identity and generation of refused objects; accepted ones carry their own.
    refused: BTreeMap<VsKey, (String, i64)>,
    synced: BTreeMap<SourceName, bool>,
    problems: BTreeMap<(SourceName, String), String>,
    /// Files that could never be read completely.
    unread: BTreeSet<String>,
    /// Nodes whose NodeState was deleted. What it said stays in force: their agents write it anew, and until then nobody
    /// knows anything else.
    unreported: BTreeSet<NodeName>,
    /// What lists in progress have not named so far.
    relists: BTreeMap<SourceName, Relist>,
}

/// What was known before a list and is not in it so far.
#[derive(Debug)]
struct Relist {
    objects: BTreeSet<Key>,
    /// The subjects of problems: of an object that could never be parsed, nothing else is known.
    subjects: BTreeSet<String>,
}

/// Inserts `value`; returns whether that changes anything.
fn replace<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}

impl Store {
    /// An empty store, synced once all of `sources` have been read.
    pub fn new(sources: &[SourceName]) -> Self {
        let peers = if sources.contains(&SourceName::NodeStates) {
            Peers::Reported(BTreeMap::new())
        } else {
            Peers::Silent
        };
        Self {
            snapshot: Arc::new(Snapshot {
                peers,
                ..Snapshot::default()
            }),
            objects: BTreeMap::new(),
            reports: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            refused: BTreeMap::new(),
            synced: sources.iter().map(|source| (*source, false)).collect(),
            problems: BTreeMap::new(),
            unread: BTreeSet::new(),
            unreported: BTreeSet::new(),
            relists: BTreeMap::new(),
        }
    }

    /// Applies changes that belong together; returns whether the reader has to act on them.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> bool {
        let mut different = false;
        for change in changes {
            different |= self.apply_one(change);
        }
        different
    }

    fn apply_one(&mut self, change: Change) -> bool {
        match change {
            Change::VirtualService(admitted) => self.virtual_service(*admitted),
            Change::Object(key, object) => replace(&mut self.objects, key, *object),
            Change::Node(name, node) => {
                self.named(|| Key::Node(name.clone()));
                replace(&mut self.known().nodes, name, node)
            }
            Change::Peer(name, state) => {
                self.named(|| Key::NodeState(name.clone()));
                self.peer(name, state)
            }
            Change::Report(name, report) => {
                self.named(|| Key::NodeState(name.clone()));
                // If the report cannot be parsed, the peer state of the one before stays in force.
                if let Ok(report) = &*report {
                    self.peer(name.clone(), report.peer.clone());
                }
                replace(&mut self.reports, name, *report)
            }
            Change::Undo(request) => {
                let different = self.snapshot.undo != request;
                self.known().undo = request;
                different
            }
            Change::Endpoints(endpoints) => {
                let different = self.snapshot.endpoints != endpoints;
                self.known().endpoints = endpoints;
                different
            }
            Change::EndpointSlice(service, name, slice) => {
                // Slices of a Service whose list is not complete yet are ignored: the list will contain them.
                let slices = self.known().endpoints.get_mut(&service);
                slices.is_some_and(|slices| replace(slices, name, slice))
            }
            Change::Heartbeat(name, renewed) => {
                self.named(|| Key::Heartbeat(name.clone()));
                self.heartbeats.insert(name, renewed);
                // Heartbeats are news only if they fail to come.
                false
            }
            Change::Gone(key) => self.remove(&key),
            Change::Relist(source) => {
                let all = Relist {
                    objects: self.keys_of(source),
                    subjects: self.subjects_of(source),
                };
                self.relists.insert(source, all);
                false
            }
            Change::Listed(source) => self.listed(source),
            Change::Problem {
                source,
                subject,
                message,
            } => self.problem(source, subject, message),
            Change::NoProblem { source, subject } => self.no_problem(source, subject),
            Change::Unread(files) => {
                let different = self.unread != files;
                self.unread = files;
                different
            }
        }
    }

    fn virtual_service(&mut self, read: ParsedVirtualService) -> bool {
        self.named(|| Key::VirtualService(read.key.clone()));
        let identity = (read.uid, read.generation);
        let renewed = match &read.parsed {
            Ok(_) => self.refused.remove(&read.key).is_some(),
            Err(_) => replace(&mut self.refused, read.key.clone(), identity),
        };
        let known = &mut self.known().virtual_services;
        replace(known, read.key, read.parsed) || renewed
    }

    /// A list is complete: what it has not named is gone.
    fn listed(&mut self, source: SourceName) -> bool {
        let mut different = self.synced.insert(source, true) != Some(true);
        if let Some(left) = self.relists.remove(&source) {
            for key in left.objects {
                different |= self.remove(&key);
            }
            for subject in left.subjects {
                different |= self.problems.remove(&(source, subject)).is_some();
            }
        }
        different
    }

    fn problem(&mut self, source: SourceName, subject: String, message: String) -> bool {
        if let Some(relist) = self.relists.get_mut(&source) {
            relist.subjects.remove(&subject);
            relist.objects.retain(|key| key.subject() != subject);
        }
        if self.is_known(source, &subject, &message) {
            return false;
        }
        tracing::error!(source = source.name(), subject, "{message}");
        let changes_report = subject != WATCH_SUBJECT;
        self.problems.insert((source, subject), message);
        changes_report
    }

    fn no_problem(&mut self, source: SourceName, subject: String) -> bool {
        let key = (source, subject);
        let over = self.problems.remove(&key).is_some();
        let (_, subject) = key;
        if over {
            tracing::info!(source = source.name(), subject, "read again without errors");
        }
        // Watches that work again do not change the report, but allow moves for preference if all do.
        over && (subject != WATCH_SUBJECT || self.is_fresh())
    }

    /// The snapshot, to be changed.
    fn known(&mut self) -> &mut Snapshot {
        Arc::make_mut(&mut self.snapshot)
    }

    fn peer(&mut self, name: NodeName, state: PeerState) -> bool {
        self.unreported.remove(&name);
        match &mut self.known().peers {
            Peers::Reported(peers) => replace(peers, name, state),
            Peers::Silent => false,
        }
    }

    /// Returns whether there was one.
    fn forget_peer(&mut self, name: &NodeName) -> bool {
        match &mut self.known().peers {
            Peers::Reported(peers) => peers.remove(name).is_some(),
            Peers::Silent => false,
        }
    }

    /// Marks the object as named in all lists in progress.
    fn named(&mut self, key: impl Fn() -> Key) {
        for relist in self.relists.values_mut() {
            relist.objects.remove(&key());
        }
    }

    /// Removes an object and what was wrong with it; returns whether there was anything.
    fn remove(&mut self, key: &Key) -> bool {
        let problem = (key.source(), key.subject());
        let wrong = self.problems.remove(&problem).is_some();
        self.remove_object(key) || wrong
    }

    fn remove_object(&mut self, key: &Key) -> bool {
        match key {
            Key::VirtualService(key) => {
                self.refused.remove(key);
                self.objects.remove(key);
                self.known().virtual_services.remove(key).is_some()
            }
            Key::Node(name) => {
                if self.unreported.remove(name) {
                    self.forget_peer(name);
                }
                self.known().nodes.remove(name).is_some()
            }
            Key::NodeState(name) => {
                let report = self.reports.remove(name).is_some();
                if self.snapshot.nodes.contains_key(name) {
                    self.unreported.insert(name.clone());
                    report
                } else {
                    self.forget_peer(name) || report
                }
            }
            Key::EndpointSlice(service, name) => {
                let slices = self.known().endpoints.get_mut(service);
                slices.is_some_and(|slices| slices.remove(name).is_some())
            }
            Key::Heartbeat(name) => {
                self.heartbeats.remove(name);
                false
            }
        }
    }

    /// The known objects of this source, if its lists arrive object by object; else nothing.
    fn keys_of(&self, source: SourceName) -> BTreeSet<Key> {
        let virtual_services = self.snapshot.virtual_services.keys();
        let virtual_services = virtual_services.cloned().map(Key::VirtualService);
        let nodes = self.snapshot.nodes.keys().cloned().map(Key::Node);
        match source {
            SourceName::VirtualServices => virtual_services.collect(),
            SourceName::Nodes => nodes.collect(),
            SourceName::NodeStates => {
                let peers = self.snapshot.peers.reports().map(|(name, _)| name);
                let named = peers.chain(self.reports.keys()).cloned();
                named.map(Key::NodeState).collect()
            }
            // A deleted switch changes nothing: see `undo_switch`.
            SourceName::UndoSwitch => BTreeSet::new(),
            // Their list is a single change, which replaces all.
            SourceName::EndpointSlices => BTreeSet::new(),
            SourceName::Heartbeats => {
                let names = self.heartbeats.keys().cloned();
                names.map(Key::Heartbeat).collect()
            }
            SourceName::Directory => virtual_services.chain(nodes).collect(),
        }
    }

    /// The objects of this source with which something is wrong. A directory names its files' problems itself.
    fn subjects_of(&self, source: SourceName) -> BTreeSet<String> {
        let of_source = |(of, subject): &&(SourceName, String)| {
            *of == source && source != SourceName::Directory && subject != WATCH_SUBJECT
        };
        let found = self.problems.keys().filter(of_source);
        found.map(|(_, subject)| subject.clone()).collect()
    }

    /// Whether this problem is known already, with the same message.
    pub fn is_known(&self, source: SourceName, subject: &str, message: &str) -> bool {
        let known = self.problems.get(&(source, subject.to_owned()));
        known.is_some_and(|known| known == message)
    }

    /// What is known.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is known now, for a thread that reads it while changes go on.
    pub fn shared_snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// UID, generation and status of the VirtualServices; empty unless details are wanted.
    pub fn objects(&self) -> &BTreeMap<VsKey, Object> {
        &self.objects
    }

    /// Each agent's complete report, or why there is none; empty unless details are wanted.
    pub fn reports(&self) -> &BTreeMap<NodeName, Result<Report, NoReport>> {
        &self.reports
    }

    /// The times in the nodes' heartbeats, as their agents wrote them; empty unless heartbeats are wanted.
    pub fn heartbeats(&self) -> &BTreeMap<NodeName, String> {
        &self.heartbeats
    }

    /// Whether `source` was read completely and can be read now, as far as its watch knows.
    pub fn is_followed(&self, source: SourceName) -> bool {
        let failed = self
            .problems
            .contains_key(&(source, WATCH_SUBJECT.to_owned()));
        !failed && self.synced.get(&source) == Some(&true)
    }

    /// The reports that can be parsed.
    pub fn readable(&self) -> impl Iterator<Item = (&NodeName, &Report)> {
        let reports = self.reports.iter();
        reports.filter_map(|(name, report)| Some((name, report.as_ref().ok()?)))
    }

    /// The Services that VirtualServices name.
    pub fn services(&self) -> BTreeSet<ServiceName> {
        let accepted = self.snapshot.virtual_services.values().flatten();
        accepted
            .filter_map(|object| object.real_servers.service.clone())
            .collect()
    }

    /// The Services whose endpoints `node` needs: those of the VIPs that it may hold.
    pub fn services_of(&self, node: &NodeName) -> BTreeSet<ServiceName> {
        let labels = match self.snapshot.nodes.get(node) {
            Some(node) if node.is_director() => &node.labels,
            Some(_) | None => return BTreeSet::new(),
        };
        let accepted = self.snapshot.virtual_services.values().flatten();
        accepted
            .filter(|object| object.directors.selector.matches(labels))
            .filter_map(|object| object.real_servers.service.clone())
            .collect()
    }

    /// Whether all of the sources' objects are known, if only by an earlier good version.
    pub fn is_complete(&self) -> bool {
        self.unread.is_empty()
    }

    /// The files that could never be read completely. Until they are, nothing is removed.
    pub fn unread(&self) -> &BTreeSet<String> {
        &self.unread
    }

    /// Whether all sources can be read now, as far as their watches know.
    pub fn is_fresh(&self) -> bool {
        let mut subjects = self.problems.keys().map(|(_, subject)| subject);
        subjects.all(|subject| subject != WATCH_SUBJECT)
    }

    /// Which sources have been read completely at least once.
    pub fn synced(&self) -> &BTreeMap<SourceName, bool> {
        &self.synced
    }

    /// Whether all sources have been read completely at least once.
    pub fn is_synced(&self) -> bool {
        self.synced.values().all(|synced| *synced)
    }

    /// The sources that have not been read completely yet, each with why.
    pub fn missing(&self) -> Vec<String> {
        missing(&self.synced, &self.problems)
    }

    /// What is wrong, by source and subject.
    pub fn problems(&self) -> &BTreeMap<(SourceName, String), String> {
        &self.problems
    }

    /// Which objects, in which generation, are known: accepted or refused.
    pub fn seen(&self) -> ObservedGenerations {
        let accepted = self
            .snapshot
            .virtual_services
            .values()
            .filter_map(|object| object.as_ref().ok())
            .map(|virtual_service| (virtual_service.uid.clone(), virtual_service.generation));
        let refused = self.refused.values().cloned();
        accepted.chain(refused).collect()
    }
}

/// The sources that have not been read completely yet, each with why.
pub fn missing(
    synced: &BTreeMap<SourceName, bool>,
    problems: &BTreeMap<(SourceName, String), String>,
) -> Vec<String> {
    let missing = synced.iter().filter(|(_, synced)| !**synced);
    missing
        .map(|(source, _)| {
            let problems = problems.iter().filter(|((from, _), _)| from == source);
            let why: Vec<&str> = problems.map(|(_, message)| message.as_str()).collect();
            if why.is_empty() {
                format!("{source}: not read completely yet")
            } else {
                format!("{source}: {}", why.join("; "))
            }
        })
        .collect()
}

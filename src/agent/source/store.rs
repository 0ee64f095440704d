use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::Seen,
    model::{NodeName, Peers, ServiceName, Snapshot, VsKey},
};

use super::{Change, SourceName, WATCH_SUBJECT};

/// All that the sources have said: the compact form, and the only copy.
#[derive(Debug)]
pub struct Store {
    snapshot: Snapshot,
    /// Identity and generation of refused objects; accepted ones carry their own.
    refused: BTreeMap<VsKey, (String, i64)>,
    synced: BTreeMap<SourceName, bool>,
    troubles: BTreeMap<(SourceName, String), String>,
    complete: bool,
    relists: BTreeMap<SourceName, Relist>,
}

/// What a list has not named so far.
#[derive(Debug, Default)]
struct Relist {
    virtual_services: BTreeSet<VsKey>,
    nodes: BTreeSet<NodeName>,
    peers: BTreeSet<NodeName>,
}

impl Store {
    /// Nothing is known yet; all of `sources` must be read.
    pub fn new(sources: &[SourceName]) -> Self {
        let peers = if sources.contains(&SourceName::NodeStates) {
            Peers::Reported(BTreeMap::new())
        } else {
            Peers::Silent
        };
        Self {
            snapshot: Snapshot {
                peers,
                ..Snapshot::default()
            },
            refused: BTreeMap::new(),
            synced: sources.iter().map(|source| (*source, false)).collect(),
            troubles: BTreeMap::new(),
            complete: true,
            relists: BTreeMap::new(),
        }
    }

    /// Takes over changes that belong together; tells whether anything is different now.
    pub fn apply(&mut self, changes: Vec<Change>) -> bool {
        let mut different = false;
        for change in changes {
            different |= self.apply_one(change);
        }
        different
    }

    fn apply_one(&mut self, change: Change) -> bool {
        match change {
            Change::VirtualService(admitted) => {
                let admitted = *admitted;
                for relist in self.relists.values_mut() {
                    relist.virtual_services.remove(&admitted.key);
                }
                let identity = (admitted.uid, admitted.generation);
                let renewed = match &admitted.verdict {
                    Ok(_) => self.refused.remove(&admitted.key).is_some(),
                    Err(_) => {
                        self.refused.insert(admitted.key.clone(), identity.clone())
                            != Some(identity)
                    }
                };
                let known = &mut self.snapshot.virtual_services;
                if known.get(&admitted.key) == Some(&admitted.verdict) {
                    return renewed;
                }
                known.insert(admitted.key, admitted.verdict);
                true
            }
            Change::NoVirtualService(key) => {
                self.refused.remove(&key);
                self.snapshot.virtual_services.remove(&key).is_some()
            }
            Change::Node(name, node) => {
                for relist in self.relists.values_mut() {
                    relist.nodes.remove(&name);
                }
                if self.snapshot.nodes.get(&name) == Some(&node) {
                    return false;
                }
                self.snapshot.nodes.insert(name, node);
                true
            }
            Change::NoNode(name) => self.snapshot.nodes.remove(&name).is_some(),
            Change::Peer(name, state) => {
                for relist in self.relists.values_mut() {
                    relist.peers.remove(&name);
                }
                match &mut self.snapshot.peers {
                    Peers::Reported(peers) if peers.get(&name) != Some(&state) => {
                        peers.insert(name, state);
                        true
                    }
                    Peers::Reported(_) | Peers::Silent => false,
                }
            }
            Change::NoPeer(name) => match &mut self.snapshot.peers {
                Peers::Reported(peers) => peers.remove(&name).is_some(),
                Peers::Silent => false,
            },
            Change::Undo(request) => {
                let different = self.snapshot.undo != request;
                self.snapshot.undo = request;
                different
            }
            Change::Endpoints(endpoints) => {
                let different = self.snapshot.endpoints != endpoints;
                self.snapshot.endpoints = endpoints;
                different
            }
            Change::EndpointSlice(service, name, slice) => {
                // Of those that have been read completely: the list of another one is on its way.
                let Some(slices) = self.snapshot.endpoints.get_mut(&service) else {
                    return false;
                };
                if slices.get(&name) == Some(&slice) {
                    return false;
                }
                slices.insert(name, slice);
                true
            }
            Change::NoEndpointSlice(service, name) => {
                let slices = self.snapshot.endpoints.get_mut(&service);
                slices.is_some_and(|slices| slices.remove(&name).is_some())
            }
            Change::Relist(source) => {
                let all = self.all_of(source);
                self.relists.insert(source, all);
                false
            }
            Change::Listed(source) => {
                let gone = self.relists.remove(&source).unwrap_or_default();
                let mut different = self.synced.insert(source, true) != Some(true);
                let virtual_services = gone.virtual_services.into_iter();
                let nodes = gone.nodes.into_iter().map(Change::NoNode);
                let peers = gone.peers.into_iter().map(Change::NoPeer);
                for change in virtual_services
                    .map(Change::NoVirtualService)
                    .chain(nodes)
                    .chain(peers)
                {
                    different |= self.apply_one(change);
                }
                different
            }
            Change::Trouble {
                source,
                subject,
                message,
            } => {
                if self.is_known(source, &subject, &message) {
                    return false;
                }
                tracing::error!(source = source.name(), subject, "{message}");
                let changes_report = subject != WATCH_SUBJECT;
                self.troubles.insert((source, subject), message);
                changes_report
            }
            Change::NoTrouble { source, subject } => {
                let key = (source, subject);
                let over = self.troubles.remove(&key).is_some();
                let (_, subject) = key;
                if over {
                    tracing::info!(source = source.name(), subject, "read again without errors");
                }
                // That a watch works again is no news for a report, but VIPs may be moved again.
                over && (subject != WATCH_SUBJECT || self.is_fresh())
            }
            Change::Complete(complete) => {
                std::mem::replace(&mut self.complete, complete) != complete
            }
        }
    }

    /// Whether this trouble has been told of in these words.
    pub fn is_known(&self, source: SourceName, subject: &str, message: &str) -> bool {
        let known = self.troubles.get(&(source, subject.to_owned()));
        known.is_some_and(|known| known == message)
    }

    fn all_of(&self, source: SourceName) -> Relist {
        let virtual_services = || self.snapshot.virtual_services.keys().cloned().collect();
        let nodes = || self.snapshot.nodes.keys().cloned().collect();
        match source {
            SourceName::VirtualServices => Relist {
                virtual_services: virtual_services(),
                ..Relist::default()
            },
            SourceName::Nodes => Relist {
                nodes: nodes(),
                ..Relist::default()
            },
            SourceName::NodeStates => Relist {
                peers: match &self.snapshot.peers {
                    Peers::Reported(peers) => peers.keys().cloned().collect(),
                    Peers::Silent => BTreeSet::new(),
                },
                ..Relist::default()
            },
            // What it says stays in force until it says something else: see `undo_switch`.
            SourceName::UndoSwitch => Relist::default(),
            // Their lists come as a whole.
            SourceName::EndpointSlices => Relist::default(),
            SourceName::Directory => Relist {
                virtual_services: virtual_services(),
                nodes: nodes(),
                ..Relist::default()
            },
        }
    }

    /// What is known.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The Services whose endpoints `node` has to know: those of the VIPs that it may hold.
    pub fn services_of(&self, node: &NodeName) -> BTreeSet<ServiceName> {
        let labels = match self.snapshot.nodes.get(node) {
            Some(node) if node.is_director() => &node.labels,
            Some(_) | None => return BTreeSet::new(),
        };
        let accepted = self.snapshot.virtual_services.values();
        let accepted = accepted.filter_map(|object| object.as_ref().ok());
        accepted
            .filter(|object| object.directors.selector.matches(labels))
            .filter_map(|object| object.real_servers.service.clone())
            .collect()
    }

    /// Whether what is known is all there is.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether all sources can be read now, as far as their watches know.
    pub fn is_fresh(&self) -> bool {
        let mut subjects = self.troubles.keys().map(|(_, subject)| subject);
        subjects.all(|subject| subject != WATCH_SUBJECT)
    }

    /// Which sources have been read completely at least once.
    pub fn synced(&self) -> &BTreeMap<SourceName, bool> {
        &self.synced
    }

    /// Whether all of them have.
    pub fn is_synced(&self) -> bool {
        self.synced.values().all(|synced| *synced)
    }

    /// What is wrong, by source and subject.
    pub fn troubles(&self) -> &BTreeMap<(SourceName, String), String> {
        &self.troubles
    }

    /// Which objects, in which generation, are known: accepted or refused.
    pub fn seen(&self) -> Seen {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Admitted, Manifest, parse_manifests},
        model::{BACKEND_LABEL, DIRECTOR_LABEL, Node, PeerState, Reason, Refusal, Slice},
    };

    const KUBERNETES: [SourceName; 3] = [
        SourceName::VirtualServices,
        SourceName::Nodes,
        SourceName::NodeStates,
    ];

    fn refused(name: &str, generation: i64) -> Change {
        Change::VirtualService(Box::new(Admitted {
            key: VsKey::new("default", name),
            uid: name.to_owned(),
            generation,
            verdict: Err(Refusal::new(Reason::InvalidSpec, "broken")),
        }))
    }

    fn node(name: &str) -> Change {
        Change::Node(name.into(), Node::default())
    }

    fn names(store: &Store) -> Vec<String> {
        store
            .snapshot()
            .nodes
            .keys()
            .map(|name| name.0.clone())
            .collect()
    }

    #[test]
    fn it_is_synced_when_every_source_is() {
        let mut store = Store::new(&KUBERNETES);
        for source in KUBERNETES {
            assert!(!store.is_synced());
            assert!(store.apply(vec![Change::Relist(source), Change::Listed(source)]));
        }
        assert!(store.is_synced());
        assert!(
            !store.apply(vec![
                Change::Relist(SourceName::Nodes),
                Change::Listed(SourceName::Nodes)
            ]),
            "a list without news is no change"
        );
    }

    #[test]
    fn a_list_removes_what_it_does_not_name_and_nothing_of_other_sources() {
        let mut store = Store::new(&KUBERNETES);
        store.apply(vec![
            node("a"),
            node("b"),
            refused("web", 1),
            Change::Peer("a".into(), PeerState::default()),
        ]);
        store.apply(vec![
            Change::Relist(SourceName::Nodes),
            node("b"),
            node("c"),
            Change::Listed(SourceName::Nodes),
        ]);
        assert_eq!(names(&store), ["b", "c"]);
        assert_eq!(store.snapshot().virtual_services.len(), 1);
        assert!(matches!(&store.snapshot().peers, Peers::Reported(peers) if peers.len() == 1));
    }

    #[test]
    fn what_says_nothing_new_is_no_change() {
        let mut store = Store::new(&KUBERNETES);
        assert!(store.apply(vec![node("a")]));
        assert!(!store.apply(vec![node("a")]));
        assert!(store.apply(vec![refused("web", 1)]));
        assert!(!store.apply(vec![refused("web", 1)]));
        assert!(
            store.apply(vec![refused("web", 2)]),
            "a new generation must be reported as seen"
        );
        assert!(store.seen().compare(&store.seen().digest()).covers("web"));
    }

    #[test]
    fn endpoints_are_those_of_the_last_list_and_what_became_of_them() {
        let (web, other) = (
            ServiceName::new("shop", "web"),
            ServiceName::new("shop", "other"),
        );
        let mut store = Store::new(&KUBERNETES);
        let slice =
            |name: &str| Change::EndpointSlice(web.clone(), name.to_owned(), Slice::default());
        assert!(
            !store.apply(vec![slice("a")]),
            "nobody knows what other slices the Service has"
        );
        assert!(store.snapshot().endpoints.is_empty());
        let list = |service: &ServiceName| {
            Change::Endpoints([(service.clone(), Default::default())].into())
        };
        assert!(store.apply(vec![list(&web)]));
        assert!(!store.apply(vec![list(&web)]));
        assert!(store.apply(vec![slice("a"), slice("b")]));
        assert!(!store.apply(vec![slice("a")]));
        assert!(store.apply(vec![Change::NoEndpointSlice(web.clone(), "a".to_owned())]));
        assert_eq!(store.snapshot().endpoints[&web].len(), 1);
        assert!(store.apply(vec![list(&other)]));
        assert!(!store.snapshot().endpoints.contains_key(&web));
    }

    #[test]
    fn only_directors_need_endpoints_and_only_of_their_own_vips() {
        let mut store = Store::new(&KUBERNETES);
        let follower = |name: &str, rack: Option<&str>| {
            let selector = rack.map_or(String::new(), |rack| {
                format!("directors: {{nodeSelector: {{matchLabels: {{rack: {rack}}}}}}}, ")
            });
            let text = format!(
                "apiVersion: directway.dev/v1alpha1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\n\
                 spec: {{{selector}vips: [10.0.0.100], ports: [{{port: 80}}], realServers: {{service: {{name: {name}}}}}}}\n"
            );
            match parse_manifests("test", &text).pop() {
                Some(Ok(Manifest::VirtualService(admitted))) => Change::VirtualService(admitted),
                other => panic!("{other:?}"),
            }
        };
        let labelled = |name: &str, labels: &[(&str, &str)]| {
            let labels = labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let node = Node {
                labels: labels.collect(),
                ..Node::default()
            };
            Change::Node(name.into(), node)
        };
        store.apply(vec![
            refused("broken", 1),
            follower("web", None),
            follower("db", Some("b")),
            labelled("d", &[(DIRECTOR_LABEL, "true"), ("rack", "a")]),
            labelled("e", &[(DIRECTOR_LABEL, "true"), ("rack", "b")]),
            labelled("r", &[(BACKEND_LABEL, "true"), ("rack", "b")]),
        ]);
        let (web, db) = (
            ServiceName::new("shop", "web"),
            ServiceName::new("shop", "db"),
        );
        assert_eq!(store.services_of(&"d".into()), [web.clone()].into());
        assert_eq!(store.services_of(&"e".into()), [db, web].into());
        assert_eq!(store.services_of(&"r".into()), [].into());
        assert_eq!(store.services_of(&"nobody".into()), [].into());
    }

    #[test]
    fn a_trouble_is_known_until_it_is_over() {
        let mut store = Store::new(&[SourceName::Directory]);
        let trouble = || Change::Trouble {
            source: SourceName::Directory,
            subject: "web.yaml".to_owned(),
            message: "line 1: what?".to_owned(),
        };
        assert!(store.apply(vec![trouble()]) && !store.apply(vec![trouble()]));
        assert_eq!(store.troubles().len(), 1);
        assert!(store.apply(vec![Change::NoTrouble {
            source: SourceName::Directory,
            subject: "web.yaml".to_owned()
        }]));
        assert!(store.troubles().is_empty());
    }
}

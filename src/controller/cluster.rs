//! What the watches say of the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;

use crate::{
    api::{Admitted, Agreement, Report, Seen, VirtualServiceStatus},
    model::{Node, NodeName, Snapshot, VsKey},
};

/// A VirtualService beyond what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The API server's identity of the object.
    pub uid: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// What is written there now; `None` if nothing, or nothing that makes sense.
    pub status: Option<VirtualServiceStatus>,
    /// For events.
    pub reference: ObjectReference,
}

/// Everything that statuses depend on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// VirtualServices and nodes as all agents see them.
    pub snapshot: Snapshot,
    /// The same VirtualServices beyond what they ask for.
    pub objects: BTreeMap<VsKey, Object>,
    /// What the agents report; garbled ones say what is wrong.
    pub reports: BTreeMap<NodeName, Result<Report, String>>,
    synced: [bool; 3],
}

/// News of one kind of object.
#[derive(Clone, Debug)]
pub enum News<K, T> {
    /// All there are.
    All(Vec<(K, T)>),
    /// This one is now so.
    Is(K, T),
    /// This one is gone.
    Gone(K),
}

/// News from a watch.
#[derive(Clone, Debug)]
pub enum Change {
    /// Of VirtualServices.
    VirtualService(News<VsKey, Box<(Admitted, Object)>>),
    /// Of nodes.
    Node(News<NodeName, Node>),
    /// Of reports.
    Report(News<NodeName, Box<Result<Report, String>>>),
}

/// The sources, as `/readyz` names them.
const SOURCES: [&str; 3] = ["VirtualServices", "Nodes", "NodeStates"];

impl Cluster {
    /// Takes over a change; tells whether anything is different now.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::VirtualService(news) => {
                if let News::All(all) = &news {
                    let named: std::collections::BTreeSet<_> =
                        all.iter().map(|(key, _)| key).collect();
                    self.objects.retain(|key, _| named.contains(key));
                    self.snapshot
                        .virtual_services
                        .retain(|key, _| named.contains(key));
                }
                let (snapshot, objects) = (&mut self.snapshot, &mut self.objects);
                absorb(news, &mut self.synced[0], |key, value| match value {
                    Some(value) => {
                        let (admitted, object) = *value;
                        let old = snapshot
                            .virtual_services
                            .insert(key.clone(), admitted.verdict);
                        let same = snapshot.virtual_services.get(&key) == old.as_ref();
                        let old = objects.insert(key.clone(), object);
                        !(same && objects.get(&key) == old.as_ref())
                    }
                    None => {
                        snapshot.virtual_services.remove(&key);
                        objects.remove(&key).is_some()
                    }
                })
            }
            Change::Node(news) => {
                let nodes = &mut self.snapshot.nodes;
                if let News::All(all) = &news {
                    nodes.retain(|name, _| all.iter().any(|(named, _)| named == name));
                }
                absorb(news, &mut self.synced[1], |name, node| {
                    replace(nodes, name, node)
                })
            }
            Change::Report(news) => {
                let reports = &mut self.reports;
                if let News::All(all) = &news {
                    reports.retain(|name, _| all.iter().any(|(named, _)| named == name));
                }
                absorb(news, &mut self.synced[2], |name, report| {
                    replace(reports, name, report.map(|report| *report))
                })
            }
        }
    }

    /// Sources that have not been read completely yet.
    pub fn missing(&self) -> Vec<String> {
        let sources = SOURCES.iter().zip(self.synced);
        sources
            .filter(|(_, synced)| !synced)
            .map(|(source, _)| format!("{source}: not synced"))
            .collect()
    }

    /// Which VirtualServices there are, in which generation.
    pub fn seen(&self) -> Seen {
        let objects = self.objects.values();
        objects
            .map(|object| (object.uid.clone(), object.generation))
            .collect()
    }

    /// Of which VirtualServices each node's report speaks.
    pub fn agreements(&self) -> BTreeMap<NodeName, Agreement> {
        let seen = self.seen();
        let readable = self
            .reports
            .iter()
            .filter_map(|(name, report)| Some((name, report.as_ref().ok()?)));
        readable
            .map(|(name, report)| (name.clone(), seen.compare(&report.observed)))
            .collect()
    }
}

fn replace<T: PartialEq>(
    map: &mut BTreeMap<NodeName, T>,
    name: NodeName,
    value: Option<T>,
) -> bool {
    match value {
        Some(value) if map.get(&name) == Some(&value) => false,
        Some(value) => {
            map.insert(name, value);
            true
        }
        None => map.remove(&name).is_some(),
    }
}

/// A complete list counts as different: something may be gone.
fn absorb<K, T>(
    news: News<K, T>,
    synced: &mut bool,
    mut one: impl FnMut(K, Option<T>) -> bool,
) -> bool {
    match news {
        News::All(all) => {
            for (key, value) in all {
                one(key, Some(value));
            }
            *synced = true;
            true
        }
        News::Is(key, value) => one(key, Some(value)),
        News::Gone(key) => one(key, None),
    }
}

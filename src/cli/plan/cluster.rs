//! What applying (or deleting) manifests would change on every node of a cluster.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use crate::{
    api::{Manifest, OtherManifest, ParsedVirtualService, parse_manifests},
    cli::{
        Failure,
        snapshot::{cluster_with_endpoints, problems},
    },
    desired::{RealServerState, admit, directors, no_endpoints, placement, real_servers},
    election::Placement,
    forecast::{Forecast, ForecastCluster, settle},
    model::{
        Endpoint, EndpointState, Reason, Refusal, ServiceName, Slice, Snapshot, VirtualService,
        VsKey,
    },
};

use super::{
    Args,
    document::{Document, Refused, by_node, refusals_of},
    read, world,
};

pub(super) fn plan(args: &Args, file: &Path) -> Result<Document, Failure> {
    let changes = changes(file, &read("--filename", file)?)?;
    let accepted = changes.services.iter();
    let accepted = accepted.filter_map(|admitted| admitted.parsed.as_ref().ok());
    let services = accepted.filter_map(|object| object.real_servers.service.clone());
    let cluster = cluster_with_endpoints(&args.kube, &services.collect())?;
    let mut world = world::world(&cluster);
    let mut document = forecast(cluster.snapshot(), &changes, args.delete, &mut world);
    document.notes.extend(problems(&cluster));
    let liveness = args.leases.look(&args.kube)?;
    document.notes.extend(world::doubts(&cluster, &liveness));
    Ok(document)
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Its VirtualServices.
    pub services: Vec<ParsedVirtualService>,
    /// Its other objects, such as a Deployment and its Service: agents act on none of them.
    pub others: Vec<OtherManifest>,
    /// Refusals of documents that could not be read.
    pub unreadable: Vec<Refusal>,
}

fn changes(file: &Path, text: &str) -> Result<Changes, Failure> {
    let name = if file.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    };
    let mut changes = Changes::default();
    for manifest in parse_manifests(&name, text) {
        match manifest {
            Ok(Manifest::VirtualService(admitted)) => changes.services.push(*admitted),
            // Nodes of the file are ignored, because the cluster has its own.
            Ok(Manifest::Node(..)) => {}
            Ok(Manifest::Other(other)) => changes.others.push(other),
            Err(refusal) => changes.unreadable.push(refusal),
        }
    }
    if changes.services.is_empty() && changes.unreadable.is_empty() {
        return Err(Failure::Usage(format!(
            "--filename {name}: has no VirtualService"
        )));
    }
    Ok(changes)
}

/// The plan: first the present objects are forecast to the end, then the changes are made and forecast.
pub(super) fn forecast(
    before: &Snapshot,
    changes: &Changes,
    delete: bool,
    world: &mut ForecastCluster,
) -> Document {
    settle(before, world);
    let mut after = before.clone();
    for admitted in &changes.services {
        if delete {
            after.virtual_services.remove(&admitted.key);
        } else {
            let old = before.virtual_services.get(&admitted.key);
            let new = as_applied(admitted, old);
            after.virtual_services.insert(admitted.key.clone(), new);
        }
    }
    let assumed = if delete {
        Vec::new()
    } else {
        assume_endpoints(changes, &mut after)
    };
    let forecast = settle(&after, world);
    let mut notes = forecast
        .nodes
        .values()
        .flat_map(|node| node.notes.clone())
        .chain(assumed)
        .collect::<BTreeSet<_>>();
    if !changes.others.is_empty() {
        let others: Vec<String> = changes.others.iter().map(ToString::to_string).collect();
        notes.insert(format!("not a part of this plan: {}", others.join(", ")));
    }
    if !forecast.settled {
        notes.insert("this goes on and on: please report it, with the manifests".to_owned());
    }
    let mut refusals: BTreeSet<Refused> = changes
        .unreadable
        .iter()
        .map(|refusal| Refused::new("-", None, refusal))
        .collect();
    if !delete {
        refusals.extend(refused(before, &after, changes, &forecast, world));
    }
    Document {
        nodes: by_node(&forecast),
        refusals: refusals.into_iter().collect(),
        notes: notes.into_iter().collect(),
    }
}

/// A Service that comes with the file has no endpoints yet. They are taken as they are meant: a ready one on every node
/// that is selected. Returns a note for each such Service.
fn assume_endpoints(changes: &Changes, after: &mut Snapshot) -> Vec<String> {
    let backends = after.nodes.iter().filter(|(_, node)| node.is_backend());
    let endpoints: Vec<Endpoint> = backends
        .flat_map(|(name, node)| {
            node.addresses.iter().map(move |address| Endpoint {
                address: *address,
                node: Some(name.clone()),
                state: EndpointState::Ready,
            })
        })
        .collect();
    let accepted = changes.services.iter();
    let accepted = accepted.filter_map(|admitted| admitted.parsed.as_ref().ok());
    let followed: BTreeSet<&ServiceName> = accepted
        .filter_map(|object| object.real_servers.service.as_ref())
        .collect();
    let mut notes = Vec::new();
    for service in changes.others.iter().filter_map(OtherManifest::service) {
        let slices = after.endpoints.entry(service.clone()).or_default();
        let has_some = slices.values().any(|slice| !slice.endpoints.is_empty());
        if has_some || !followed.contains(&service) {
            continue;
        }
        let slice = Slice {
            endpoints: endpoints.clone(),
            ..Slice::default()
        };
        slices.insert("assumed".to_owned(), slice);
        notes.push(format!(
            "Service {service} has no endpoints yet: a ready one was assumed on every selected node"
        ));
    }
    notes
}

/// What the API server would make of it: an object that exists keeps its age, a new one is the youngest.
fn as_applied(
    admitted: &ParsedVirtualService,
    old: Option<&Result<Arc<VirtualService>, Refusal>>,
) -> Result<Arc<VirtualService>, Refusal> {
    let mut shared = admitted.parsed.clone()?;
    let new = Arc::make_mut(&mut shared);
    match old {
        Some(Ok(old)) => {
            new.created = old.created;
            new.uid.clone_from(&old.uid);
        }
        // The age of an invalid object is not known either, unless the manifest has it.
        Some(Err(_)) if new.created > 0 => {}
        Some(Err(_)) | None => new.created = i64::MAX,
    }
    Ok(shared)
}

/// Refusals of the file's objects, and of other objects because of them.
fn refused(
    before: &Snapshot,
    after: &Snapshot,
    changes: &Changes,
    forecast: &Forecast,
    world: &ForecastCluster,
) -> BTreeSet<Refused> {
    let mut refused = BTreeSet::new();
    let keys: BTreeSet<&VsKey> = changes
        .services
        .iter()
        .map(|admitted| &admitted.key)
        .collect();
    let (was, is) = (admit(before), admit(after));
    let placement = placement(after, &is);
    for (key, refusal) in &is.refused {
        if keys.contains(*key) || !was.refused.contains_key(*key) {
            refused.insert(Refused::new(key, None, refusal));
        }
    }
    for key in keys {
        let Some(virtual_service) = is.accepted.get(key) else {
            continue;
        };
        refused.extend(nobody_s(
            virtual_service,
            after,
            &placement,
            forecast,
            world,
        ));
        for (name, node) in &forecast.nodes {
            let Some(parsed) = node.virtual_services.get(key) else {
                continue;
            };
            let all = refusals_of(parsed);
            refused.extend(all.map(|refusal| Refused::new(key, Some(name), refusal)));
        }
    }
    refused
}

/// Refusals that no node reports, because none has a part in the VirtualService or its agent has not reported.
fn nobody_s(
    virtual_service: &VirtualService,
    snapshot: &Snapshot,
    placement: &Placement<'_>,
    forecast: &Forecast,
    world: &ForecastCluster,
) -> Vec<Refused> {
    let key = &virtual_service.key;
    let mut refused = Vec::new();
    if directors(virtual_service, snapshot).next().is_none() {
        let refusal = Refusal::new(
            Reason::NoDirector,
            "no node is a director for it: label one with directway.dev/director=true, or widen spec.directors.nodeSelector",
        );
        refused.push(Refused::new(key, None, &refusal));
    }
    for vip in &virtual_service.vips {
        let real_servers = real_servers(virtual_service, *vip, snapshot, None);
        let absent = |state: &RealServerState| *state == RealServerState::Absent;
        if let Some(service) = &virtual_service.real_servers.service
            && !real_servers.by_address.is_empty()
            && placement
                .first(*vip)
                .and_then(|name| {
                    let virtual_services = &forecast.nodes.get(name)?.virtual_services;
                    virtual_services.get(key)?.real_servers_of(*vip)
                })
                .is_some_and(|states| states.all().all(absent))
        {
            refused.push(Refused::new(key, None, &no_endpoints(service)));
        }
        if real_servers.by_address.is_empty() {
            let refusal = Refusal::new(
                Reason::NoRealServers,
                "no node or external host is selected: label nodes with directway.dev/backend=true, or widen spec.realServers.nodeSelector",
            );
            refused.push(Refused::new(key, None, &refusal));
        }
        for (name, refusal) in &real_servers.refused {
            refused.push(Refused::new(key, Some(name), refusal));
        }
        if let Some(name) = placement.first(*vip)
            && !world.nodes.contains_key(name)
        {
            let refusal = Refusal::new(
                Reason::Pending,
                format!(
                    "{name} would hold {vip}, but its agent has not reported; is it running there?"
                ),
            );
            refused.push(Refused::new(key, Some(name), &refusal));
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BACKEND_LABEL, Node, NodeName};

    fn example() -> Changes {
        let text = include_str!("../../../examples/deployment.yaml");
        changes(Path::new("deployment.yaml"), text).unwrap()
    }

    fn cluster() -> Snapshot {
        let node = |host: u8| Node {
            labels: [(BACKEND_LABEL.to_owned(), "true".to_owned())].into(),
            addresses: vec![[192, 168, 188, host].into()],
            ..Node::default()
        };
        let nodes = [("r1", 11), ("r2", 12)].map(|(name, host)| (NodeName::from(name), node(host)));
        Snapshot {
            nodes: nodes.into(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_service_that_comes_with_its_virtual_service_is_taken_as_running() {
        let (changes, mut after) = (example(), cluster());
        assert_eq!(
            (changes.services.len(), &changes.unreadable[..]),
            (1, &[][..])
        );
        let others: Vec<String> = changes.others.iter().map(ToString::to_string).collect();
        assert_eq!(others, ["Deployment default/web", "Service default/web"]);
        let notes = assume_endpoints(&changes, &mut after);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("Service default/web"), "{notes:?}");
        let known = &after.endpoints[&ServiceName::new("default", "web")]["assumed"];
        assert_eq!(known.endpoints.len(), 2);
    }

    #[test]
    fn endpoints_that_are_there_are_taken_as_they_are() {
        let (changes, mut after) = (example(), cluster());
        let one = Slice {
            endpoints: vec![Endpoint {
                address: [192, 168, 188, 11].into(),
                node: None,
                state: EndpointState::NotReady,
            }],
            ..Slice::default()
        };
        let service = ServiceName::new("default", "web");
        let known = [(service, [("web-1".to_owned(), one)].into())];
        after.endpoints = known.into();
        let before = after.clone();
        assert_eq!(assume_endpoints(&changes, &mut after), Vec::<String>::new());
        assert_eq!(after, before);
    }

    #[test]
    fn a_misspelt_kind_of_ours_is_refused() {
        let text =
            "apiVersion: directway.dev/v1alpha1\nkind: VirtualServce\nmetadata: {name: web}\n";
        let changes = changes(Path::new("web.yaml"), text).unwrap();
        assert_eq!((changes.others.len(), changes.unreadable.len()), (0, 1));
    }
}

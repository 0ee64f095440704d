//! What applying (or deleting) manifests would change on every node of a cluster.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use crate::{
    api::{Manifest, ParsedVirtualService, parse_manifests},
    cli::{
        Failure,
        snapshot::{cluster_with_endpoints, problems},
    },
    desired::{RealServerState, admit, directors, no_endpoints, placement, real_servers},
    election::Placement,
    forecast::{Forecast, ForecastCluster, settle},
    model::{Reason, Refusal, Snapshot, VirtualService, VsKey},
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
    document.notes.extend(world::doubts(&cluster));
    Ok(document)
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Its VirtualServices.
    pub services: Vec<ParsedVirtualService>,
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
    let forecast = settle(&after, world);
    let mut notes = forecast
        .nodes
        .values()
        .flat_map(|node| node.notes.clone())
        .collect::<BTreeSet<_>>();
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
                .is_some_and(|states| states.values().all(absent))
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

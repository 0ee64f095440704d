//! What this node's agent reports: what is observed, never what is intended.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    api::{Report, Undoing},
    cluster::{Store, WATCH_SUBJECT},
    kernel::{OpError, RefusalKind},
    metrics::Gauges,
    model::{
        AddressKey, IpRanges, Ipvs, IpvsSetting, NodeName, Observed, PeerState, Peers, Preflight,
        PreflightCheck, Protocol, ProxyDanger, Reason, Refusal, Reserved, Role, VsKey,
        has_proxy_device,
    },
    plan::Subject,
};

use super::{
    PassError, PassResult, PassState, RunDirError,
    directing::{directing, our_services},
    nics::reported_nics,
};

/// The report on a pass; `drift` counts since the agent's start. `None` if the pass has no state.
pub fn report(node: &NodeName, store: &Store, end: &PassResult<'_>, drift: u64) -> Option<Report> {
    let state = end.state.as_ref()?;
    let roles = store.snapshot().nodes.get(node);
    let (services, destinations) = programmed(state);
    Some(Report {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        observed: store.seen().digest(),
        is_director: roles.is_some_and(|node| node.is_director()),
        is_backend: roles.is_some_and(|node| node.is_backend()),
        networks: reported_nics(&state.observed, &state.ledger),
        arp_all: state.observed.arp_all,
        vip_devices: Some(state.vip_devices.clone()),
        peer: PeerState {
            reserved: reserved(store, state),
            ..peer_state(state)
        },
        refused: refused(store, end, state),
        conflicts: state
            .conflicts
            .iter()
            .map(|(key, conflict)| ((key.ip, key.dev.clone()), conflict.clone()))
            .collect(),
        moves: state.moves.clone(),
        drains: state.drains.clone(),
        warnings: warnings(state),
        preflight: preflight(node, store, end, state),
        services,
        destinations,
        drift,
        repairs: state.repairs.clone(),
        undo: store.snapshot().undo.clone().map(|request| Undoing {
            request,
            done: end.leaves_nothing(),
        }),
        left_out: 0,
    })
}

/// What a node lacks that works with what was on disk, because the sources in `missing` could not be read.
pub fn on_last_known(at: &str, missing: &[String]) -> Preflight {
    Preflight {
        check: PreflightCheck::Source,
        message: format!(
            "not read since the agent's start: {}; serving what was known at {at}, nothing is removed",
            missing.join("; ")
        ),
        fix: "see what the message names".to_owned(),
    }
}

/// The part of the report that other nodes act on.
pub fn peer_state(state: &PassState<'_>) -> PeerState {
    PeerState {
        addresses: state.observed.own_addresses(),
        reserved: state.reserved.clone(),
        macs: state.observed.own_macs(),
        bound: bound(state),
        held: held(state),
        incomplete: state.incomplete.clone(),
        directing: directing(state),
        partial: false,
    }
}

/// What can be no VIP because of this node, without the addresses of nodes: on some networks each node is the next hop of
/// all others.
fn reserved(store: &Store, state: &PassState<'_>) -> Reserved {
    let nodes = store.snapshot().nodes.values();
    let nodes: BTreeSet<&IpAddr> = nodes.flat_map(|node| &node.addresses).collect();
    let all = state.reserved.iter();
    all.filter(|(ip, _)| !nodes.contains(ip))
        .map(|(ip, what)| (*ip, *what))
        .collect()
}

/// Whether every interface that must be quiet for this node's VIPs is, effectively.
fn is_quiet(state: &PassState<'_>) -> bool {
    let observed = &state.observed;
    state.desired.net.arp.iter().all(|(dev, _)| {
        observed
            .links
            .get(dev)
            .is_none_or(|link| link.arp.effective(observed.arp_all).is_quiet())
    })
}

/// VIPs that are bound where they should be; none unless the whole node is quiet.
fn bound(state: &PassState<'_>) -> IpRanges {
    if !is_quiet(state) {
        return IpRanges::default();
    }
    let there = &state.observed.net.addresses;
    let wanted = state.desired.net.addresses.iter();
    // Without those about to be removed: a director that reads of the removal late must not add this node for them.
    wanted
        .filter(|(key, role)| **role == Role::Quiet && there.contains_key(key))
        .filter(|(key, _)| !state.desired.is_leaving(key))
        .map(|(key, _)| key.ip)
        .collect()
}

fn held(state: &PassState<'_>) -> IpRanges {
    held_keys(state).map(|key| key.ip).collect()
}

fn held_keys<'a>(state: &'a PassState<'_>) -> impl Iterator<Item = &'a AddressKey> {
    let there = &state.observed.net.addresses;
    let wanted = state.desired.net.addresses.iter();
    wanted
        .filter(|(key, role)| **role == Role::Held && there.contains_key(key))
        .map(|(key, _)| key)
}

/// The number of our services and of their destinations in the kernel.
fn programmed(state: &PassState<'_>) -> (usize, usize) {
    let ours = our_services(state);
    ours.fold((0, 0), |(services, destinations), (_, service)| {
        (services + 1, destinations + service.destinations.len())
    })
}

/// What endangers the services that this node should have.
fn warnings(state: &PassState<'_>) -> BTreeMap<Refusal, IpRanges> {
    let device = has_proxy_device(&state.observed);
    let vips: BTreeSet<IpAddr> = state
        .desired
        .net
        .services
        .keys()
        .map(|key| key.vip)
        .collect();
    let mut endangered: BTreeMap<ProxyDanger, Vec<IpAddr>> = BTreeMap::new();
    for vip in vips {
        let vanished = state.vanished.contains(&vip);
        if let Some(danger) = state.kube_proxy.danger(device, vip, vanished) {
            endangered.entry(danger).or_default().push(vip);
        }
    }
    endangered
        .into_iter()
        .map(|(danger, vips)| {
            let ranges = vips.into_iter().collect();
            (state.kube_proxy.explain(danger), ranges)
        })
        .chain(state.overwritten.clone())
        .collect()
}

fn refused(store: &Store, end: &PassResult<'_>, state: &PassState<'_>) -> BTreeMap<VsKey, Refusal> {
    let mut refused = BTreeMap::new();
    let mut failed: BTreeMap<Subject, Refusal> = BTreeMap::new();
    for (op, error) in end.outcome.failures() {
        // The first failure is the cause of others on the same subject.
        failed.entry(op.subject()).or_insert_with(|| failure(error));
    }
    for (key, vs_state) in &state.desired.virtual_services {
        if let Some(refusal) = &vs_state.refusal {
            refused.insert(key.clone(), refusal.clone());
            continue;
        }
        let accepted = state.admission.accepted.get(key);
        // Objects that share a VIP have services of their own: the failure of one does not concern the others.
        let mut subjects = accepted.into_iter().flat_map(|object| {
            let vips = object.vips.iter().copied().map(Subject::Vip);
            vips.chain(object.services().map(Subject::Service))
        });
        if let Some(refusal) = subjects.find_map(|subject| failed.get(&subject)) {
            refused.insert(key.clone(), refusal.clone());
        }
    }
    match store.snapshot().peers {
        // With an API server, the controller reports objects that are refused on all nodes.
        Peers::Reported(_) => {}
        Peers::Silent => {
            for (key, refusal) in &state.admission.refused {
                refused.insert((*key).clone(), refusal.clone());
            }
        }
    }
    refused
}

/// An op's failure as a refusal.
fn failure(error: &OpError) -> Refusal {
    let reason = match error {
        OpError::Refused { kind, .. } => match kind {
            RefusalKind::NoScheduler => Reason::SchedulerMissing,
            RefusalKind::NoIpvs => Reason::IpvsMissing,
            RefusalKind::AlreadyThere
            | RefusalKind::NotThere
            | RefusalKind::NoDevice
            | RefusalKind::NoIpv4
            | RefusalKind::NotPermitted
            | RefusalKind::Other => Reason::KernelRefused,
        },
        OpError::Unsent(_) => Reason::KernelRefused,
    };
    Refusal::new(reason, error.to_string())
}

/// What is wrong if the sources have no Node of this name: such an agent has no role and does nothing.
fn unknown_node(node: &NodeName, store: &Store) -> Option<String> {
    let known = &store.snapshot().nodes;
    if known.contains_key(node) {
        return None;
    }
    let nearest = node.nearest(known.keys());
    let nearest = nearest.map(|name| format!("; there is {name}"));
    Some(format!(
        "no Node is named {node}, so this agent has no role{}",
        nearest.unwrap_or_default()
    ))
}

/// That nothing is removed because of these files, and what stays for that reason.
fn held_back(files: &BTreeSet<String>, vips: &BTreeSet<IpAddr>) -> String {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let stays = if vips.is_empty() {
        String::new()
    } else {
        let vips: IpRanges = vips.iter().copied().collect();
        format!("; what is there of {vips} stays")
    };
    format!(
        "{} could never be read completely, so what else they ask for is not known: nothing is removed{stays}",
        files.join(", ")
    )
}

fn preflight(
    node: &NodeName,
    store: &Store,
    end: &PassResult<'_>,
    state: &PassState<'_>,
) -> Vec<Preflight> {
    let error = end.error.as_ref();
    let of_pass = error.and_then(failed_pass).into_iter();
    of_pass
        .chain(missing_objects(node, store, state))
        .chain(missing_ipvs(&state.observed))
        .chain(foreign_daemons(state))
        .chain(udp_clients(state))
        .chain(persistent_clients(state))
        .chain(failed_ops(end))
        .chain(problems(store))
        .collect()
}

fn entry(check: PreflightCheck, message: String, fix: &str) -> Preflight {
    Preflight {
        check,
        message,
        fix: fix.to_owned(),
    }
}

/// What kept the pass from its work.
fn failed_pass(error: &PassError) -> Option<Preflight> {
    match error {
        PassError::RunDir(RunDirError::Ledger(error)) => Some(entry(
            PreflightCheck::Needs(Reason::LedgerUnwritable),
            format!("{error}; nothing is changed until then"),
            "give the agent a writable --run-dir with an undamaged ledger",
        )),
        PassError::Kernel(_) => Some(entry(
            PreflightCheck::Needs(Reason::KernelRefused),
            error.to_string(),
            "see what the message names",
        )),
        // Such a pass has no findings to report.
        PassError::RunDir(RunDirError::Busy { .. }) => None,
    }
}

/// What the sources do not have: this node, or what is in files that cannot be read.
fn missing_objects(
    node: &NodeName,
    store: &Store,
    state: &PassState<'_>,
) -> impl Iterator<Item = Preflight> {
    let node = unknown_node(node, store).map(|problem| {
        entry(
            PreflightCheck::NodeName,
            problem,
            "start the agent with the --node-name that the Node has, or add a Node with this name",
        )
    });
    let unread = (!store.unread().is_empty()).then(|| {
        entry(
            PreflightCheck::UnreadManifest,
            held_back(store.unread(), &state.desired.held_back),
            "correct the file, or delete it to delete what it had",
        )
    });
    node.into_iter().chain(unread)
}

fn missing_ipvs(observed: &Observed) -> Option<Preflight> {
    match &observed.ipvs {
        Ipvs::Missing(why) => Some(entry(
            PreflightCheck::Needs(Reason::IpvsMissing),
            why.clone(),
            "use a kernel with CONFIG_IP_VS (modprobe ip_vs); needed on directors only",
        )),
        Ipvs::Present => None,
    }
}

/// Daemons of other programs that are in the place of directway's.
fn foreign_daemons(state: &PassState<'_>) -> impl Iterator<Item = Preflight> {
    let (observed, wanted) = (&state.observed, &state.desired.net);
    let running = observed.net.sync.iter();
    let foreign = running.filter(move |(half, daemon)| {
        let ours = state.ledger.own_daemon(**half, observed).is_some();
        !ours && wanted.sync.get(half).is_some_and(|it| it != *daemon)
    });
    foreign.map(|(half, daemon)| {
        entry(
            PreflightCheck::ConnectionSync,
            format!(
                "an IPVS {half} daemon that is not directway's runs here (syncid {} on {}): this node's connections are not exchanged",
                daemon.id, daemon.dev
            ),
            "stop it (ipvsadm --stop-daemon), or leave --sync-interface out",
        )
    })
}

/// That clients of UDP services stay with a real server that is gone.
fn udp_clients(state: &PassState<'_>) -> Option<Preflight> {
    let settings = &state.observed.net.ipvs;
    let is_unset = settings.get(&IpvsSetting::ExpireNodestConn) == Some(&0);
    (is_unset && serves_udp(state)).then(|| {
        entry(
            PreflightCheck::ExpireNodestConn,
            "net.ipv4.vs.expire_nodest_conn=0: a UDP client that keeps its port gets no answer for five minutes after its real server is gone".to_owned(),
            "--ipvs-setting expire_nodest_conn=1 for the agent (agent.ipvsSettings in the chart)",
        )
    })
}

/// That clients of services with persistence stay with a real server that is drained. The setting applies to foreign
/// services too, so the node's administrator decides.
fn persistent_clients(state: &PassState<'_>) -> Option<Preflight> {
    let settings = &state.observed.net.ipvs;
    let is_unset = settings.get(&IpvsSetting::ExpireQuiescentTemplate) == Some(&0);
    let mut ours = state.desired.net.services.values();
    let is_persistent = ours.any(|service| service.persistence.is_some());
    (is_unset && is_persistent).then(|| {
        entry(
            PreflightCheck::ExpireQuiescentTemplate,
            "net.ipv4.vs.expire_quiescent_template=0: a client of a service with persistence stays with a real server that is drained, or fails, until that is deleted".to_owned(),
            "--ipvs-setting expire_quiescent_template=1 for the agent (agent.ipvsSettings in the chart)",
        )
    })
}

/// Failed ops that concern no single VirtualService.
fn failed_ops(end: &PassResult<'_>) -> impl Iterator<Item = Preflight> {
    let failures = end.outcome.failures();
    let of_node = failures.filter(|(op, _)| op.subject() == Subject::Node);
    of_node.map(|(_, error)| {
        let refusal = failure(error);
        let check = PreflightCheck::Needs(refusal.reason);
        entry(check, refusal.message, "see what the message names")
    })
}

/// Objects that cannot be read. Failing watches are left out: while the API server fails, the report cannot be written;
/// later, they are over.
fn problems(store: &Store) -> impl Iterator<Item = Preflight> {
    let problems = store.problems().iter();
    let of_objects = problems.filter(|((_, subject), _)| subject != WATCH_SUBJECT);
    of_objects.map(|((source, subject), message)| {
        entry(
            PreflightCheck::Source,
            format!("{source}: {subject}: {message}"),
            "correct it at its source",
        )
    })
}

fn serves_udp(state: &PassState<'_>) -> bool {
    let mut ours = state.desired.net.services.keys();
    ours.any(|key| key.protocol == Protocol::Udp)
}

/// The report as gauges.
pub fn gauges(report: &Report, gauges: &mut Gauges) {
    let size = |ranges: &IpRanges| usize::try_from(ranges.len()).unwrap_or(usize::MAX);
    gauges.services = report.services;
    gauges.vips_bound = size(&report.peer.bound);
    gauges.vips_held.clone_from(&report.peer.held);
    gauges.conflicts.clone_from(&report.conflicts);
    gauges.real_servers_ready = 0;
    gauges.real_servers_draining = 0;
    gauges.real_servers_unready.clear();
    for group in &report.peer.directing {
        let vips = size(&group.vips);
        gauges.real_servers_ready += vips * size(&group.ready);
        let explained = group.unready.keys();
        let explained = explained.filter(|address| group.draining.contains(**address));
        gauges.real_servers_draining += vips * (size(&group.draining) - explained.count());
        for refusal in group.unready.values() {
            match refusal.reason {
                Reason::Draining => gauges.real_servers_draining += vips,
                reason => *gauges.real_servers_unready.entry(reason).or_default() += vips,
            }
        }
    }
    gauges.endangered.clear();
    for (warning, vips) in &report.warnings {
        *gauges.endangered.entry(warning.reason).or_default() += size(vips);
    }
    gauges.refused.clear();
    for refusal in report.refused.values() {
        *gauges.refused.entry(refusal.reason).or_default() += 1;
    }
}

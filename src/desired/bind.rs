use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::model::{
    AddressKey, ArpSettings, Dev, Interfaces, LinkKind, NodeName, NodeNet, PeerState, Peers,
    Reason, Refusal, Role,
};

use super::{
    DrainTimers, Inputs, keep,
    quiet::{keep_quiet, require_quiet},
    reserved::check_reserved,
};

/// Without reports from directors, how long beyond the drain time a real server keeps an unwanted VIP, so that
/// every director has read the same manifests and deleted the destination.
const SILENT_GRACE: Duration = Duration::from_secs(3);
/// With reports, how long it keeps the VIP although no director reports a destination: a director that has added one
/// may not have reported it yet. Agents write reports within a second.
const REPORT_GRACE: Duration = Duration::from_secs(3);
/// While everything is undone, how long it keeps the VIP for a director that still reports a destination: one that is
/// switched off will never report anything else, and all others delete their destinations.
const UNDO_GRACE: Duration = Duration::from_secs(20);

/// Adds what the node needs to carry `vip` quietly on `dev`. `named` is `spec.directors.interface`.
pub(super) fn carry(
    vip: IpAddr,
    named: Option<&Interfaces>,
    dev: &Dev,
    host_route: bool,
    inputs: &Inputs<'_>,
    net: &mut NodeNet,
) -> Result<(), Refusal> {
    prepare(vip, named, dev, inputs, net)?;
    match inputs.observed.links.get(dev).map(|link| link.kind) {
        Some(LinkKind::Loopback) => {}
        Some(LinkKind::Dummy) | None => {
            net.dummies.insert(dev.clone());
        }
        // 8 silences the NIC altogether, so it may carry nothing else.
        Some(LinkKind::Other) => {
            net.arp.insert(
                dev.clone(),
                ArpSettings {
                    ignore: 8,
                    announce: 2,
                },
            );
        }
    }
    net.addresses
        .entry(AddressKey::new(dev.clone(), vip))
        .or_insert(Role::Quiet);
    if host_route {
        net.routes.insert(AddressKey::new(dev.clone(), vip));
    }
    Ok(())
}

/// Adds what comes before the VIP, and refuses one that must not be on `dev`.
pub(super) fn prepare(
    vip: IpAddr,
    named: Option<&Interfaces>,
    dev: &Dev,
    inputs: &Inputs<'_>,
    net: &mut NodeNet,
) -> Result<(), Refusal> {
    let observed = inputs.observed;
    check_allowed(dev, inputs)?;
    check_own_address(vip, dev, inputs)?;
    check_reserved(vip, inputs)?;
    let kind = observed.links.get(dev).map(|link| link.kind);
    if kind == Some(LinkKind::Other) {
        check_empty_nic(vip, dev, inputs)?;
    }
    require_quiet(vip, named, observed, &mut net.arp)
}

/// Whether a refusal by [`carry`] is one of the device that is named, and not of the VIP.
pub(super) fn is_of_device(refusal: &Refusal) -> bool {
    matches!(
        refusal.reason,
        Reason::DeviceNotAllowed | Reason::DeviceInUse
    )
}

/// Refuses a device that the node's administrator has not allowed: it would be made, or silenced.
fn check_allowed(dev: &Dev, inputs: &Inputs<'_>) -> Result<(), Refusal> {
    let allowed = &inputs.options.vip_devices;
    if allowed.allow(dev) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::DeviceNotAllowed,
        format!(
            "spec.realServers.vipDevice {dev} is not allowed on this node: use one of {allowed}, or have its administrator allow it (agent.vipDevices in the chart, --vip-device)"
        ),
    ))
}

/// Refuses a VIP that is an address of this node and not directway's.
fn check_own_address(vip: IpAddr, dev: &Dev, inputs: &Inputs<'_>) -> Result<(), Refusal> {
    let observed = inputs.observed;
    let networked = observed
        .links
        .values()
        .find(|link| link.addresses.iter().any(|net| net.addr() == vip))
        .map(|link| &link.dev);
    let foreign = || {
        observed
            .devices_with(vip)
            .filter(|(key, role)| *role == Role::Held && key.dev != *dev)
            .find(|(key, _)| !inputs.ledger.owns_address(key, observed))
            .map(|(key, _)| &key.dev)
    };
    match networked.or_else(foreign) {
        Some(found) => Err(Refusal::new(
            Reason::VipIsNodeAddress,
            format!(
                "{vip} is an address of this node, on {found}, and not directway's; remove it there or use another VIP"
            ),
        )),
        None => Ok(()),
    }
}

fn check_empty_nic(vip: IpAddr, dev: &Dev, inputs: &Inputs<'_>) -> Result<(), Refusal> {
    let observed = inputs.observed;
    let refuse = |what: String| {
        Err(Refusal::new(
            Reason::DeviceInUse,
            format!(
                "spec.realServers.vipDevice {dev} {what}; arp_ignore=8 would silence it: use lo, a dummy device or a NIC that carries nothing else"
            ),
        ))
    };
    let Some(link) = observed.links.get(dev) else {
        return refuse("does not exist".to_owned());
    };
    if link.enslaved || !link.arp_capable {
        return refuse("is a port of a bridge or bond, or takes no part in ARP".to_owned());
    }
    let link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    if let Some(net) = link.addresses.iter().find(|net| !link_local(net.addr())) {
        return refuse(format!("carries {net}"));
    }
    let host_sized =
        observed.net.addresses.keys().find(|key| {
            key.dev == *dev && key.ip != vip && !inputs.ledger.owns_address(key, observed)
        });
    match host_sized {
        Some(key) => refuse(format!("carries {}", key.ip)),
        None => Ok(()),
    }
}

/// Keeps VIPs that the node carries quietly while a director may still send packets for them:
/// the destination goes first, the VIP after it.
pub(super) fn keep_while_directed(
    inputs: &Inputs<'_>,
    net: &mut NodeNet,
    timers: &mut DrainTimers,
    notes: &mut Vec<String>,
) {
    let observed = inputs.observed;
    let reliance = Reliance::new(inputs);
    let mut kept = false;
    for (key, role) in &observed.net.addresses {
        let quiet = *role == Role::Quiet
            || observed
                .links
                .get(&key.dev)
                .is_some_and(|link| link.arp.ignore == 8);
        if !quiet || net.addresses.contains_key(key) || !inputs.ledger.owns_address(key, observed) {
            continue;
        }
        // It has moved to another device, which accepts the packets as well.
        let has_moved = observed
            .devices_with(key.ip)
            .any(|(other, _)| net.addresses.get(other) == Some(&Role::Quiet));
        if has_moved {
            continue;
        }
        let Some(why) = reliance.on(key, timers) else {
            continue;
        };
        notes.push(format!("{} stays on {}: {why}", key.ip, key.dev));
        keep::quiet_address(key, inputs, net, notes);
        kept = true;
    }
    if kept {
        keep_quiet(observed, inputs.ledger, &mut net.arp);
    }
}

/// Who may still send packets for VIPs that nothing asks of this node any more. What is the same for all of them is
/// computed once.
struct Reliance<'a> {
    inputs: &'a Inputs<'a>,
    /// The drain times of VIPs that are still served elsewhere, where directors cannot report.
    drains: BTreeMap<IpAddr, Duration>,
    /// The addresses by which directors may know this node.
    own: Vec<IpAddr>,
    /// The reports of other nodes that are directors, or were lately.
    peers: Vec<(&'a NodeName, &'a PeerState)>,
    /// Whether other nodes are directors.
    others_direct: bool,
}

impl<'a> Reliance<'a> {
    fn new(inputs: &'a Inputs<'a>) -> Self {
        let snapshot = inputs.snapshot;
        let mut drains: BTreeMap<IpAddr, Duration> = BTreeMap::new();
        if snapshot.peers == Peers::Silent {
            let objects = snapshot.virtual_services.values();
            for object in objects.filter_map(|object| object.as_ref().ok()) {
                for vip in &object.vips {
                    let drain = drains.entry(*vip).or_default();
                    *drain = object.drain.max(*drain);
                }
            }
        }
        let is_other = |name: &NodeName| name != inputs.node;
        let networks = inputs.observed.links.values();
        let networks = networks.flat_map(|link| &link.addresses);
        let mut nodes = snapshot.nodes.iter();
        let reports = snapshot.peers.reports();
        Self {
            inputs,
            drains,
            own: networks.map(ipnet::IpNet::addr).collect(),
            peers: inputs
                .former
                .weigh(reports)
                .filter(|(name, _)| is_other(name) && snapshot.nodes.contains_key(*name))
                .collect(),
            others_direct: nodes.any(|(name, node)| is_other(name) && node.is_director()),
        }
    }

    /// Why a quiet VIP must stay; `None` if nobody relies on it.
    fn on(&self, key: &AddressKey, timers: &mut DrainTimers) -> Option<String> {
        let inputs = self.inputs;
        let waited = inputs.timers.unwanted_for(timers, key, inputs.now);
        if inputs.snapshot.peers == Peers::Silent {
            let drain = self.drains.get(&key.ip).copied().unwrap_or_default();
            return (waited < drain.saturating_add(SILENT_GRACE))
                .then(|| "directors may not have deleted their destinations yet".to_owned());
        }
        if inputs.snapshot.undo.is_some() && waited >= UNDO_GRACE {
            return None;
        }
        let sends = |peer: &PeerState| self.own.iter().any(|own| peer.may_direct(key.ip, *own));
        let director = self.peers.iter().find(|(_, peer)| sends(peer));
        match director {
            Some((name, _)) => Some(format!(
                "director {name} still has this node as a destination, or may have"
            )),
            None => (waited < REPORT_GRACE && self.others_direct)
                .then(|| "a director's report may be on its way".to_owned()),
        }
    }
}

//! What stays although no VirtualService asks for it, because removing it now would not be safe.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use crate::model::{AddressKey, Dev, Ledger, LinkKind, NodeNet, Observed, Role, SyncHalf};

use super::{
    Desired, Inputs,
    quiet::{keep_quiet, require_quiet},
};

/// A VIP leaves its NIC first: its services and its quiet address stay while an election still holds it.
pub(super) fn until_yielded(inputs: &Inputs<'_>, desired: &mut Desired) {
    let Inputs {
        observed,
        ledger,
        elected,
        ..
    } = *inputs;
    let held = elected.held.iter().flat_map(|(vip, devices)| {
        let running = devices.intersection(&elected.running);
        running.map(|dev| AddressKey::new(dev.clone(), *vip))
    });
    let is_wanted = |key: &AddressKey| desired.net.addresses.get(key) == Some(&Role::Held);
    desired.yielding = held.filter(|key| !is_wanted(key)).collect();
    for claim in &desired.yielding {
        let net = Arc::make_mut(&mut desired.net);
        net.addresses.insert(claim.clone(), Role::Held);
        for (key, service) in observed.net.services_of(claim.ip) {
            if ledger.services.contains(key) {
                net.services.entry(*key).or_insert_with(|| service.clone());
            }
        }
        for (key, role) in observed.devices_with(claim.ip) {
            if role == Role::Quiet && ledger.owns_address(key, observed) {
                quiet_address(key, inputs, net, &mut desired.notes);
            }
        }
        keep_quiet(observed, ledger, &mut net.arp);
    }
}

/// Keeps `vip` where it is bound already, other than on `refused`; returns whether it is.
pub(super) fn on_other_devices(
    vip: IpAddr,
    refused: &Dev,
    inputs: &Inputs<'_>,
    net: &mut NodeNet,
    notes: &mut Vec<String>,
) -> bool {
    let (observed, ledger) = (inputs.observed, inputs.ledger);
    let mut is_kept = false;
    for (key, role) in observed.devices_with(vip) {
        let is_allowed = key.dev != *refused && inputs.options.vip_devices.allow(&key.dev);
        if role == Role::Quiet && is_allowed && ledger.owns_address(key, observed) {
            quiet_address(key, inputs, net, notes);
            is_kept = true;
        }
    }
    if is_kept {
        keep_quiet(observed, ledger, &mut net.arp);
    }
    is_kept
}

/// Keeps an address that is carried quietly, with its device, its route and the ARP settings that keep it quiet.
pub(super) fn quiet_address(
    key: &AddressKey,
    inputs: &Inputs<'_>,
    net: &mut NodeNet,
    notes: &mut Vec<String>,
) {
    let observed = inputs.observed;
    match observed.links.get(&key.dev) {
        // A NIC as quiet device, with `arp_ignore` 8.
        Some(link) if link.kind == LinkKind::Other => {
            net.arp.insert(key.dev.clone(), link.arp);
        }
        Some(link) if link.kind == LinkKind::Dummy => {
            net.dummies.insert(key.dev.clone());
        }
        Some(_) | None => {}
    }
    // The address stays although the node can no longer be quiet; a note reports that.
    if let Err(refusal) = require_quiet(key.ip, None, observed, &mut net.arp) {
        notes.push(refusal.to_string());
    }
    if observed.our_routes.contains(key) {
        net.routes.insert(key.clone());
    }
    net.addresses.insert(key.clone(), Role::Quiet);
}

/// Keeps all that directway has added or changed: while not all manifests can be read, what may go is unknown. Returns
/// the VIPs of which something stays for that reason alone.
pub(super) fn all_of_ours(
    wanted: &mut NodeNet,
    observed: &Observed,
    ledger: &Ledger,
) -> BTreeSet<IpAddr> {
    let mut kept = BTreeSet::new();
    for (key, role) in &observed.net.addresses {
        if ledger.owns_address(key, observed) && !wanted.addresses.contains_key(key) {
            wanted.addresses.insert(key.clone(), *role);
            kept.insert(key.ip);
        }
    }
    let dummies = ledger.dummies.intersection(&observed.net.dummies);
    wanted.dummies.extend(dummies.cloned());
    wanted.routes.extend(observed.our_routes.iter().cloned());
    for (dev, _) in ledger.arp.keys() {
        if let Some(link) = observed.links.get(dev) {
            wanted.arp.entry(dev.clone()).or_insert(link.arp);
        }
    }
    for setting in ledger.ipvs.keys() {
        if let Some(value) = observed.net.ipvs.get(setting) {
            wanted.ipvs.entry(*setting).or_insert(*value);
        }
    }
    for half in SyncHalf::ALL {
        if let Some(daemon) = ledger.own_daemon(half, observed) {
            wanted.sync.entry(half).or_insert_with(|| daemon.clone());
        }
    }
    for key in &ledger.services {
        let Some(there) = observed.net.services.get(key) else {
            continue;
        };
        let service = wanted.services.entry(*key).or_insert_with(|| {
            kept.insert(key.vip);
            there.settings()
        });
        for (address, destination) in &there.destinations {
            service.destinations.entry(*address).or_insert_with(|| {
                kept.insert(key.vip);
                *destination
            });
        }
    }
    kept
}

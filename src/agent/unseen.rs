//! What to do about things of ours that cannot be told for sure: nothing.

use std::collections::BTreeSet;

use crate::{
    desired::Admission,
    model::{ArpSettings, ForeignTag, Ledger, NodeNet, Observed, ServiceKey, SyncHalf},
};

/// Adds to what is wanted all that is there and ours: with an incomplete view, nothing is taken away.
pub(super) fn keep_ours(wanted: &mut NodeNet, observed: &Observed, ledger: &Ledger) {
    for (key, role) in &observed.net.addresses {
        if ledger.owns_address(key, observed) {
            wanted.addresses.entry(key.clone()).or_insert(*role);
        }
    }
    let dummies = ledger.dummies.intersection(&observed.net.dummies);
    wanted.dummies.extend(dummies.cloned());
    wanted.routes.extend(observed.our_routes.iter().cloned());
    for (dev, _) in ledger.arp.keys() {
        if let Some(link) = observed.links.get(dev) {
            let settings: ArpSettings = link.arp;
            wanted.arp.entry(dev.clone()).or_insert(settings);
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
        let service = wanted
            .services
            .entry(*key)
            .or_insert_with(|| there.settings());
        for (address, destination) in &there.destinations {
            service.destinations.entry(*address).or_insert(*destination);
        }
    }
}

/// For the report of an agent that cannot read its ledger, and so changes nothing: whatever a VirtualService asks
/// for and is there counts as ours, or other nodes would act as if this one had stopped.
pub(super) fn assume_ours(observed: &Observed, admission: &Admission<'_>) -> Ledger {
    let vips: BTreeSet<_> = admission
        .accepted
        .values()
        .flat_map(|virtual_service| &virtual_service.vips)
        .collect();
    let asked_for = |key: &&ServiceKey| vips.contains(&key.vip);
    Ledger {
        services: observed
            .net
            .services
            .keys()
            .filter(asked_for)
            .copied()
            .collect(),
        addresses: observed
            .addresses
            .iter()
            .filter(|(key, address)| match address.tag {
                ForeignTag::Ours => true,
                ForeignTag::Untagged => vips.contains(&key.ip),
                ForeignTag::Theirs(_) => false,
            })
            .map(|(key, _)| key.clone())
            .collect(),
        routes: observed.our_routes.clone(),
        ..Ledger::default()
    }
}

//! What a node's agent tells the others, from what it observed after it acted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use directway::{
    agent::Findings,
    model::{Directing, Observed, PeerState, Role},
};

/// Whether every interface that hears ARP keeps addresses of other devices to itself.
pub fn is_quiet(observed: &Observed) -> bool {
    observed
        .links
        .values()
        .filter(|link| link.hears_arp())
        .all(|link| link.arp.effective(observed.arp_all).is_quiet())
}

pub fn report(findings: &Findings<'_>) -> PeerState {
    let observed = &findings.observed;
    let ours = |wanted: Role| {
        let addresses = observed.net.addresses.iter();
        addresses.filter(move |(key, role)| {
            **role == wanted && findings.ledger.owns_address(key, observed)
        })
    };
    let bound = ours(Role::Quiet)
        .filter(|(key, _)| is_quiet(observed) && !findings.desired.is_leaving(key))
        .map(|(key, _)| key.ip)
        .collect();
    let mut by_vip: BTreeMap<IpAddr, (BTreeSet<IpAddr>, BTreeSet<IpAddr>)> = BTreeMap::new();
    for key in &findings.ledger.services {
        let Some(service) = observed.net.services.get(key) else {
            continue;
        };
        let (ready, draining) = by_vip.entry(key.vip).or_default();
        for (address, destination) in &service.destinations {
            if destination.weight > 0 {
                ready.insert(*address);
            } else {
                draining.insert(*address);
            }
        }
    }
    PeerState {
        bound,
        held: ours(Role::Held).map(|(key, _)| key.ip).collect(),
        directing: by_vip
            .into_iter()
            .map(|(vip, (ready, draining))| Directing {
                vips: [vip].into_iter().collect(),
                ready,
                unready: BTreeMap::new(),
                draining,
            })
            .collect(),
    }
}

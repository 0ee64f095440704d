use crate::{
    model::{
        ArpSettings, Dev, ForeignTag, Link, LinkKind, Observed, ObservedAddress, Role, Service,
        ServiceKey,
    },
    plan::{ArpChange, Op},
};
use std::net::IpAddr;

use crate::model::{Arp, Destination};

/// What a kernel would show after `op`, if it takes effect.
pub fn apply(op: &Op, observed: &mut Observed) {
    let net = &mut observed.net;
    match op {
        Op::AddDummy(dev) => {
            let index = observed.links.values().map(|link| link.index).max();
            let link = dummy(dev.clone(), index.unwrap_or(0).saturating_add(1));
            net.dummies.insert(dev.clone());
            net.arp.insert(dev.clone(), link.arp);
            observed.links.insert(dev.clone(), link);
        }
        Op::DelDummy(dev) => {
            net.dummies.remove(dev);
            net.arp.remove(dev);
            observed.links.remove(dev);
        }
        Op::Quiet(set) | Op::Restore(set) => set_arp(set, observed),
        Op::SetIpvs(set) | Op::RestoreIpvs(set) => {
            net.ipvs.insert(set.setting, set.to);
        }
        Op::StartSync(half, daemon) => {
            net.sync.insert(*half, daemon.clone());
        }
        Op::StopSync(half) => {
            net.sync.remove(half);
        }
        Op::AddAddress(key, _) => {
            let kind = observed.links.get(&key.dev).map(|link| link.kind);
            let role = match kind {
                Some(LinkKind::Other) => Role::Held,
                Some(LinkKind::Loopback | LinkKind::Dummy) | None => Role::Quiet,
            };
            net.addresses.insert(key.clone(), role);
            let address = ObservedAddress {
                tag: ForeignTag::Ours,
                valid_seconds: None,
            };
            observed.addresses.insert(key.clone(), address);
        }
        Op::DelAddress(key, _) => {
            net.addresses.remove(key);
            observed.addresses.remove(key);
        }
        Op::AddRoute(key) => {
            net.routes.insert(key.clone());
            observed.our_routes.insert(key.clone());
        }
        Op::DelRoute(key) => {
            net.routes.remove(key);
            observed.our_routes.remove(key);
        }
        Op::AddService(key, service) => {
            net.services.insert(*key, service.settings());
        }
        Op::EditService(key, service) => {
            if let Some(found) = net.services.get_mut(key) {
                let destinations = std::mem::take(&mut found.destinations);
                *found = Service {
                    destinations,
                    ..service.settings()
                };
            }
        }
        Op::DelService(key) => {
            net.services.remove(key);
            let others = &mut observed.foreign_destinations;
            others.retain(|(of, _), _| of != key);
        }
        Op::AddDestination(key, address, destination)
        | Op::EditDestination(key, address, destination) => {
            set_destination(observed, key, *address, *destination);
        }
        Op::QuiesceDestination(key, address) => {
            set_destination(observed, key, *address, Destination::direct(0));
        }
        Op::DelDestination(key, address) => {
            if let Some(found) = net.services.get_mut(key) {
                found.destinations.remove(address);
            }
            observed.draining.remove(&(*key, *address));
        }
        Op::DelForeignDestination(key, server) => {
            observed.foreign_destinations.remove(&(*key, *server));
        }
    }
}

fn dummy(dev: Dev, index: u32) -> Link {
    Link {
        index,
        dev,
        mac: None,
        kind: LinkKind::Dummy,
        up: true,
        carrier: true,
        arp_capable: false,
        enslaved: false,
        addresses: Vec::new(),
        arp: ArpSettings::default(),
    }
}

fn set_arp(set: &ArpChange, observed: &mut Observed) {
    let Some(link) = observed.links.get_mut(&set.dev) else {
        return;
    };
    match set.which {
        Arp::Ignore => link.arp.ignore = set.to,
        Arp::Announce => link.arp.announce = set.to,
    }
    observed.net.arp.insert(set.dev.clone(), link.arp);
}

fn set_destination(
    observed: &mut Observed,
    key: &ServiceKey,
    address: IpAddr,
    destination: Destination,
) {
    if let Some(found) = observed.net.services.get_mut(key) {
        found.destinations.insert(address, destination);
    }
}

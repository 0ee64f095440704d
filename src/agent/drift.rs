//! Telling a repair from a change: an op is drift if what it brings about was wanted before already, and was there.

use std::ops::Bound;

use crate::{
    model::{NodeNet, ServiceKey},
    plan::{Op, SetArp},
};

/// Whether `op` repairs what somebody else changed, given what was wanted when a pass last completed and what is
/// wanted now.
pub fn is_drift(op: &Op, before: &NodeNet, now: &NodeNet) -> bool {
    match op {
        Op::AddDummy(dev) | Op::DelDummy(dev) => {
            before.dummies.contains(dev) == now.dummies.contains(dev)
        }
        Op::Quiet(SetArp { dev, .. }) | Op::Restore(SetArp { dev, .. }) => {
            before.arp.get(dev) == now.arp.get(dev)
        }
        Op::Tune(set) | Op::Untune(set) => {
            before.ipvs.get(&set.setting) == now.ipvs.get(&set.setting)
        }
        Op::AddAddress(key, _) | Op::DelAddress(key, _) => {
            before.addresses.get(key) == now.addresses.get(key)
        }
        Op::AddRoute(key) | Op::DelRoute(key) => {
            before.routes.contains(key) == now.routes.contains(key)
        }
        Op::AddService(key, _) | Op::EditService(key, _) | Op::DelService(key) => {
            match (before.services.get(key), now.services.get(key)) {
                (Some(before), Some(now)) => before.same_settings(now),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
        }
        Op::AddDestination(key, address, _)
        | Op::EditDestination(key, address, _)
        | Op::QuiesceDestination(key, address)
        | Op::DelDestination(key, address) => {
            let of = |net: &NodeNet| {
                let service = net.services.get(key)?;
                Some(service.destinations.get(address).copied())
            };
            of(before) == of(now)
        }
        // They go with the address that they are about.
        Op::Probe(_) | Op::Announce(_) => false,
    }
}

/// Goes through the services that should be there, one after the other, again and again: who deletes all of them, as
/// kube-proxy does, is found out at the first one.
#[derive(Debug, Default)]
pub struct Round(Option<ServiceKey>);

impl Round {
    /// The service to look for next.
    pub fn next(&mut self, wanted: &NodeNet) -> Option<ServiceKey> {
        let services = &wanted.services;
        let after = self.0.map(|last| (Bound::Excluded(last), Bound::Unbounded));
        let following = after.and_then(|range| services.range(range).next());
        self.0 = following.or(services.iter().next()).map(|(key, _)| *key);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::IpAddr};

    use super::*;
    use crate::model::{
        AddressKey, Destination, Dev, Protocol, Role, Scheduler, Service, ServiceKey,
    };

    const KEY: ServiceKey = ServiceKey {
        vip: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100)),
        port: 80,
        protocol: Protocol::Tcp,
    };

    fn server(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn net(servers: &[(u8, u32)]) -> NodeNet {
        let destinations: BTreeMap<_, _> = servers
            .iter()
            .map(|(last, weight)| (server(*last), Destination::direct(*weight)))
            .collect();
        let service = Service {
            scheduler: Scheduler::Rr,
            flags: Vec::new(),
            persistence: None,
            destinations,
        };
        let mut net = NodeNet::default();
        net.services.insert(KEY, service);
        net.addresses
            .insert(AddressKey::new(Dev::lo(), KEY.vip), Role::Quiet);
        net
    }

    #[test]
    fn a_repair_is_drift_and_a_change_is_not() {
        let add = |last, weight| Op::AddDestination(KEY, server(last), Destination::direct(weight));
        let (one, two) = (net(&[(1, 1)]), net(&[(1, 1), (2, 1)]));
        assert!(is_drift(&add(1, 1), &one, &two), "somebody deleted it");
        assert!(!is_drift(&add(2, 1), &one, &two), "it is new");
        assert!(
            !is_drift(&add(1, 3), &one, &net(&[(1, 3)])),
            "its weight is new"
        );
        let bind = Op::AddAddress(AddressKey::new(Dev::lo(), KEY.vip), Role::Quiet);
        assert!(is_drift(&bind, &one, &two));
        assert!(!is_drift(&bind, &NodeNet::default(), &two));
        assert!(!is_drift(&Op::DelService(KEY), &one, &NodeNet::default()));
        assert!(
            !is_drift(&add(1, 1), &NodeNet::default(), &one),
            "its service is new"
        );
    }

    #[test]
    fn every_service_has_its_turn() {
        let (mut round, mut wanted) = (Round::default(), net(&[]));
        let ports = |round: &mut Round, wanted: &NodeNet| {
            let next = (0..3).map(|_| round.next(wanted).map(|key| key.port));
            next.collect::<Vec<_>>()
        };
        assert_eq!(ports(&mut round, &wanted), [Some(80); 3]);
        let one = wanted.services[&KEY].clone();
        wanted.services.insert(ServiceKey { port: 443, ..KEY }, one);
        assert_eq!(ports(&mut round, &wanted), [Some(443), Some(80), Some(443)]);
        wanted.services.remove(&KEY);
        assert_eq!(ports(&mut round, &wanted), [Some(443); 3]);
        assert_eq!(ports(&mut round, &NodeNet::default()), [None; 3]);
    }
}

//! Which destinations get connections, and why other real servers do not, as a NodeState reports it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    desired::RealServerState,
    model::{Directing, Port, Reason, Refusal, Service, ServiceKey},
};

use super::PassState;

/// Destinations that get connections, real servers that get none, and destinations that keep old connections only.
type Content = (
    BTreeSet<IpAddr>,
    BTreeMap<IpAddr, Arc<Refusal>>,
    BTreeSet<IpAddr>,
);

/// Our services in the kernel.
pub(super) fn our_services<'a>(
    state: &'a PassState<'_>,
) -> impl Iterator<Item = (&'a ServiceKey, &'a Service)> {
    let ours = &state.ledger.services;
    let there = state.observed.net.services.iter();
    there.filter(|(key, _)| ours.contains(key))
}

/// Our services by content. Two VirtualServices that share a VIP have services of their own, with real servers of
/// their own.
pub(super) fn directing(state: &PassState<'_>) -> Vec<Directing> {
    let mut contents: BTreeMap<ServiceKey, Content> = our_services(state)
        .map(|(key, service)| (*key, content(service)))
        .collect();
    for (key, vs_state) in &state.desired.virtual_services {
        let Some(object) = state.admission.accepted.get(key) else {
            continue;
        };
        for (vip, real_servers) in &vs_state.real_servers {
            for service in object.services_of(*vip) {
                if let Some(content) = contents.get_mut(&service) {
                    explain(content, real_servers.of(service.into()));
                }
            }
        }
    }
    grouped(contents)
}

/// VIPs with the same content are one group. Where a VIP's services differ, the most frequent content has no ports, so
/// that the report stays short.
fn grouped(contents: BTreeMap<ServiceKey, Content>) -> Vec<Directing> {
    let mut by_vip: BTreeMap<IpAddr, BTreeMap<Content, BTreeSet<Port>>> = BTreeMap::new();
    for (key, content) in contents {
        let ports = by_vip.entry(key.vip).or_default();
        ports.entry(content).or_default().insert(key.into());
    }
    let mut groups: BTreeMap<(Content, BTreeSet<Port>), Vec<IpAddr>> = BTreeMap::new();
    for (vip, by_content) in by_vip {
        let most = by_content.values().map(BTreeSet::len).max();
        let mut is_named = false;
        for (content, mut ports) in by_content {
            if !is_named && Some(ports.len()) == most {
                is_named = true;
                ports.clear();
            }
            groups.entry((content, ports)).or_default().push(vip);
        }
    }
    groups
        .into_iter()
        .map(|(((ready, unready, draining), ports), vips)| Directing {
            vips: vips.into_iter().collect(),
            ports,
            ready: ready.into_iter().collect(),
            unready: unready
                .into_iter()
                .map(|(address, refusal)| (address, Refusal::clone(&refusal)))
                .collect(),
            draining: draining.into_iter().collect(),
        })
        .collect()
}

fn content(service: &Service) -> Content {
    let (mut ready, mut draining) = (BTreeSet::new(), BTreeSet::new());
    for (address, destination) in &service.destinations {
        if destination.weight > 0 {
            ready.insert(*address);
        } else {
            draining.insert(*address);
        }
    }
    (ready, BTreeMap::new(), draining)
}

/// Adds the reason for each real server that gets no new connections, or gets some for want of a better one.
fn explain<'a>(
    (ready, unready, _): &mut Content,
    real_servers: impl Iterator<Item = (&'a IpAddr, &'a RealServerState)>,
) {
    for (address, state) in real_servers {
        let is_last_resort = matches!(state, RealServerState::LastResort { .. });
        if ready.contains(address) && !is_last_resort {
            continue;
        }
        let refusal = match state {
            RealServerState::LastResort { refusal, .. } => Arc::clone(refusal),
            RealServerState::Unready(refusal) | RealServerState::Unknown(refusal) => {
                Arc::clone(refusal)
            }
            // It needs no reason. Readers take a node that is not in the group for one without an endpoint.
            RealServerState::Absent => continue,
            // Wanted, but without weight in the kernel.
            RealServerState::Ready { weight: 0 } => {
                Refusal::new(Reason::Draining, "its weight is 0").into()
            }
            RealServerState::Ready { .. } => {
                Refusal::new(Reason::Pending, "not in the kernel yet").into()
            }
        };
        unready.insert(*address, refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn key(vip: u8, port: u16) -> ServiceKey {
        ServiceKey {
            vip: [10, 0, 0, vip].into(),
            port,
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn only_services_that_differ_from_others_of_their_vip_are_named() {
        let served: Content = ([[10, 0, 0, 1].into()].into(), [].into(), [].into());
        let idle = Content::default();
        let contents = [
            (key(100, 80), served.clone()),
            (key(100, 443), served.clone()),
            (key(101, 80), served.clone()),
            (key(101, 443), idle.clone()),
            (key(101, 8080), served.clone()),
            (key(102, 443), idle),
        ];
        let groups = grouped(contents.into());
        let told: Vec<_> = groups
            .iter()
            .map(|group| {
                let ports: Vec<_> = group.ports.iter().map(Port::to_string).collect();
                (group.vips.to_strings().join(","), ports, group.ready.len())
            })
            .collect();
        let named = || vec!["443/TCP".to_owned()];
        assert_eq!(
            told,
            [
                ("10.0.0.102".to_owned(), vec![], 0),
                ("10.0.0.101".to_owned(), named(), 0),
                ("10.0.0.100-10.0.0.101".to_owned(), vec![], 1),
            ]
        );
    }
}

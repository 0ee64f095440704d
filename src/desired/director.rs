use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::model::{
    AddressKey, Answer, Destination, Interfaces, Ipvs, Link, Mac, Node, Observed, Peers, Protocol,
    Reach, Reason, Refusal, Service, ServiceKey, VirtualService,
};

use super::{
    DrainTimers, Inputs, RealServer, RealServerId, RealServerSet, RealServerState,
    RealServerStates, directors,
    endpoints::{EndpointCheck, check_endpoint},
};

/// The interface on which a director would answer ARP for `vip`: `named` (`spec.directors.interface`), else one in the
/// VIP's network.
pub fn clients_nic<'a>(
    named: Option<&Interfaces>,
    vip: IpAddr,
    observed: &'a Observed,
) -> Result<&'a Link, Refusal> {
    if let Some(interfaces) = named {
        return named_nic(interfaces, vip, observed);
    }
    observed
        .links
        .values()
        .filter(|link| link.hears_arp() && link.is_in_network_of(vip))
        .max_by_key(|link| preference(link, vip, observed))
        .ok_or_else(|| {
            Refusal::new(
                Reason::NoInterface,
                format!("no interface of this node is in the network of {vip}; give the node an address there or set spec.directors.interface"),
            )
        })
}

/// Of the named interfaces that the node has, the first that works.
fn named_nic<'a>(
    named: &Interfaces,
    vip: IpAddr,
    observed: &'a Observed,
) -> Result<&'a Link, Refusal> {
    let refuse = |why: &str| {
        let message = format!("spec.directors.interface {named}{why}");
        Err(Refusal::new(Reason::NoInterface, message))
    };
    let links = observed.links.values();
    let mut links = links
        .filter_map(|link| Some((named.position(&link.dev)?, link)))
        .peekable();
    if links.peek().is_none() {
        return refuse(
            ": this node has no such interface; name one that every director has, or several",
        );
    }
    let able = links.filter(|(_, link)| link.hears_arp());
    let best = able.max_by_key(|(position, link)| {
        let works = (link.up && link.carrier, link.up);
        (works, Reverse(*position), preference(link, vip, observed))
    });
    match best {
        Some((_, link)) => Ok(link),
        None => refuse(
            " cannot answer ARP (a loopback, dummy, NOARP or enslaved device); name the interface that faces the clients",
        ),
    }
}

/// Of several interfaces in the VIP's network, the greatest faces the clients: one that works; of these the one that has
/// the VIP, so that it does not move back when another's cable is put in again; then as the kernel's route lookup has it,
/// by the longest prefix; then the first.
fn preference(link: &Link, vip: IpAddr, observed: &Observed) -> impl Ord + use<> {
    let key = AddressKey::new(link.dev.clone(), vip);
    let networks = link.addresses.iter().filter(|net| net.contains(&vip));
    (
        link.up && link.carrier,
        link.up,
        observed.net.addresses.contains_key(&key),
        networks.map(IpNet::prefix_len).max(),
        Reverse(link.index),
    )
}

/// Refuses if this director could not answer ARP for `vip` with the VIP on `nic`, or if it could not elect: then it must not
/// claim the VIP, and a standby that can answer is better.
pub(super) fn may_claim(
    virtual_service: &VirtualService,
    vip: IpAddr,
    nic: &Link,
    inputs: &Inputs<'_>,
) -> Result<(), Refusal> {
    let dev = &nic.dev;
    let ignore = nic.arp.effective(inputs.observed.arp_all).ignore;
    // `arp_ignore()`, net/ipv4/arp.c: 2 wants the sender and the address in one network of the interface.
    let is_silent = ignore == 8 || (ignore == 2 && !nic.is_in_network_of(vip));
    if vip.is_ipv4() && is_silent {
        return Err(Refusal::new(
            Reason::CannotAnswer,
            format!(
                "with arp_ignore={ignore} this node answers no ARP request for {vip} on {dev}; set net.ipv4.conf.all.arp_ignore and net.ipv4.conf.{dev}.arp_ignore to 0 or 1"
            ),
        ));
    }
    let has_network = nic.networks().any(|net| net.addr().is_ipv4());
    let mut others = directors(virtual_service, inputs.snapshot).filter(|it| *it != inputs.node);
    if let Some(other) = others.next().filter(|_| !has_network) {
        return Err(Refusal::new(
            Reason::NoInterface,
            format!(
                "{dev} has no address in a network, so this director and {other} could not know each other there; give {dev} of every director an address in one network, such as 169.254.77.1/24"
            ),
        ));
    }
    Ok(())
}

/// Refuses if the kernel lacks IPVS or has a foreign service with one of `keys`.
pub(super) fn may_serve(
    virtual_service: &VirtualService,
    vip: IpAddr,
    inputs: &Inputs<'_>,
) -> Result<(), Refusal> {
    if let Ipvs::Missing(why) = &inputs.observed.ipvs {
        return Err(Refusal::new(Reason::IpvsMissing, why.clone()));
    }
    let foreign = |key: &ServiceKey| {
        inputs.observed.net.services.contains_key(key) && !inputs.ledger.services.contains(key)
    };
    if let Some(key) = virtual_service.services_of(vip).find(foreign) {
        return Err(Refusal::new(
            Reason::ForeignService,
            format!(
                "the IPVS service {key} is there already and is not directway's; delete it (ipvsadm -D) or use another VIP than {vip}"
            ),
        ));
    }
    Ok(())
}

/// The real servers of one VIP, apart from health checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Unchecked {
    pub states: BTreeMap<IpAddr, RealServerState>,
    /// The weights of those whose endpoints are terminating. As in kube-proxy (KEP-1669), they get new connections while no
    /// other real server does.
    pub leaving: BTreeMap<IpAddr, u32>,
}

/// The states of the real servers of `virtual_service` for `vip`, apart from health checks.
pub(super) fn states(
    virtual_service: &VirtualService,
    vip: IpAddr,
    real_servers: &RealServerSet,
    inputs: &Inputs<'_>,
) -> Unchecked {
    let mut unchecked = Unchecked::default();
    for (address, real_server) in &real_servers.by_address {
        let state = match check_endpoint(virtual_service, &real_server.id, inputs.snapshot) {
            EndpointCheck::Takes => readiness(vip, *address, real_server, inputs),
            EndpointCheck::Leaves(refusal) => {
                let state = readiness(vip, *address, real_server, inputs);
                if let RealServerState::Ready {
                    weight: weight @ 1..,
                } = state
                {
                    unchecked.leaving.insert(*address, weight);
                }
                RealServerState::Unready(refusal.into())
            }
            EndpointCheck::Refuses(refusal) => RealServerState::Unready(refusal.into()),
            EndpointCheck::Absent => RealServerState::Absent,
            EndpointCheck::Unread(refusal) => RealServerState::Unknown(refusal.into()),
        };
        unchecked.states.insert(*address, state);
    }
    unchecked
}

/// Whether a real server may get new connections for `vip`, apart from a Service's endpoints.
fn readiness(
    vip: IpAddr,
    address: IpAddr,
    real_server: &RealServer,
    inputs: &Inputs<'_>,
) -> RealServerState {
    let check = || -> Result<(), Refusal> {
        let mac = match inputs.wire.reach.get(&address) {
            None => {
                return Err(Refusal::new(
                    Reason::Pending,
                    format!("{address} has not been looked for on the wire yet"),
                ));
            }
            // This node binds the VIP in the same plan, before it adds the destination.
            Some(Reach::Local) => return Ok(()),
            Some(Reach::Neighbour { mac, .. }) => *mac,
            Some(Reach::Silent { dev }) => {
                return Err(Refusal::new(
                    Reason::Unreachable,
                    format!(
                        "nobody answers ARP for {address} on {dev}; is the real server up and on this segment?"
                    ),
                ));
            }
            Some(Reach::NotOnLink) => {
                return Err(Refusal::new(
                    Reason::NotOnSegment,
                    format!(
                        "{address} is not on a segment of the director: direct routing rewrites the MAC only and cannot pass a router"
                    ),
                ));
            }
        };
        is_bound_and_quiet(vip, address, mac, real_server, inputs)
    };
    match check() {
        Ok(()) => RealServerState::Ready {
            weight: real_server.weight,
        },
        // Without an answer, or without a report, there is no reason to take a weight away: reports may have been deleted,
        // or be older than this agent, which serves what was known last.
        Err(refusal)
            if refusal.reason == Reason::Pending
                || refusal.reason == Reason::NotBound
                    && !(inputs.complete && has_report(real_server, inputs)) =>
        {
            RealServerState::Unknown(refusal.into())
        }
        Err(refusal) => RealServerState::Unready(refusal.into()),
    }
}

/// Whether a real server has the VIP bound and is quiet about it: by its agent's report or, where there is none, by ARP.
fn is_bound_and_quiet(
    vip: IpAddr,
    address: IpAddr,
    mac: Mac,
    real_server: &RealServer,
    inputs: &Inputs<'_>,
) -> Result<(), Refusal> {
    match (&real_server.id, &inputs.snapshot.peers) {
        (RealServerId::Node(name), Peers::Reported(peers)) => {
            if peers.get(name).is_some_and(|peer| peer.bound.contains(vip)) {
                Ok(())
            } else {
                Err(Refusal::new(
                    Reason::NotBound,
                    format!("the agent of {name} has not reported the VIP bound and quiet"),
                ))
            }
        }
        (RealServerId::External, Peers::Silent | Peers::Reported(_))
        | (RealServerId::Node(_), Peers::Silent) => match inputs.wire.answers.get(&vip) {
            None => Err(Refusal::new(
                Reason::Pending,
                format!("whether {address} is quiet about the VIP has not been probed yet"),
            )),
            // A real server that is also a director may hold the VIP, and so answer for it.
            Some(Answer { macs }) if macs.contains(&mac) && !is_director(real_server, inputs) => {
                Err(Refusal::new(
                    Reason::NotQuiet,
                    format!(
                        "{address} answers ARP for the VIP with {mac}; set arp_ignore=1 and arp_announce=2 on it before it carries the VIP"
                    ),
                ))
            }
            Some(_) => Ok(()),
        },
    }
}

fn has_report(real_server: &RealServer, inputs: &Inputs<'_>) -> bool {
    match &real_server.id {
        RealServerId::Node(name) => inputs.snapshot.peers.report(name).is_some(),
        RealServerId::External => false,
    }
}

fn is_director(real_server: &RealServer, inputs: &Inputs<'_>) -> bool {
    match &real_server.id {
        RealServerId::Node(name) => {
            let node = inputs.snapshot.nodes.get(name);
            node.is_some_and(Node::is_director)
        }
        RealServerId::External => false,
    }
}

/// The destinations that a service should have, and which of them are draining: ready real servers with their weight;
/// unready ones with weight 0 if they are destinations now, unknown ones as they are; those without an endpoint and those
/// that left the spec with weight 0 for the drain time at most. Those that left keep their weight for that time if nobody
/// else serves yet. Of UDP, only real servers that still serve can be drained.
pub(super) fn destinations(
    key: ServiceKey,
    virtual_service: &VirtualService,
    states: &RealServerStates,
    inputs: &Inputs<'_>,
    timers: &mut DrainTimers,
) -> (BTreeMap<IpAddr, Destination>, Vec<IpAddr>) {
    let service = inputs.observed.net.services.get(&key);
    let present = service.map(|service: &Service| &service.destinations);
    let is_present = |address| present.is_some_and(|present| present.contains_key(address));
    let drain = virtual_service.drain;
    let mut wanted = BTreeMap::new();
    let mut draining = Vec::new();
    for (address, state) in states.of(key.into()) {
        match state {
            RealServerState::Ready { weight } | RealServerState::LastResort { weight, .. } => {
                wanted.insert(*address, Destination::direct(*weight));
            }
            // Weight 0 rather than deletion: mh keeps its table, and connections may still live.
            RealServerState::Unready(refusal) => {
                if is_present(address) && keeps_place(key.protocol, Some(refusal)) {
                    wanted.insert(*address, Destination::direct(0));
                }
            }
            RealServerState::Unknown(_) => {
                if let Some(found) = present.and_then(|present| present.get(address)) {
                    wanted.insert(*address, Destination::direct(found.weight));
                }
            }
            // A new endpoint may come soon: the place is kept for as long as connections may last, so that mh keeps
            // its table.
            RealServerState::Absent => {
                let id = (key, *address);
                if is_present(address)
                    && keeps_place(key.protocol, None)
                    && inputs.timers.is_kept(timers, id, inputs.now, drain)
                {
                    wanted.insert(*address, Destination::direct(0));
                    draining.push(*address);
                }
            }
        }
    }
    let nobody_serves = wanted.values().all(|destination| destination.weight == 0);
    let one_may_soon = states
        .of(key.into())
        .any(|(_, it)| *it != RealServerState::Absent);
    for (address, destination) in present.into_iter().flatten() {
        if states.contains(*address) {
            continue;
        }
        let id = (key, *address);
        let expired = inputs.timers.drain_expired(timers, id, inputs.now, drain);
        let connections = inputs.observed.draining.get(&id);
        let open = connections.map_or(0, |connections| connections.open(key.protocol));
        let dry = destination.weight == 0 && open == 0;
        if destination.weight > 0 && nobody_serves && one_may_soon && !expired {
            // All real servers are replaced at once: the old ones serve until a new one does.
            wanted.insert(*address, Destination::direct(destination.weight));
        } else if !dry && !expired {
            wanted.insert(*address, Destination::direct(0));
            draining.push(*address);
        }
    }
    (wanted, draining)
}

/// Whether a real server that is not ready, because of `refusal` or without an endpoint, stays a destination with
/// weight 0.
///
/// UDP has no connections that end: IPVS sends what comes from a client's port to one real server, whatever its weight
/// is, until five minutes pass without a datagram (`udp_state_transition`, net/netfilter/ipvs/ip_vs_proto_udp.c). A
/// client that keeps its port leaves a real server only when that is no destination any more.
fn keeps_place(protocol: Protocol, refusal: Option<&Refusal>) -> bool {
    match protocol {
        Protocol::Tcp | Protocol::Sctp => true,
        Protocol::Udp => refusal.is_some_and(|refusal| refusal.reason == Reason::Draining),
    }
}

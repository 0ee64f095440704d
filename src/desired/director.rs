use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{
    Answer, Destination, Dev, Ipvs, Link, Node, Observed, Peers, Reach, Reason, Refusal, Service,
    ServiceKey, VirtualService,
};

use super::{
    Inputs, Member, MemberId, MemberState, Members, Memory,
    endpoints::{Standing, standing},
};

/// The interface on which a director would answer ARP for `vip`: the one that its VirtualService has `named`, else one in the
/// VIP's network.
pub fn clients_nic<'a>(
    named: Option<&Dev>,
    vip: IpAddr,
    observed: &'a Observed,
) -> Result<&'a Link, Refusal> {
    if let Some(dev) = named {
        let link = observed.links.get(dev).ok_or_else(|| {
            Refusal::new(
                Reason::NoInterface,
                format!("spec.directors.interface {dev}: this node has no such interface; name one that every director has"),
            )
        })?;
        if !link.hears_arp() {
            return Err(Refusal::new(
                Reason::NoInterface,
                format!(
                    "spec.directors.interface {dev} cannot answer ARP (a loopback, dummy, NOARP or enslaved device); name the interface that faces the clients"
                ),
            ));
        }
        return Ok(link);
    }
    // Of several interfaces in one network the first is as good as any, but it must stay the same one.
    observed
        .links
        .values()
        .filter(|link| link.hears_arp() && link.is_in_network_of(vip))
        .min_by_key(|link| link.index)
        .ok_or_else(|| {
            Refusal::new(
                Reason::NoInterface,
                format!("no interface of this node is in the network of {vip}; give the node an address there or set spec.directors.interface"),
            )
        })
}

/// What stands against serving `virtual_service` for `vip` on this director.
pub(super) fn may_serve(
    vip: IpAddr,
    keys: &[ServiceKey],
    inputs: &Inputs<'_>,
) -> Result<(), Refusal> {
    if let Ipvs::Missing(why) = &inputs.observed.ipvs {
        return Err(Refusal::new(Reason::IpvsMissing, why.clone()));
    }
    let foreign = |key: &&ServiceKey| {
        inputs.observed.net.services.contains_key(key) && !inputs.ledger.services.contains(key)
    };
    if let Some(key) = keys.iter().find(foreign) {
        return Err(Refusal::new(
            Reason::ForeignService,
            format!(
                "the IPVS service {key} is there already and is not directway's; delete it (ipvsadm -D) or use another VIP than {vip}"
            ),
        ));
    }
    Ok(())
}

/// How the real servers of `virtual_service` for `vip` stand.
pub(super) fn states(
    virtual_service: &VirtualService,
    vip: IpAddr,
    members: &Members,
    inputs: &Inputs<'_>,
) -> BTreeMap<IpAddr, MemberState> {
    let mut leaving = Vec::new();
    let mut states = BTreeMap::new();
    for (address, member) in &members.by_address {
        let state = match standing(virtual_service, &member.id, inputs.snapshot) {
            Standing::Takes => readiness(vip, *address, member, inputs),
            Standing::Leaves(refusal) => {
                leaving.push((*address, member));
                MemberState::Unready(refusal.into())
            }
            Standing::Refuses(refusal) => MemberState::Unready(refusal.into()),
            Standing::Absent => MemberState::Absent,
            Standing::Unread(refusal) => MemberState::Unknown(refusal.into()),
        };
        states.insert(*address, state);
    }
    let gets_some = |state: &MemberState| matches!(state, MemberState::Ready { weight: 1.. });
    // As kube-proxy does: while nobody else takes connections, one that is about to end still does (KEP-1669).
    if !states.values().any(gets_some) {
        for (address, member) in leaving {
            let state = readiness(vip, address, member, inputs);
            if gets_some(&state) {
                states.insert(address, state);
            }
        }
    }
    states
}

/// Whether a real server may get new connections for `vip`, whatever a Service's endpoints say.
fn readiness(vip: IpAddr, address: IpAddr, member: &Member, inputs: &Inputs<'_>) -> MemberState {
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
        match (&member.id, &inputs.snapshot.peers) {
            (MemberId::Node(name), Peers::Reported(peers)) => {
                if peers.get(name).is_some_and(|peer| peer.bound.contains(vip)) {
                    Ok(())
                } else {
                    Err(Refusal::new(
                        Reason::NotBound,
                        format!("the agent of {name} has not reported the VIP bound and quiet"),
                    ))
                }
            }
            (MemberId::External, Peers::Silent | Peers::Reported(_))
            | (MemberId::Node(_), Peers::Silent) => match inputs.wire.answers.get(&vip) {
                None => Err(Refusal::new(
                    Reason::Pending,
                    format!("whether {address} is quiet about the VIP has not been probed yet"),
                )),
                // Another director may hold the VIP, and so answer for it.
                Some(Answer { macs }) if macs.contains(&mac) && !is_director(member, inputs) => {
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
    };
    match check() {
        Ok(()) => MemberState::Ready {
            weight: member.weight,
        },
        Err(refusal) => MemberState::Unready(refusal.into()),
    }
}

fn is_director(member: &Member, inputs: &Inputs<'_>) -> bool {
    match &member.id {
        MemberId::Node(name) => {
            let node = inputs.snapshot.nodes.get(name);
            node.is_some_and(Node::is_director)
        }
        MemberId::External => false,
    }
}

/// The destinations a service should have: ready members with their weight; unready and leaving ones keep
/// their connections with weight 0 for as long as they are there; so do, for a while, those without an endpoint.
pub(super) fn destinations(
    key: ServiceKey,
    virtual_service: &VirtualService,
    states: &BTreeMap<IpAddr, MemberState>,
    inputs: &Inputs<'_>,
    memory: &mut Memory,
) -> (BTreeMap<IpAddr, Destination>, Vec<IpAddr>) {
    let present = inputs
        .observed
        .net
        .services
        .get(&key)
        .map(|service: &Service| &service.destinations);
    let mut wanted = BTreeMap::new();
    let mut draining = Vec::new();
    for (address, state) in states {
        match state {
            MemberState::Ready { weight } => {
                wanted.insert(*address, Destination::direct(*weight));
            }
            // Weight 0 rather than deletion: mh keeps its table, and connections may still live.
            MemberState::Unready(_) => {
                if present.is_some_and(|present| present.contains_key(address)) {
                    wanted.insert(*address, Destination::direct(0));
                }
            }
            MemberState::Unknown(_) => {
                if let Some(found) = present.and_then(|present| present.get(address)) {
                    wanted.insert(*address, Destination::direct(found.weight));
                }
            }
            // Where endpoints come and go, the next one may come soon: the place is kept for as long as connections
            // may last, so that mh keeps its table.
            MemberState::Absent => {
                let there = present.is_some_and(|present| present.contains_key(address));
                let id = (key, *address);
                if there
                    && inputs
                        .memory
                        .is_kept(memory, id, inputs.now, virtual_service.drain)
                {
                    wanted.insert(*address, Destination::direct(0));
                    draining.push(*address);
                }
            }
        }
    }
    for (address, destination) in present.into_iter().flatten() {
        if states.contains_key(address) {
            continue;
        }
        let id = (key, *address);
        let expired = inputs
            .memory
            .drain_expired(memory, id, inputs.now, virtual_service.drain);
        let connections = inputs
            .observed
            .draining
            .get(&id)
            .copied()
            .unwrap_or_default();
        let dry = destination.weight == 0 && connections.active == 0;
        if !dry && !expired {
            wanted.insert(*address, Destination::direct(0));
            draining.push(*address);
        }
    }
    (wanted, draining)
}

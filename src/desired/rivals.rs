//! Other hosts that answer for a VIP: two holders, or a stranger.

use std::net::IpAddr;

use crate::model::{
    AddressKey, Conflict, Mac, NodeName, Observed, Peers, Reach, Reason, Refusal, Rivals, Snapshot,
    WireEvidence,
};

use super::Inputs;

/// The refusal if the election heard other hosts answer for a VIP that this director holds or may hold.
pub(super) fn refusal(claim: &AddressKey, holds: bool, inputs: &Inputs<'_>) -> Option<Refusal> {
    let rivals = inputs.elected.conflicts.get(claim)?;
    if rivals.is_empty() {
        return None;
    }
    let conflict = conflict(
        claim,
        rivals.clone(),
        inputs.observed,
        inputs.wire,
        inputs.snapshot,
    );
    let consequence = match (holds, conflict.own) {
        (true, Some(mac)) => format!("it stays here, at {mac}, but clients may reach the other"),
        (true, None) => "it stays here, but clients may reach the other".to_owned(),
        (false, _) => "not claimed".to_owned(),
    };
    let AddressKey { dev, ip } = claim;
    Some(Refusal::new(
        Reason::VipConflict,
        format!(
            "{ip} is answered on {dev} by {conflict}: {consequence}; take the address from that host"
        ),
    ))
}

/// Why a director that has not bound a VIP does not bind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unbound {
    /// Nobody has been asked yet.
    NotProbed,
    /// A host answers for it that is no director, as far as known: with the VIP, or its services, this node would no longer
    /// reach that host. The election alone decides who holds the VIP, because an answer may be forged or a switch's.
    Stranger(Mac),
}

/// Whether `vip`, which this director has not bound, is free to be bound; an error says why not. Where no agent can report,
/// an answer tells nothing.
pub(super) fn is_free(vip: IpAddr, inputs: &Inputs<'_>) -> Result<(), Unbound> {
    let Snapshot { peers, .. } = inputs.snapshot;
    let Some(answer) = inputs.wire.answers.get(&vip) else {
        return match is_new(vip, inputs.snapshot, inputs.observed) {
            true => Err(Unbound::NotProbed),
            false => Ok(()),
        };
    };
    if *peers == Peers::Silent || inputs.snapshot.is_held(vip) {
        return Ok(());
    }
    let is_director = |mac: &Mac| {
        let mut directors = inputs.former.weigh(peers.reports());
        directors.any(|(_, report)| report.macs.values().any(|its| its == mac))
    };
    match answer.macs.iter().find(|mac| !is_director(mac)) {
        Some(stranger) => Err(Unbound::Stranger(*stranger)),
        None => Ok(()),
    }
}

/// Whether `vip` is nowhere, as far as known, so that a stranger may have it. Where no agent can report, an answer of
/// another director cannot be told from a stranger's.
pub(super) fn is_new(vip: IpAddr, snapshot: &Snapshot, observed: &Observed) -> bool {
    snapshot.peers != Peers::Silent
        && observed.devices_with(vip).next().is_none()
        && !snapshot.is_held(vip)
}

/// Names the rivals: the election knows directors, and the ARP replies for real servers' addresses show their MACs.
pub fn conflict(
    claim: &AddressKey,
    rivals: Rivals,
    observed: &Observed,
    wire: &WireEvidence,
    snapshot: &Snapshot,
) -> Conflict {
    let held = observed.net.addresses.contains_key(claim);
    let link = observed.links.get(&claim.dev).filter(|_| held);
    let named = rivals
        .into_iter()
        .map(|(mac, known)| (mac, known.or_else(|| name(mac, wire, snapshot))));
    Conflict {
        own: link.and_then(|link| link.mac),
        rivals: named.collect(),
    }
}

fn name(mac: Mac, wire: &WireEvidence, snapshot: &Snapshot) -> Option<NodeName> {
    let mut found = wire
        .reach
        .iter()
        .filter(|(_, reach)| matches!(reach, Reach::Neighbour { mac: there, .. } if *there == mac));
    found.find_map(|(address, _)| {
        let mut nodes = snapshot.nodes.iter();
        let (name, _) = nodes.find(|(_, node)| node.addresses.contains(address))?;
        Some(name.clone())
    })
}

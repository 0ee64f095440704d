//! Other hosts that answer for a VIP: two holders, or a stranger.

use std::net::IpAddr;

use crate::model::{
    AddressKey, Answer, Conflict, Mac, NodeName, Observed, Reach, Reason, Refusal, Rivals,
    Snapshot, WireEvidence,
};

use super::{Inputs, Verdict, node::Stake};

/// Says so if others answer for a VIP that should be here; tells whether they do.
pub(super) fn refuse_rivals(
    vip: IpAddr,
    stake: &Stake,
    inputs: &Inputs<'_>,
    verdict: &mut Verdict,
) -> bool {
    let (Stake::Elected(dev) | Stake::Candidate(dev) | Stake::Preferred(dev)) = stake else {
        return false;
    };
    let claim = AddressKey::new(dev.clone(), vip);
    let (held, rivals) = if let Stake::Preferred(_) = stake {
        let held = inputs.observed.net.addresses.contains_key(&claim);
        (held, inputs.wire.answers.get(&vip).map(Answer::rivals))
    } else {
        let conflicts = inputs.elected.and_then(|it| it.conflicts.get(&claim));
        (matches!(stake, Stake::Elected(_)), conflicts.cloned())
    };
    let Some(rivals) = rivals.filter(|rivals| !rivals.is_empty()) else {
        return false;
    };
    let conflict = conflict(
        &claim,
        rivals,
        inputs.observed,
        inputs.wire,
        inputs.snapshot,
    );
    let consequence = match (held, conflict.own) {
        (true, Some(mac)) => format!("it stays here, at {mac}, but clients may reach the other"),
        (true, None) => "it stays here, but clients may reach the other".to_owned(),
        (false, _) => "not claimed".to_owned(),
    };
    verdict.refusal.get_or_insert(Refusal::new(
        Reason::VipConflict,
        format!(
            "{vip} is answered on {dev} by {conflict}: {consequence}; take the address from that host"
        ),
    ));
    true
}

/// Who the rivals are: a director the election knows, and a real server is looked for on the wire.
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

use std::{collections::BTreeSet, net::IpAddr};

use crate::model::{AddressKey, Elected, NodeName, Observed, Peers, Snapshot};

use super::{
    Admission, RealServerId, Viewpoint, director::clients_nic, node::directs,
    real_servers::RealServerSets, rivals::is_new,
};

/// What a director must find out by ARP before it can decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// Addresses of real servers, to learn how they are reached.
    pub reach: BTreeSet<IpAddr>,
    /// VIPs that are probed, because somebody might answer who must not: a real server whose agent cannot report, or a
    /// stranger, whom this node would no longer reach once it has bound the VIP.
    pub silence: BTreeSet<AddressKey>,
}

/// What `node` must find out before [`super::desired`] can decide. The elections watch for rivals by themselves.
pub fn questions(
    node: &NodeName,
    snapshot: &Snapshot,
    admission: &Admission<'_>,
    observed: &Observed,
    elected: &Elected,
) -> Questions {
    let mut questions = Questions::default();
    if snapshot.undo.is_some() {
        return questions;
    }
    let mut sets = RealServerSets::new(snapshot, Viewpoint::new(node, observed));
    for virtual_service in admission.accepted.values() {
        if !directs(virtual_service, node, snapshot, elected) {
            continue;
        }
        for vip in &virtual_service.vips {
            let real_servers = sets.get(virtual_service, *vip);
            questions.reach.extend(real_servers.by_address.keys());
            let named = virtual_service.directors.interface.as_ref();
            let Ok(nic) = clients_nic(named, *vip, observed) else {
                continue;
            };
            let target = AddressKey::new(nic.dev.clone(), *vip);
            let wire_speaks = real_servers
                .by_address
                .values()
                .any(|real_server| match real_server.id {
                    RealServerId::External => true,
                    RealServerId::Node(_) => snapshot.peers == Peers::Silent,
                });
            if wire_speaks || is_new(*vip, snapshot, observed) {
                questions.silence.insert(target);
            }
        }
    }
    questions
}

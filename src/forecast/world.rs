use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    desired::{Admission, DrainTimers, RecentDirectors, questions},
    model::{
        Answer, Dev, Directing, Elected, IpRanges, Ledger, Link, LinkKind, Mac, NodeName, Observed,
        PeerState, Peers, Reach, Reason, Reserved, Role, Snapshot, VipDevices, WireEvidence,
    },
};

/// Every node whose agent has reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForecastCluster {
    /// By name.
    pub nodes: BTreeMap<NodeName, ForecastNode>,
    /// Nodes that were directors lately, by what the controller says.
    pub lately: BTreeSet<NodeName>,
}

/// One node, as far as it can be known from elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForecastNode {
    /// Its kernel.
    pub observed: Observed,
    /// What of it is ours.
    pub ledger: Ledger,
    /// What its agent remembers.
    pub timers: DrainTimers,
    /// Addresses that it must not bind.
    pub reserved: Reserved,
    /// What its neighbours answer.
    pub wire: EvidenceSource,
    /// Which devices may carry VIPs there.
    pub vip_devices: VipDevices,
    /// VIPs of which it cannot serve everything, as its agent reported last: a forecast tries no op.
    pub incomplete: IpRanges,
}

/// What a node's neighbours answer.
#[derive(Clone, Debug, PartialEq)]
pub enum EvidenceSource {
    /// They were queried.
    Asked(WireEvidence),
    /// They cannot be queried from here.
    Assumed(Assumed),
}

impl Default for EvidenceSource {
    fn default() -> Self {
        Self::Assumed(Assumed::default())
    }
}

/// What is known of the answers that a node's neighbours would give. Otherwise every address in a network of the node
/// counts as reached, and no host answers for a VIP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assumed {
    /// Addresses of the node itself.
    pub own: BTreeSet<IpAddr>,
    /// Real servers that the node could not reach when it last tried, and why.
    pub out_of_reach: BTreeMap<IpAddr, Reason>,
    /// Hosts that answer for a VIP.
    pub answers: BTreeMap<IpAddr, BTreeSet<Mac>>,
}

/// Stands for the MAC of a host that was not queried.
const SOME_MAC: Mac = Mac([2, 0, 0, 0, 0, 0]);

impl ForecastCluster {
    /// Whose reports of VIPs count. That one of these nodes directs or holds something is no claim of its agent's, but
    /// what the forecast has its kernel do: it may have been a director until the labels changed.
    pub(super) fn recent_directors(&self, snapshot: &Snapshot) -> RecentDirectors {
        let holds = |node: &ForecastNode| {
            let mut roles = node.observed.net.addresses.values();
            roles.any(|role| *role == Role::Held)
        };
        let at_work = self
            .nodes
            .iter()
            .filter(|(_, node)| holds(node) || !node.observed.net.services.is_empty());
        let at_work = at_work.map(|(name, _)| name);
        RecentDirectors::at_a_look(snapshot, self.lately.iter().chain(at_work))
    }

    /// What every agent knows of the others, if agents report: these nodes as they are now, all others as they were
    /// `before`.
    pub(super) fn peers(&self, before: &Peers) -> Peers {
        match before {
            Peers::Silent => Peers::Silent,
            Peers::Reported(before) => {
                let mut peers = before.clone();
                let nodes = self.nodes.iter();
                peers.extend(nodes.map(|(name, node)| (name.clone(), report(node))));
                Peers::Reported(peers)
            }
        }
    }
}

/// The part of a node's report that other nodes act on.
fn report(node: &ForecastNode) -> PeerState {
    let observed = &node.observed;
    let silenced = |dev: &Dev| {
        let link = observed.links.get(dev);
        link.is_some_and(|link| link.arp.ignore == 8)
    };
    let with_role = |wanted: Role| -> IpRanges {
        let addresses = observed.net.addresses.iter();
        let chosen = addresses.filter(|(key, role)| {
            let role = if silenced(&key.dev) {
                Role::Quiet
            } else {
                **role
            };
            role == wanted
        });
        chosen.map(|(key, _)| key.ip).collect()
    };
    let services = observed.net.services.iter();
    let directing = services.map(|(key, service)| {
        let destinations = || service.destinations.iter();
        let of = |gets_new: bool| {
            destinations()
                .filter(|(_, destination)| (destination.weight > 0) == gets_new)
                .map(|(address, _)| *address)
                .collect()
        };
        Directing {
            vips: [key.vip].into_iter().collect(),
            ports: [(*key).into()].into(),
            ready: of(true),
            unready: BTreeMap::new(),
            draining: of(false),
        }
    });
    PeerState {
        addresses: observed.own_addresses(),
        reserved: node.reserved.clone(),
        macs: observed.own_macs(),
        bound: with_role(Role::Quiet),
        held: with_role(Role::Held),
        incomplete: node.incomplete.clone(),
        directing: directing.collect(),
        partial: false,
    }
}

impl ForecastNode {
    /// What neighbours would answer to this node's queries.
    pub fn evidence(
        &self,
        name: &NodeName,
        snapshot: &Snapshot,
        admission: &Admission<'_>,
    ) -> WireEvidence {
        let assumed = match &self.wire {
            EvidenceSource::Asked(evidence) => return evidence.clone(),
            EvidenceSource::Assumed(assumed) => assumed,
        };
        let asked = questions(
            name,
            snapshot,
            admission,
            &self.observed,
            &Elected::default(),
        );
        let reach = asked.reach.iter();
        let vips = asked.silence.iter();
        WireEvidence {
            reach: reach
                .map(|address| (*address, self.reach(*address, assumed)))
                .collect(),
            answers: vips
                .map(|key| (key.ip, BTreeSet::new()))
                .chain(assumed.answers.clone())
                .map(|(vip, macs)| (vip, Answer { macs }))
                .collect(),
        }
    }

    fn reach(&self, address: IpAddr, assumed: &Assumed) -> Reach {
        let links = || self.observed.links.values();
        let own = |link: &Link| link.addresses.iter().any(|net| net.addr() == address);
        if assumed.own.contains(&address) || links().any(own) {
            return Reach::Local;
        }
        let towards = links().find(|link| {
            link.kind == LinkKind::Other && !link.enslaved && link.is_in_network_of(address)
        });
        match (assumed.out_of_reach.get(&address), towards) {
            (Some(Reason::NotOnSegment), _) | (_, None) => Reach::NotOnLink,
            (Some(_), Some(link)) => Reach::Silent {
                dev: link.dev.clone(),
            },
            (None, Some(link)) => Reach::Neighbour {
                dev: link.dev.clone(),
                mac: SOME_MAC,
            },
        }
    }
}

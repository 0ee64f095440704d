//! What the statuses of all VirtualServices are made from, and what follows from it for one node.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    double_holders::DoubleHolders,
    heartbeats::Heartbeats,
    silence::{Silence, silence},
};
use crate::{
    api::{GenerationMatch, Report},
    cluster::Store,
    desired::{Admission, RecentDirectors},
    election::Placement,
    model::NodeName,
};

/// What the statuses of all VirtualServices are made from.
pub struct Context<'a> {
    /// The cluster.
    pub cluster: &'a Store,
    /// Which VirtualServices are accepted.
    pub admission: &'a Admission<'a>,
    /// Which director should hold each VIP.
    pub placement: &'a Placement<'a>,
    /// Nodes that are directors, or were lately. Only their reports of VIPs count.
    pub directors: &'a RecentDirectors,
    /// VIPs that several of them report as held.
    pub double_holders: &'a DoubleHolders,
    /// For which objects each node's report counts.
    pub agreements: &'a BTreeMap<NodeName, GenerationMatch>,
    /// Which agents are silent.
    pub heartbeats: &'a Heartbeats,
    /// The time of a transition.
    pub now: Timestamp,
}

impl<'a> Context<'a> {
    /// The report of `name`, if it can be read.
    pub(super) fn report(&self, name: &NodeName) -> Option<&'a Report> {
        self.cluster.reports().get(name)?.as_ref().ok()
    }

    pub(super) fn is_kubelet_silent(&self, name: &NodeName) -> bool {
        self.silence(name) == Some(Silence::Kubelet)
    }

    /// Why what `name` reported last may be no longer so. The time is left out: a status that contained it would be
    /// written all the time.
    pub(super) fn silence(&self, name: &NodeName) -> Option<Silence> {
        let node = self.cluster.snapshot().nodes.get(name);
        silence(node, self.heartbeats.of(name), None)
    }

    /// What directors report of VIPs, of those of which something was heard lately.
    pub(super) fn up_to_date(&self) -> impl Iterator<Item = (&'a NodeName, &'a Report)> {
        let weighed = self.directors.weigh(self.cluster.readable());
        weighed.filter(|(name, _)| self.silence(name).is_none())
    }
}

/// For which VirtualServices each node's report counts: those whose present generation the node had read.
pub(super) fn agreements(cluster: &Store) -> BTreeMap<NodeName, GenerationMatch> {
    let seen = cluster.seen();
    let readable = cluster.readable();
    readable
        .map(|(name, report)| (name.clone(), seen.compare(&report.observed)))
        .collect()
}

//! Whose word counts: what a report says of VIPs that its node holds, directs or sees in conflict, and of moves, counts only
//! if the node is a director, or was one lately. A node must not become a director by its own word.
//!
//! Agents, controller, subcommands and forecasts ask here, so that they all name the same holder.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{Node, NodeName, PeerState, Peers, Snapshot};

/// The nodes that are directors or were lately, with their addresses: one that was just unlabelled has VIPs on its NIC until
/// another director takes them over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentDirectors(BTreeMap<NodeName, Vec<IpAddr>>);

impl RecentDirectors {
    /// What is known without a history: the present directors, and the nodes of which somebody else who has one says that
    /// they were directors `lately`.
    pub fn at_a_look<'a>(
        snapshot: &'a Snapshot,
        lately: impl IntoIterator<Item = &'a NodeName>,
    ) -> Self {
        let nodes = snapshot.nodes.iter();
        let labelled = nodes.filter(|(_, node)| Node::is_director(node));
        let names = labelled.map(|(name, _)| name).chain(lately);
        names
            .map(|name| (name.clone(), snapshot.addresses_of(name).collect()))
            .collect()
    }

    /// Whether what `node` reports of VIPs counts.
    pub fn contains(&self, node: &NodeName) -> bool {
        self.0.contains_key(node)
    }

    /// Their names and addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, &[IpAddr])> {
        self.0.iter().map(|(name, known)| (name, known.as_slice()))
    }

    /// The reports that count, of `reports` by node.
    pub fn weigh<'a, R>(
        &'a self,
        reports: impl Iterator<Item = (&'a NodeName, R)>,
    ) -> impl Iterator<Item = (&'a NodeName, R)> {
        reports.filter(|(name, _)| self.contains(name))
    }

    /// The nodes that hold `vip`, by the reports that count.
    pub fn holders<'a>(
        &'a self,
        vip: IpAddr,
        peers: &'a Peers,
    ) -> impl Iterator<Item = &'a NodeName> {
        let holds = move |(_, report): &(&NodeName, &PeerState)| report.held.contains(vip);
        self.weigh(peers.reports())
            .filter(holds)
            .map(|(name, _)| name)
    }
}

impl FromIterator<(NodeName, Vec<IpAddr>)> for RecentDirectors {
    fn from_iter<I: IntoIterator<Item = (NodeName, Vec<IpAddr>)>>(known: I) -> Self {
        Self(known.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BACKEND_LABEL, DIRECTOR_LABEL};

    #[test]
    fn only_directors_of_now_and_lately_hold_vips_whatever_others_say() {
        let vip = IpAddr::from([10, 0, 0, 100]);
        let node = |label: &str| Node {
            labels: [(label.to_owned(), String::new())].into(),
            ..Node::default()
        };
        let holds = PeerState {
            held: [vip].into_iter().collect(),
            ..PeerState::default()
        };
        let names = ["d", "lately", "r"];
        let snapshot = Snapshot {
            nodes: [
                ("d".into(), node(DIRECTOR_LABEL)),
                ("lately".into(), node(BACKEND_LABEL)),
                ("r".into(), node(BACKEND_LABEL)),
            ]
            .into(),
            peers: Peers::Reported(names.map(|name| (name.into(), holds.clone())).into()),
            ..Snapshot::default()
        };
        let lately = NodeName::from("lately");
        let directors = RecentDirectors::at_a_look(&snapshot, [&lately]);
        let holders: Vec<_> = directors.holders(vip, &snapshot.peers).collect();
        assert_eq!(holders, [&NodeName::from("d"), &lately]);
        let other = IpAddr::from([10, 0, 0, 101]);
        assert_eq!(directors.holders(other, &snapshot.peers).count(), 0);
        assert!(!directors.contains(&"r".into()));
    }
}

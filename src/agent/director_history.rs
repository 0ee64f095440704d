//! Nodes that were directors lately: one that was just unlabelled has VIPs on its NIC until another director takes them
//! over, and the election must not take it for a stranger.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::{
    desired::FormerDirectors,
    model::{Node, NodeName, Snapshot},
};

/// How much longer than a director keeps a VIP that it may no longer hold.
const MARGIN: Duration = Duration::from_secs(50);

/// Nodes that were directors or holders lately: their addresses, and when they last were.
#[derive(Debug, Default)]
pub struct DirectorHistory(BTreeMap<NodeName, (Vec<IpAddr>, Duration)>);

impl DirectorHistory {
    /// Adds the present directors and holders, and returns all that were one lately. A director keeps a VIP that it may no
    /// longer hold for up to `retire`.
    pub fn update(
        &mut self,
        snapshot: &Snapshot,
        retire: Duration,
        now: Duration,
    ) -> FormerDirectors {
        let directors = snapshot
            .nodes
            .iter()
            .filter(|(_, node)| Node::is_director(node));
        let directors = directors.map(|(name, _)| name);
        // A holder may have been unlabelled before this agent started.
        let holders = snapshot.peers.reports();
        let holders = holders.filter(|(_, report)| !report.held.is_empty());
        for name in directors.chain(holders.map(|(name, _)| name)) {
            let seen = (snapshot.addresses_of(name).collect(), now);
            self.0.insert(name.clone(), seen);
        }
        self.0.retain(|_, (_, seen)| now <= *seen + retire + MARGIN);
        let remembered = self.0.iter();
        remembered
            .map(|(name, (addresses, _))| (name.clone(), addresses.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DIRECTOR_LABEL, PeerState, Peers};

    const RETIRE: Duration = Duration::from_secs(600);

    #[test]
    fn who_was_a_director_is_known_for_a_while() {
        let mut snapshot = Snapshot::default();
        let node = Node {
            labels: [(DIRECTOR_LABEL.to_owned(), String::new())].into(),
            addresses: vec![[10, 0, 0, 1].into()],
            ..Node::default()
        };
        snapshot.nodes.insert("a".into(), node);
        let mut director_history = DirectorHistory::default();
        assert_eq!(
            director_history
                .update(&snapshot, RETIRE, Duration::ZERO)
                .len(),
            1
        );
        snapshot.nodes.clear();
        let known = director_history.update(&snapshot, RETIRE, RETIRE + MARGIN);
        assert_eq!(known[&"a".into()], [IpAddr::from([10, 0, 0, 1])]);
        let later = RETIRE + MARGIN + Duration::from_millis(1);
        assert!(director_history.update(&snapshot, RETIRE, later).is_empty());
        // One that holds a VIP without being a director.
        let holder = PeerState {
            addresses: [[10, 0, 0, 2].into()].into(),
            held: [IpAddr::from([10, 0, 0, 100])].into_iter().collect(),
            ..PeerState::default()
        };
        snapshot.peers = Peers::Reported([("b".into(), holder)].into());
        assert_eq!(director_history.update(&snapshot, RETIRE, later).len(), 1);
        snapshot.peers = Peers::Reported(BTreeMap::new());
        let known = director_history.update(&snapshot, RETIRE, later + RETIRE + MARGIN);
        assert_eq!(known[&"b".into()], [IpAddr::from([10, 0, 0, 2])]);
    }
}

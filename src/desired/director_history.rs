//! Which nodes were directors lately, for a reader that runs on. One that was just unlabelled is no stranger to the election,
//! and its report counts.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::model::{Node, NodeName, Snapshot};

use super::RecentDirectors;

/// How much longer than a director keeps a VIP that it may no longer hold.
const MARGIN: Duration = Duration::from_secs(50);

/// Nodes that were directors lately: their addresses, and when they last were.
#[derive(Debug, Default)]
pub struct DirectorHistory {
    known: BTreeMap<NodeName, (Vec<IpAddr>, Duration)>,
    /// Whether labels were looked at before.
    began: bool,
}

impl DirectorHistory {
    /// Adds the present directors, and returns all nodes that were one lately. A director keeps a VIP that it may no longer
    /// hold for up to `retire`. A node that holds or directs VIPs when this is called first counts, too, because it may have
    /// been unlabelled just before.
    pub fn update(
        &mut self,
        snapshot: &Snapshot,
        retire: Duration,
        now: Duration,
    ) -> RecentDirectors {
        let nodes = snapshot.nodes.iter();
        let labelled = nodes.filter(|(_, node)| Node::is_director(node));
        let labelled = labelled.map(|(name, _)| name);
        let is_first = !std::mem::replace(&mut self.began, true);
        let reports = snapshot.peers.reports();
        let at_work =
            reports.filter(|(_, it)| is_first && !(it.held.is_empty() && it.directing.is_empty()));
        for name in labelled.chain(at_work.map(|(name, _)| name)) {
            let seen = (snapshot.addresses_of(name).collect(), now);
            self.known.insert(name.clone(), seen);
        }
        self.known
            .retain(|_, (_, seen)| now <= *seen + retire + MARGIN);
        let remembered = self.known.iter();
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

    fn of(name: &str, host: u8) -> RecentDirectors {
        let address = IpAddr::from([10, 0, 0, host]);
        [(name.into(), vec![address])].into_iter().collect()
    }

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
        let known = director_history.update(&snapshot, RETIRE, Duration::ZERO);
        assert_eq!(known, of("a", 1));
        snapshot.nodes.clear();
        let known = director_history.update(&snapshot, RETIRE, RETIRE + MARGIN);
        assert_eq!(known, of("a", 1));
        let later = RETIRE + MARGIN + Duration::from_millis(1);
        let none = RecentDirectors::default();
        assert_eq!(director_history.update(&snapshot, RETIRE, later), none);
        // One that holds a VIP without being a director.
        let holder = PeerState {
            addresses: [[10, 0, 0, 2].into()].into(),
            held: [IpAddr::from([10, 0, 0, 100])].into_iter().collect(),
            ..PeerState::default()
        };
        snapshot.peers = Peers::Reported([("b".into(), holder)].into());
        let known = director_history.update(&snapshot, RETIRE, later);
        assert_eq!(known, none, "its own word makes it no director");
        // It may have been one until just before this agent started.
        let mut director_history = DirectorHistory::default();
        let known = director_history.update(&snapshot, RETIRE, later);
        assert_eq!(known, of("b", 2));
        let known = director_history.update(&snapshot, RETIRE, later + RETIRE + MARGIN);
        assert_eq!(known, of("b", 2));
        let end = later + RETIRE + MARGIN + Duration::from_millis(1);
        assert_eq!(director_history.update(&snapshot, RETIRE, end), none);
    }
}

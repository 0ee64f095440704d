use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::model::{IpRanges, NodeName};

/// How long two nodes may report the same VIP as held. A move takes less than a second; but a machine that lost its power
/// is a holder by its last report until its kubelet is missed, which takes up to 50 seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// VIPs that several nodes report as held, by which nodes, and since when. It is a conflict whatever the wire says:
/// frames between the holders may be lost, and then neither knows of the other.
#[derive(Debug, Default)]
pub struct DoubleHolders {
    known: BTreeMap<IpAddr, (BTreeSet<NodeName>, Duration)>,
    now: Duration,
}

impl DoubleHolders {
    /// Takes in what the nodes report at `now`. `holders` are those whose reports count.
    pub fn update(
        &mut self,
        vips: impl Iterator<Item = IpAddr>,
        holders: &[(&NodeName, &IpRanges)],
        now: Duration,
    ) {
        let mut before = std::mem::take(&mut self.known);
        self.now = now;
        for vip in vips {
            let of_vip = holders.iter().filter(|(_, held)| held.contains(vip));
            let names: BTreeSet<NodeName> = of_vip.map(|(name, _)| (*name).clone()).collect();
            if names.len() > 1 {
                let since = before.remove(&vip).map_or(now, |(_, since)| since);
                self.known.insert(vip, (names, since));
            }
        }
    }

    /// The nodes that have reported `vip` as held for too long; `None` if there is at most one holder.
    pub fn of(&self, vip: IpAddr) -> Option<&BTreeSet<NodeName>> {
        let (names, since) = self.known.get(&vip)?;
        (self.now >= *since + PATIENCE).then_some(names)
    }

    /// How many VIPs have several holders.
    pub fn count(&self) -> usize {
        self.known
            .keys()
            .filter(|vip| self.of(**vip).is_some())
            .count()
    }

    /// After which time another VIP counts, if nothing changes.
    pub fn wait(&self) -> Option<Duration> {
        let ends = self.known.values().map(|(_, since)| *since + PATIENCE);
        let next = ends.filter(|end| *end > self.now).min()?;
        Some(next - self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_holders_count_when_it_takes_longer_than_a_move() {
        let [one, other] = [100, 101].map(|last| IpAddr::from([10, 0, 0, last]));
        let both: IpRanges = [one, other].into_iter().collect();
        let first: IpRanges = [one].into_iter().collect();
        let (a, b) = (NodeName::from("a"), NodeName::from("b"));
        let at = Duration::from_secs;
        let mut double_holders = DoubleHolders::default();
        let mut update = |holders: &[(&NodeName, &IpRanges)], now| {
            double_holders.update([one, other].into_iter(), holders, at(now));
            let found = [one, other].map(|vip| double_holders.of(vip).is_some());
            (found, double_holders.count(), double_holders.wait())
        };
        let held_twice = [(&a, &both), (&b, &first)];
        assert_eq!(update(&held_twice, 100), ([false; 2], 0, Some(at(60))));
        assert_eq!(update(&held_twice, 159), ([false; 2], 0, Some(at(1))));
        assert_eq!(update(&held_twice, 160), ([true, false], 1, None));
        assert_eq!(update(&[(&a, &both)], 161), ([false; 2], 0, None));
        // That was a move: the time counts from the next one.
        assert_eq!(update(&held_twice, 170), ([false; 2], 0, Some(at(60))));
    }
}

//! When held VIPs are announced again: a burst after the claim, because neighbours may miss one frame, and once a
//! minute after that, because switches and neighbours forget. The kernel announces nothing when an address is added.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::AddressKey;

/// After the announcement that is part of the claim.
const BURST: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
const REPEAT: Duration = Duration::from_secs(60);

/// The VIPs that this node holds, with the time of their next announcement.
#[derive(Debug, Default)]
pub struct Announcer(BTreeMap<AddressKey, Due>);

#[derive(Clone, Copy, Debug)]
struct Due {
    claimed: Duration,
    at: Duration,
}

impl Announcer {
    /// `held` is all that is held now; `claimed` what was claimed since the last call.
    pub fn update(
        &mut self,
        held: &BTreeSet<AddressKey>,
        claimed: &BTreeSet<AddressKey>,
        now: Duration,
    ) {
        self.0.retain(|key, _| held.contains(key));
        for key in held {
            if claimed.contains(key) {
                self.0.insert(key.clone(), after(now, now));
            } else {
                // Adopted from an earlier run: whether it announced anything is unknown.
                self.0.entry(key.clone()).or_insert(Due {
                    claimed: now,
                    at: now,
                });
            }
        }
    }

    /// What is to be announced now; the next time for each is set.
    pub fn take_due(&mut self, now: Duration) -> Vec<AddressKey> {
        let mut taken = Vec::new();
        for (key, due) in &mut self.0 {
            if due.at <= now {
                taken.push(key.clone());
                *due = after(due.claimed, now);
            }
        }
        taken
    }

    /// The time of the next announcement.
    pub fn next(&self) -> Option<Duration> {
        self.0.values().map(|due| due.at).min()
    }
}

fn after(claimed: Duration, now: Duration) -> Due {
    let in_burst = BURST
        .iter()
        .map(|delay| claimed + *delay)
        .find(|at| *at > now);
    Due {
        claimed,
        at: in_burst.unwrap_or(now + REPEAT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u8) -> AddressKey {
        AddressKey::new("eth0".parse().unwrap(), [10, 0, 0, last].into())
    }

    fn set(keys: &[u8]) -> BTreeSet<AddressKey> {
        keys.iter().map(|last| key(*last)).collect()
    }

    /// Announcement times of 10.0.0.1 up to `end`, looking every 50 ms.
    fn times(announcer: &mut Announcer, end: u64) -> Vec<u64> {
        (0..=end)
            .step_by(50)
            .filter(|ms| {
                announcer
                    .take_due(Duration::from_millis(*ms))
                    .contains(&key(1))
            })
            .collect()
    }

    #[test]
    fn a_claim_is_followed_by_a_burst_and_then_one_a_minute() {
        let mut announcer = Announcer::default();
        announcer.update(&set(&[1, 2]), &set(&[1]), Duration::ZERO);
        assert_eq!(
            announcer.next(),
            Some(Duration::ZERO),
            "the adopted one is announced at once"
        );
        assert_eq!(
            times(&mut announcer, 130_000),
            [200, 1000, 5000, 65_000, 125_000]
        );
    }

    #[test]
    fn a_pass_in_between_changes_nothing_and_a_yielded_vip_is_silent() {
        let mut announcer = Announcer::default();
        announcer.update(&set(&[1]), &set(&[1]), Duration::ZERO);
        announcer.update(&set(&[1]), &set(&[]), Duration::from_millis(100));
        assert_eq!(announcer.next(), Some(Duration::from_millis(200)));
        announcer.update(&set(&[]), &set(&[]), Duration::from_millis(300));
        assert_eq!(announcer.next(), None);
    }
}

//! Claims wait for the answer to their probe, and nothing else waits with them.
//!
//! A probe listens for a tenth of a second. In a pass that waited for it, the real servers' reports would lie unread as
//! long, and every client with them. So a pass hands the question over, does the rest of its plan, and the answer
//! brings about the pass that claims.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    model::{AddressKey, Role},
    plan::Op,
};

use super::{Told, wire::LOST};

/// How long silence is believed: a claim follows its probe at once, or there is another probe.
const BELIEVED: Duration = Duration::from_secs(1);

/// The VIPs that this node is about to claim.
#[derive(Debug, Default)]
pub struct Claims(BTreeMap<AddressKey, Probe>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Handed over.
    Asked {
        /// When to ask again.
        again: Duration,
    },
    /// Nobody has the VIP.
    Silent { until: Duration },
    /// It could not be sent. The pass sends it itself, and reports why that fails.
    Unsent,
}

impl Claims {
    /// Takes out of a plan the claims that have to wait, with their announcements, and the probes that need not be sent
    /// by the pass. Returns the VIPs to probe now.
    pub fn hold_back(&mut self, ops: &mut Vec<Op>, now: Duration) -> BTreeSet<AddressKey> {
        let wanted: BTreeSet<AddressKey> = ops.iter().filter_map(probed).cloned().collect();
        self.0.retain(|key, _| wanted.contains(key));
        let mut ask = BTreeSet::new();
        for key in wanted {
            let stands = match self.0.get(&key) {
                Some(Probe::Asked { again }) => now < *again,
                Some(Probe::Silent { until }) => now <= *until,
                Some(Probe::Unsent) => true,
                None => false,
            };
            if !stands {
                let again = now + LOST;
                self.0.insert(key.clone(), Probe::Asked { again });
                ask.insert(key);
            }
        }
        ops.retain(|op| {
            let key = match op {
                Op::AddAddress(key, Role::Held) | Op::Announce(key) | Op::Probe(key) => key,
                _ => return true,
            };
            match self.0.get(key) {
                Some(Probe::Asked { .. }) => false,
                Some(Probe::Silent { .. }) => probed(op).is_none(),
                Some(Probe::Unsent) | None => true,
            }
        });
        ask
    }

    /// Takes answers; tells whether a claim waited for one of them. An answer that is not silence ends the claim: it
    /// is evidence for the next decision.
    pub fn hear(&mut self, told: &Told, now: Duration) -> bool {
        let mut waited = false;
        for (key, probe) in &mut self.0 {
            let heard = match told.answers.get(key) {
                Some(answer) if answer.macs.is_empty() => Probe::Silent {
                    until: now + BELIEVED,
                },
                Some(_) => Probe::Asked { again: now },
                None if told.unsent.contains(key) => Probe::Unsent,
                None => continue,
            };
            waited |= matches!(probe, Probe::Asked { .. });
            *probe = heard;
        }
        waited
    }

    /// Whether claims wait.
    pub fn are_waiting(&self) -> bool {
        self.next_due().is_some()
    }

    /// When an answer has been waited for long enough.
    pub fn next_due(&self) -> Option<Duration> {
        let due = self.0.values().filter_map(|probe| match probe {
            Probe::Asked { again } => Some(*again),
            Probe::Silent { .. } | Probe::Unsent => None,
        });
        due.min()
    }
}

fn probed(op: &Op) -> Option<&AddressKey> {
    match op {
        Op::Probe(key) => Some(key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Answer, Mac};

    const MS: Duration = Duration::from_millis(1);

    fn key() -> AddressKey {
        AddressKey::new("eth0".parse().unwrap(), [10, 0, 0, 100].into())
    }

    fn quiet() -> Op {
        let lo = "lo".parse().unwrap();
        Op::AddAddress(AddressKey::new(lo, key().ip), Role::Quiet)
    }

    fn claim() -> [Op; 2] {
        [Op::AddAddress(key(), Role::Held), Op::Announce(key())]
    }

    fn plan() -> Vec<Op> {
        let [add, announce] = claim();
        vec![quiet(), Op::Probe(key()), add, announce]
    }

    fn answer(macs: &[Mac]) -> Told {
        let answer = Answer {
            macs: macs.iter().copied().collect(),
        };
        Told {
            answers: [(key(), answer)].into(),
            ..Told::default()
        }
    }

    /// What is left of the plan at `now`, and how many VIPs are to be probed.
    fn left(claims: &mut Claims, now: Duration) -> (Vec<Op>, usize) {
        let mut ops = plan();
        let asked = claims.hold_back(&mut ops, now).len();
        (ops, asked)
    }

    #[test]
    fn a_claim_waits_for_silence_and_the_rest_of_the_plan_does_not() {
        let mut claims = Claims::default();
        assert_eq!(left(&mut claims, Duration::ZERO), (vec![quiet()], 1));
        assert_eq!(
            left(&mut claims, 50 * MS),
            (vec![quiet()], 0),
            "asked twice"
        );
        assert!(claims.are_waiting());
        assert!(claims.hear(&answer(&[]), 120 * MS), "worth a pass");
        let [add, announce] = claim();
        let all = vec![quiet(), add, announce];
        assert_eq!(left(&mut claims, 130 * MS), (all, 0));
        assert!(!claims.are_waiting());
    }

    #[test]
    fn old_silence_is_no_permission() {
        let mut claims = Claims::default();
        left(&mut claims, Duration::ZERO);
        claims.hear(&answer(&[]), 120 * MS);
        assert_eq!(left(&mut claims, 1121 * MS), (vec![quiet()], 1));
    }

    #[test]
    fn an_answer_or_none_at_all_lets_nothing_pass() {
        let mut claims = Claims::default();
        left(&mut claims, Duration::ZERO);
        assert!(claims.hear(&answer(&[Mac([2, 0, 0, 0, 0, 9])]), 120 * MS));
        assert_eq!(left(&mut claims, 130 * MS), (vec![quiet()], 1));
        let again = 130 * MS + LOST;
        assert_eq!(claims.next_due(), Some(again));
        assert_eq!(
            left(&mut claims, again),
            (vec![quiet()], 1),
            "a lost answer"
        );
    }

    #[test]
    fn a_probe_that_cannot_be_sent_is_left_to_the_pass_which_reports_it() {
        let mut claims = Claims::default();
        left(&mut claims, Duration::ZERO);
        let told = Told {
            unsent: [key()].into(),
            ..Told::default()
        };
        assert!(claims.hear(&told, MS));
        assert_eq!(left(&mut claims, 2 * MS), (plan(), 0));
    }

    #[test]
    fn what_is_no_longer_wanted_is_forgotten() {
        let mut claims = Claims::default();
        left(&mut claims, Duration::ZERO);
        claims.hear(&answer(&[]), 120 * MS);
        claims.hold_back(&mut vec![quiet()], 130 * MS);
        assert_eq!(left(&mut claims, 140 * MS), (vec![quiet()], 1));
        assert!(!Claims::default().hear(&answer(&[]), MS), "nobody waited");
    }
}

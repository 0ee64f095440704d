//! Which of several controllers leads: the decision, without clock and network.
//!
//! A Lease's times come from another host's clock, so they are never compared with ours. What counts is how long,
//! by our own monotonic clock, the record has not changed: its leader renews it far more often than it expires.
//! Every write names the resourceVersion that was read, so the API server accepts only one of two concurrent writes.

use std::time::Duration;

/// After this time without a change, any controller may take the lease.
pub const DURATION: Duration = Duration::from_secs(15);
/// A leader that could not renew for this long stops writing, before another controller may begin ([`DURATION`]).
pub const DEADLINE: Duration = Duration::from_secs(10);
/// A round – a read and a write – that takes longer counts as failed.
pub const TIMEOUT: Duration = Duration::from_millis(3_500);
/// The pause between a leader's renewals.
const RENEW: Duration = Duration::from_secs(2);
/// The pause after a leader's round that failed: before [`DEADLINE`] there is time for another one.
const RETRY: Duration = Duration::from_millis(500);
/// The pause between a follower's reads.
const LOOK: Duration = Duration::from_secs(2);

/// The part of a Lease that decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The leader's identity; empty = released.
    pub holder: String,
    /// How long the lease is valid after a renewal, as the leader wrote it.
    pub duration: Duration,
    /// How often the leader has changed.
    pub transitions: i32,
    /// Changes with every write.
    pub resource_version: String,
}

/// What is to be done with the lease now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write our identity into it.
    Take {
        /// The resourceVersion that must not have changed; `None` = create the Lease.
        replaces: Option<String>,
        /// The new count of transitions.
        transitions: i32,
    },
    /// Another controller leads.
    Follow {
        /// Its identity.
        leader: String,
    },
}

/// One controller's memory of the lease.
#[derive(Clone, Debug)]
pub struct LeaderElection {
    identity: String,
    /// The record that was read last, and when this version of it was read first; on our monotonic clock.
    seen: Option<(LeaseRecord, Duration)>,
    /// When the last successful renewal was begun.
    renewed: Option<Duration>,
}

impl LeaderElection {
    /// Of the controller with this unique name.
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            seen: None,
            renewed: None,
        }
    }

    /// Our unique name.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What to do, given what was just read (`None` = there is no Lease).
    pub fn decide(&mut self, record: Option<LeaseRecord>, now: Duration) -> Action {
        let Some(record) = record else {
            self.seen = None;
            return Action::Take {
                replaces: None,
                transitions: 0,
            };
        };
        let since = match &self.seen {
            Some((known, since)) if known.resource_version == record.resource_version => *since,
            Some(_) | None => now,
        };
        self.seen = Some((record.clone(), since));
        let take = |transitions| Action::Take {
            replaces: Some(record.resource_version.clone()),
            transitions,
        };
        if record.holder == self.identity {
            return take(record.transitions);
        }
        // A leader of another release may use a longer duration.
        let expired = now.saturating_sub(since) >= record.duration.max(DURATION);
        if record.holder.is_empty() || expired {
            take(record.transitions.saturating_add(1))
        } else {
            Action::Follow {
                leader: record.holder,
            }
        }
    }

    /// A write that was begun at `begun` has put our identity into the lease.
    pub fn taken(&mut self, begun: Duration) {
        self.renewed = Some(begun);
    }

    /// The lease is certainly not ours.
    pub fn lost(&mut self) {
        self.renewed = None;
    }

    /// How long to wait after a round that `succeeded` or not.
    pub fn pause(&self, succeeded: bool, now: Duration) -> Duration {
        match (self.leads(now), succeeded) {
            (false, _) => LOOK,
            (true, true) => RENEW,
            (true, false) => RETRY,
        }
    }

    /// Whether we may write, because no other controller can have begun to.
    pub fn leads(&self, now: Duration) -> bool {
        self.renewed
            .is_some_and(|begun| now.saturating_sub(begun) < DEADLINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn record(holder: &str, version: &str) -> Option<LeaseRecord> {
        Some(LeaseRecord {
            holder: holder.to_owned(),
            duration: DURATION,
            transitions: 4,
            resource_version: version.to_owned(),
        })
    }

    fn follows(action: &Action) -> bool {
        matches!(action, Action::Follow { leader } if leader == "a")
    }

    #[test]
    fn a_lease_that_is_not_there_or_released_is_taken_at_once() {
        let mut b = LeaderElection::new("b");
        assert_eq!(
            b.decide(None, START),
            Action::Take {
                replaces: None,
                transitions: 0
            }
        );
        let wanted = Action::Take {
            replaces: Some("7".to_owned()),
            transitions: 5,
        };
        assert_eq!(b.decide(record("", "7"), START), wanted);
    }

    #[test]
    fn a_stranger_is_followed_for_a_whole_duration_by_our_own_clock() {
        let mut b = LeaderElection::new("b");
        assert!(follows(&b.decide(record("a", "7"), START)));
        let almost = START + DURATION - Duration::from_millis(1);
        assert!(follows(&b.decide(record("a", "7"), almost)));
        assert!(
            follows(&b.decide(record("a", "8"), almost)),
            "it was renewed: the time begins again"
        );
        assert!(follows(&b.decide(
            record("a", "8"),
            almost + DURATION - Duration::from_millis(1)
        )));
        let wanted = Action::Take {
            replaces: Some("8".to_owned()),
            transitions: 5,
        };
        assert_eq!(b.decide(record("a", "8"), almost + DURATION), wanted);
    }

    #[test]
    fn our_own_record_is_renewed_without_a_transition() {
        let mut a = LeaderElection::new("a");
        let wanted = Action::Take {
            replaces: Some("7".to_owned()),
            transitions: 4,
        };
        assert_eq!(a.decide(record("a", "7"), START), wanted);
    }

    #[test]
    fn one_slow_renewal_leaves_time_for_another() {
        let mut a = LeaderElection::new("a");
        a.taken(START);
        let slow_begins = START + a.pause(true, START);
        let slow_ends = slow_begins + TIMEOUT;
        assert!(a.leads(slow_ends));
        let next_ends = slow_ends + a.pause(false, slow_ends) + TIMEOUT;
        assert!(
            a.leads(next_ends),
            "it ends {:?} after the last one",
            next_ends - START
        );
    }

    #[test]
    fn a_leader_that_cannot_renew_stops_before_anybody_else_may_begin() {
        const { assert!(DEADLINE.as_secs() < DURATION.as_secs()) };
        let mut a = LeaderElection::new("a");
        assert!(!a.leads(START));
        // The write was begun at START and arrived at any time after it, so b's clock starts at START or later.
        a.taken(START);
        let mut b = LeaderElection::new("b");
        assert!(follows(&b.decide(record("a", "7"), START)));
        for millis in 0..=DURATION.as_millis() as u64 {
            let now = START + Duration::from_millis(millis);
            let b_takes = !follows(&b.decide(record("a", "7"), now));
            assert!(!(a.leads(now) && b_takes), "both lead after {millis} ms");
        }
        a.taken(START);
        a.lost();
        assert!(!a.leads(START));
    }
}

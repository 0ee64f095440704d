//! Which agents are silent: the decision, without clock and network.
//!
//! An agent renews its Lease while its NodeState is up to date. The times in a Lease come from another host's clock, so
//! they are never compared with ours. What counts is how long, by our own monotonic clock, a Lease has not changed.

use std::{collections::BTreeMap, time::Duration};

use crate::model::NodeName;

/// An agent whose Lease has not changed for this time is silent. It renews the Lease three times as often.
pub const SILENCE: Duration = Duration::from_secs(60);

/// Whether an agent whose Lease has not changed for this time is silent.
pub fn is_silence(unchanged: Duration) -> bool {
    unchanged >= SILENCE
}

/// What an agent's Lease shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// It has renewed its Lease lately, or has none, as agents of older releases.
    Alive,
    /// It has not renewed its Lease since we began to look, which is not long ago.
    Unheard,
    /// It has not renewed its Lease for [`SILENCE`].
    Silent,
}

#[derive(Clone, Debug)]
struct Beat {
    /// The time in the Lease, as written.
    renewed: String,
    /// When it changed, or when we began to look.
    since: Duration,
    state: AgentState,
}

/// The Leases that were seen; times are on our monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats {
    beats: BTreeMap<NodeName, Beat>,
    looking: bool,
}

impl Heartbeats {
    /// Takes in the Leases as they are now. While they cannot be read (`looking` is false), nobody falls silent, and
    /// afterwards everybody's time begins again. Returns whether a silent agent is alive again.
    pub fn observe(
        &mut self,
        leases: &BTreeMap<NodeName, String>,
        looking: bool,
        now: Duration,
    ) -> bool {
        let looked = std::mem::replace(&mut self.looking, looking);
        let begins = looking && !looked;
        let mut returned = false;
        self.beats.retain(|name, _| leases.contains_key(name));
        for (name, renewed) in leases {
            let beat = self.beats.entry(name.clone()).or_insert_with(|| Beat {
                renewed: renewed.clone(),
                since: now,
                state: AgentState::Unheard,
            });
            if beat.renewed != *renewed {
                returned |= beat.state == AgentState::Silent;
                beat.renewed.clone_from(renewed);
                beat.since = now;
                beat.state = AgentState::Alive;
            } else if begins && beat.state != AgentState::Silent {
                beat.since = now;
                beat.state = AgentState::Unheard;
            } else if looking && is_silence(now.saturating_sub(beat.since)) {
                beat.state = AgentState::Silent;
            }
        }
        returned
    }

    /// What was seen may be old by now: everybody's time begins again.
    pub fn interrupt(&mut self) {
        self.looking = false;
    }

    /// What is known of the agent of `name`.
    pub fn of(&self, name: &NodeName) -> AgentState {
        self.beats
            .get(name)
            .map_or(AgentState::Alive, |beat| beat.state)
    }

    /// How long until the next agent falls silent if it does not renew its Lease.
    pub fn next(&self, now: Duration) -> Option<Duration> {
        let waiting = self.beats.values();
        let waiting = waiting.filter(|beat| beat.state != AgentState::Silent);
        let due = waiting.map(|beat| beat.since + SILENCE).min();
        due.filter(|_| self.looking)
            .map(|due| due.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(renewed: &[(&str, &str)]) -> BTreeMap<NodeName, String> {
        let all = renewed.iter();
        all.map(|(name, at)| ((*name).into(), (*at).to_owned()))
            .collect()
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_agent_is_silent_when_its_lease_has_not_changed_for_long_by_our_clock() {
        let mut heartbeats = Heartbeats::default();
        let (a, b) = (NodeName::from("a"), NodeName::from("b"));
        // The times in the Leases are years apart, and count for nothing.
        heartbeats.observe(&leases(&[("a", "1970"), ("b", "2099")]), true, seconds(5));
        assert_eq!(heartbeats.of(&a), AgentState::Unheard);
        assert_eq!(heartbeats.next(seconds(5)), Some(SILENCE));
        heartbeats.observe(&leases(&[("a", "1970"), ("b", "2098")]), true, seconds(25));
        assert_eq!(heartbeats.next(seconds(25)), Some(seconds(40)));
        heartbeats.observe(&leases(&[("a", "1970"), ("b", "2098")]), true, seconds(65));
        assert_eq!(
            (heartbeats.of(&a), heartbeats.of(&b)),
            (AgentState::Silent, AgentState::Alive)
        );
        assert_eq!(heartbeats.next(seconds(65)), Some(seconds(20)));
        assert!(heartbeats.observe(&leases(&[("a", "1971"), ("b", "2098")]), true, seconds(66)));
        assert_eq!(heartbeats.of(&a), AgentState::Alive);
        let unknown = NodeName::from("older-release");
        assert_eq!(heartbeats.of(&unknown), AgentState::Alive);
    }

    #[test]
    fn while_leases_cannot_be_read_nobody_falls_silent() {
        let mut heartbeats = Heartbeats::default();
        let (dead, alive) = (NodeName::from("dead"), NodeName::from("alive"));
        heartbeats.observe(&leases(&[("dead", "1"), ("alive", "1")]), true, seconds(0));
        heartbeats.observe(&leases(&[("dead", "1"), ("alive", "2")]), true, seconds(50));
        heartbeats.observe(&leases(&[("dead", "1"), ("alive", "2")]), true, seconds(60));
        let state = |heartbeats: &Heartbeats| (heartbeats.of(&dead), heartbeats.of(&alive));
        assert_eq!(state(&heartbeats), (AgentState::Silent, AgentState::Alive));
        let same = leases(&[("dead", "1"), ("alive", "2")]);
        heartbeats.observe(&same, false, seconds(70));
        heartbeats.observe(&same, false, seconds(500));
        assert_eq!(heartbeats.next(seconds(500)), None);
        heartbeats.observe(&same, true, seconds(501));
        assert_eq!(
            state(&heartbeats),
            (AgentState::Silent, AgentState::Unheard)
        );
        heartbeats.interrupt();
        heartbeats.observe(&same, true, seconds(560));
        assert_eq!(heartbeats.next(seconds(560)), Some(SILENCE));
        assert!(!heartbeats.observe(&leases(&[("alive", "3")]), true, seconds(570)));
        assert_eq!(state(&heartbeats), (AgentState::Alive, AgentState::Alive));
    }
}

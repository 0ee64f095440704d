//! How far each drain is, as a NodeState reports it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::model::Drain;

use super::{PassState, directing::our_services};

/// How long counts are reported as they are: every write of a NodeState is sent to every agent.
const COUNTED_FOR: Duration = Duration::from_secs(5);

/// What a pass remembers of the drains that it has reported.
#[derive(Debug, Default)]
pub struct Drains {
    /// When connections were counted.
    counted: Option<Duration>,
    /// How many were open then.
    counts: BTreeMap<IpAddr, u32>,
    /// The times at which drains end, on the agent's monotonic clock and on the wall clock. Each is converted once, because
    /// the two clocks do not run alike, and a time that differs in each pass would be a change to report.
    ends: BTreeMap<Duration, Timestamp>,
}

impl Drains {
    /// The drains after a pass at `now`, when the wall clock shows `wall`, by real server: over all services.
    pub(super) fn update(
        &mut self,
        state: &PassState<'_>,
        now: Duration,
        wall: Timestamp,
    ) -> BTreeMap<IpAddr, Drain> {
        let leaving = &state.desired.timers.leaving;
        let mut found: BTreeMap<IpAddr, (u32, Duration)> = BTreeMap::new();
        // Nothing else is drained in most passes, and there may be 100,000 destinations.
        let services = our_services(state).filter(|_| !leaving.is_empty());
        for (key, service) in services {
            for (address, destination) in &service.destinations {
                let id = (*key, *address);
                let Some(leave) = leaving.get(&id).filter(|_| destination.weight == 0) else {
                    continue;
                };
                let connections = state.observed.draining.get(&id);
                let open = connections.map_or(0, |it| it.open(key.protocol));
                let (sum, until) = found.entry(*address).or_default();
                *sum = sum.saturating_add(open);
                *until = leave.until.max(*until);
            }
        }
        self.report(found, now, wall)
    }

    fn report(
        &mut self,
        found: BTreeMap<IpAddr, (u32, Duration)>,
        now: Duration,
        wall: Timestamp,
    ) -> BTreeMap<IpAddr, Drain> {
        let is_old = self
            .counted
            .is_none_or(|at| now.saturating_sub(at) >= COUNTED_FOR);
        let before = std::mem::take(&mut self.counts);
        let times = std::mem::take(&mut self.ends);
        if is_old {
            self.counted = (!found.is_empty()).then_some(now);
        }
        let mut drains = BTreeMap::new();
        for (address, (open, end)) in found {
            let last = before.get(&address).copied().filter(|_| !is_old);
            let connections = last.unwrap_or_else(|| rounded(open));
            let known = times.get(&end).copied();
            let until = known.unwrap_or_else(|| time_of(end.saturating_sub(now), wall));
            self.counts.insert(address, connections);
            self.ends.insert(end, until);
            drains.insert(address, Drain { connections, until });
        }
        drains
    }
}

/// The full second after `left` from `wall`.
fn time_of(left: Duration, wall: Timestamp) -> Timestamp {
    let left = SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX);
    let end = wall.saturating_add(left).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(end.as_second().saturating_add(1)).unwrap_or(end)
}

/// The first two digits of `count`: of thousands of connections, one that ends is no news.
fn rounded(count: u32) -> u32 {
    let digits = count.checked_ilog10().unwrap_or(0);
    let unit = 10u32.pow(digits.saturating_sub(1));
    count / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2026-11-25T20:00:00.5Z";

    #[test]
    fn counts_have_two_digits() {
        let counts = [0, 1, 9, 10, 99, 100, 109, 1234, u32::MAX];
        let expected = [0, 1, 9, 10, 99, 100, 100, 1200, 4_200_000_000];
        assert_eq!(counts.map(rounded), expected);
    }

    /// Connections of one real server whose drain ends after 60 s, as reported after so many milliseconds.
    fn reported(drains: &mut Drains, open: u32, millis: u64) -> Drain {
        let now = Duration::from_millis(millis);
        // The wall clock is slower than the monotonic one.
        let wall: Timestamp = START.parse().unwrap();
        let wall = wall + Duration::from_millis(millis * 9 / 10);
        let address: IpAddr = [10, 0, 0, 11].into();
        let found = [(address, (open, Duration::from_secs(60)))];
        drains.report(found.into(), now, wall)[&address]
    }

    #[test]
    fn a_report_changes_every_few_seconds_at_most() {
        let mut drains = Drains::default();
        let first = reported(&mut drains, 3, 0);
        assert_eq!(first.until, "2026-11-25T20:01:01Z".parse().unwrap());
        assert_eq!(first.connections, 3);
        assert_eq!(reported(&mut drains, 2, 500), first);
        assert_eq!(reported(&mut drains, 2, 4999), first);
        let next = reported(&mut drains, 2, 5000);
        assert_eq!((next.connections, next.until), (2, first.until));
        assert_eq!(reported(&mut drains, 1, 9999), next);
        assert_eq!(reported(&mut drains, 1, 10_000).connections, 1);
    }

    #[test]
    fn a_drain_that_begins_or_ends_is_reported_at_once() {
        let mut drains = Drains::default();
        let wall: Timestamp = START.parse().unwrap();
        let server = |last: u8, open| {
            let address: IpAddr = [10, 0, 0, last].into();
            (address, (open, Duration::from_secs(60)))
        };
        let mut told = |found: &[(IpAddr, (u32, Duration))], second| {
            let found = found.iter().copied().collect();
            let drains = drains.report(found, Duration::from_secs(second), wall);
            let counts = drains.values().map(|it| it.connections);
            counts.collect::<Vec<_>>()
        };
        assert_eq!(told(&[server(11, 5)], 1), [5]);
        assert_eq!(told(&[server(11, 4), server(12, 7)], 2), [5, 7]);
        assert_eq!(told(&[server(12, 6)], 3), [7]);
        assert!(told(&[], 4).is_empty());
        assert_eq!(told(&[server(11, 2)], 5), [2], "a new drain");
    }

    #[test]
    fn no_time_is_too_long() {
        let wall: Timestamp = START.parse().unwrap();
        assert!(time_of(Duration::MAX, wall) > wall);
    }
}

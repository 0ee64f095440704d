use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use crate::{election::Rate, model::AddressKey};

use super::NeighbourQueries;

/// How long a probe takes, with its repetitions. As many queries as have their turns in that time are sent together,
/// because the next ones are sent only after them.
const TOGETHER: Duration = Duration::from_millis(120);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Query {
    Probe(AddressKey),
    Reach(IpAddr),
}

/// Queries that wait for their turns. Each takes up to three frames, and there are as many as VIPs and real
/// servers: sent at once, they could exceed the ARP rate limit of a switch, which shuts the port.
#[derive(Debug)]
pub(super) struct QueryQueue {
    rate: Rate,
    /// Those that something waits for, which come before all others, and the others; each in the order in which they came.
    first: VecDeque<Query>,
    others: VecDeque<Query>,
    /// All of them, so that none waits twice.
    known: BTreeSet<Query>,
    /// When the next have their turn.
    free: Duration,
}

/// What a queue has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// These may be sent now.
    Send(NeighbourQueries),
    /// Some may at this time.
    Wait(Duration),
    /// None wait.
    Idle,
}

impl QueryQueue {
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            first: VecDeque::new(),
            others: VecDeque::new(),
            known: BTreeSet::new(),
            free: Duration::ZERO,
        }
    }

    /// Adds queries that something waits for.
    pub fn add_first(&mut self, queries: NeighbourQueries) {
        let fresh = self.fresh(queries);
        self.first.extend(fresh);
    }

    /// Adds queries that may wait longer.
    pub fn add(&mut self, queries: NeighbourQueries) {
        let fresh = self.fresh(queries);
        self.others.extend(fresh);
    }

    /// Those that do not wait yet. Probes come first: a VIP is bound only after it.
    fn fresh(&mut self, queries: NeighbourQueries) -> Vec<Query> {
        let probes = queries.probes.into_iter().map(Query::Probe);
        let all = probes.chain(queries.reach.into_iter().map(Query::Reach));
        all.filter(|query| self.known.insert(query.clone()))
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes the queries whose turn it is.
    pub fn take(&mut self, now: Duration) -> Turn {
        if self.is_empty() {
            Turn::Idle
        } else if now < self.free {
            Turn::Wait(self.free)
        } else {
            Turn::Send(self.take_from(now, |it| {
                it.first.pop_front().or_else(|| it.others.pop_front())
            }))
        }
    }

    /// Takes those that something waits for, if it is their turn.
    pub fn take_first(&mut self, now: Duration) -> NeighbourQueries {
        if self.first.is_empty() || now < self.free {
            return NeighbourQueries::default();
        }
        self.take_from(now, |it| it.first.pop_front())
    }

    fn take_from(
        &mut self,
        now: Duration,
        next: impl Fn(&mut Self) -> Option<Query>,
    ) -> NeighbourQueries {
        let Rate { count, every } = self.rate;
        let turns = TOGETHER.as_nanos() / every.as_nanos().max(1);
        let turns = u32::try_from(turns).unwrap_or(u32::MAX).max(1);
        let most = count.max(1).saturating_mul(turns);
        let mut queries = NeighbourQueries::default();
        let mut used = 0u32;
        while used < most
            && let Some(query) = next(self)
        {
            used += 1;
            self.known.remove(&query);
            match query {
                Query::Probe(key) => drop(queries.probes.insert(key)),
                Query::Reach(address) => drop(queries.reach.insert(address)),
            }
        }
        self.free = now + every.saturating_mul(used.div_ceil(count.max(1)));
        queries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn probes(last: std::ops::Range<u8>) -> NeighbourQueries {
        NeighbourQueries {
            probes: last.map(vip).collect(),
            ..NeighbourQueries::default()
        }
    }

    fn vip(last: u8) -> AddressKey {
        AddressKey::new("eth0".parse().unwrap(), [10, 0, 0, last].into())
    }

    fn reach(last: u8) -> NeighbourQueries {
        NeighbourQueries {
            reach: [IpAddr::from([10, 0, 0, last])].into(),
            ..NeighbourQueries::default()
        }
    }

    fn queue(count: u32, every: u64) -> QueryQueue {
        let every = ms(every);
        QueryQueue::new(Rate { count, every })
    }

    #[test]
    fn each_interval_has_its_number_of_queries() {
        let mut queue = queue(2, 1000);
        queue.add(probes(0..5));
        assert_eq!(queue.take(ms(0)), Turn::Send(probes(0..2)));
        assert_eq!(queue.take(ms(999)), Turn::Wait(ms(1000)));
        assert_eq!(queue.take(ms(1000)), Turn::Send(probes(2..4)));
        assert_eq!(queue.take(ms(5000)), Turn::Send(probes(4..5)), "no arrears");
        assert_eq!(queue.take(ms(5001)), Turn::Idle);
        queue.add(probes(5..6));
        assert_eq!(queue.take(ms(5001)), Turn::Wait(ms(6000)));
    }

    #[test]
    fn many_short_intervals_are_taken_together() {
        let mut queue = queue(10, 40);
        queue.add(probes(0..100));
        assert_eq!(queue.take(ms(0)), Turn::Send(probes(0..30)));
        assert_eq!(queue.take(ms(119)), Turn::Wait(ms(120)));
        assert_eq!(queue.take(ms(120)), Turn::Send(probes(30..60)));
        queue.add_first(probes(200..201));
        assert_eq!(queue.take(ms(239)), Turn::Wait(ms(240)));
    }

    #[test]
    fn what_is_waited_for_comes_first_and_nothing_twice() {
        let mut queue = queue(1, 1000);
        queue.add(reach(9));
        queue.add(reach(9));
        for last in [7, 5] {
            queue.add_first(probes(last..last + 1));
        }
        queue.add(probes(5..6));
        queue.add_first(reach(8));
        let expected = [probes(7..8), probes(5..6), reach(8), reach(9)];
        for (second, expected) in (0..).zip(expected) {
            assert_eq!(queue.take(ms(second * 1000)), Turn::Send(expected));
        }
        assert_eq!(queue.take(ms(4000)), Turn::Idle);
        queue.add(reach(9));
        assert_eq!(queue.take(ms(4000)), Turn::Send(reach(9)), "once more");
    }

    #[test]
    fn who_waits_takes_only_what_it_waits_for() {
        let mut queue = queue(8, 1000);
        queue.add(reach(9));
        assert!(queue.take_first(ms(0)).is_empty());
        queue.add_first(probes(1..2));
        assert_eq!(queue.take_first(ms(0)), probes(1..2));
        queue.add_first(probes(2..3));
        assert!(queue.take_first(ms(999)).is_empty());
        let mut both = probes(2..3);
        both.extend(reach(9));
        assert_eq!(queue.take(ms(1000)), Turn::Send(both));
    }
}

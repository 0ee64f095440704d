//! What was put right: what others changed, since when and how often, and what they change again and again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    model::{IpRanges, Reason, Refusal, Repair},
    plan::{Op, Subject},
};

/// After so many repairs of the same thing within [`WINDOW`], another program counts as undoing it again and again.
const AGAIN: usize = 5;
/// It counts so until nothing was repaired for as long as this.
const WINDOW: Duration = Duration::from_secs(300);

/// How long such a repair waits after the one before.
const CALM: Duration = Duration::from_secs(5);

/// The kind of an op, and the VIP concerned; `None` = all VIPs of the node.
type What = (&'static str, Option<IpAddr>);

/// The repairs since the agent's start.
#[derive(Debug, Default)]
pub struct Repairs {
    of_kinds: BTreeMap<&'static str, Repair>,
    /// When the passes ran that repaired something lately, the last ones only.
    recent: BTreeMap<What, VecDeque<Duration>>,
}

impl Repairs {
    /// The pass at `now`, `at` on the wall clock, repairs something with `op`.
    pub fn note(&mut self, op: &Op, now: Duration, at: Timestamp) {
        let repair = self.of_kinds.entry(op.kind()).or_insert_with(|| Repair {
            count: 0,
            first: at,
            last: at,
            example: String::new(),
        });
        repair.count = repair.count.saturating_add(1);
        repair.last = at;
        repair.example = op.to_string();
        let times = self.recent.entry(what(op)).or_default();
        // One change by another program may need several ops of the same kind.
        if times.back() != Some(&now) {
            times.push_back(now);
        }
        if times.len() > AGAIN {
            times.pop_front();
        }
    }

    /// Forgets what is long over.
    pub fn expire(&mut self, now: Duration) {
        let is_recent = |at: &Duration| now.saturating_sub(*at) < WINDOW;
        self.recent
            .retain(|_, times| times.back().is_some_and(is_recent));
    }

    /// All repairs, by the kind of op.
    pub fn all(&self) -> BTreeMap<String, Repair> {
        let all = self.of_kinds.iter();
        all.map(|(kind, repair)| ((*kind).to_owned(), repair.clone()))
            .collect()
    }

    /// When `op` may be done again, if another program undoes it again and again: the two shall not keep the node busy. Only
    /// for what the kernel notifies of, so that each time leads to a pass, and on which no other op depends.
    pub fn due(&self, op: &Op) -> Option<Duration> {
        let (Op::AddAddress(..) | Op::AddRoute(_)) = op else {
            return None;
        };
        let times = self.recent.get(&what(op)).filter(|it| is_again(it))?;
        times.back().map(|last| *last + CALM)
    }

    /// What another program undoes again and again.
    fn overwritten(&self) -> impl Iterator<Item = &What> {
        let recent = self.recent.iter();
        let again = recent.filter(|(_, times)| is_again(times));
        again.map(|(what, _)| what)
    }

    /// What another program undoes again and again, with the VIPs concerned; `all` are those of the node.
    pub fn warnings(&self, all: &IpRanges) -> BTreeMap<Refusal, IpRanges> {
        let mut of_vips: BTreeMap<Option<IpAddr>, BTreeSet<&str>> = BTreeMap::new();
        for (kind, vip) in self.overwritten() {
            of_vips.entry(*vip).or_default().insert(kind);
        }
        let mut warnings: BTreeMap<Refusal, Vec<IpAddr>> = BTreeMap::new();
        for (vip, kinds) in of_vips {
            let concerned = match vip {
                Some(vip) => vec![vip],
                None => all.iter().collect(),
            };
            warnings
                .entry(explain(&kinds))
                .or_default()
                .extend(concerned);
        }
        warnings
            .into_iter()
            .map(|(warning, vips)| (warning, vips.into_iter().collect()))
            .collect()
    }
}

fn what(op: &Op) -> What {
    let vip = match op.subject() {
        Subject::Node => None,
        Subject::Vip(vip) => Some(vip),
        Subject::Service(key) => Some(key.vip),
    };
    (op.kind(), vip)
}

/// Whether these are the times of repairs of what another program undoes again and again.
fn is_again(times: &VecDeque<Duration>) -> bool {
    let span = times.front().zip(times.back());
    let span = span.map(|(first, last)| last.saturating_sub(*first));
    times.len() >= AGAIN && span.is_some_and(|span| span < WINDOW)
}

/// Names no VIP, so that those with the same trouble share the text.
fn explain(kinds: &BTreeSet<&str>) -> Refusal {
    let kinds: Vec<&str> = kinds.iter().copied().collect();
    let message = format!(
        "another program on the node undoes again and again what directway sets up; repaired each time: {}. Find it (keepalived, another load balancer, a network manager, a script) and leave the VIP to directway",
        kinds.join(", ")
    );
    Refusal::new(Reason::Overwritten, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AddressKey, Destination, Dev, Protocol, Role, ServiceKey};

    fn vip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn bind(last: u8) -> Op {
        Op::AddAddress(AddressKey::new(Dev::lo(), vip(last)), Role::Quiet)
    }

    fn add(port: u16) -> Op {
        let key = ServiceKey {
            vip: vip(100),
            port,
            protocol: Protocol::Tcp,
        };
        Op::AddDestination(key, vip(1), Destination::direct(1))
    }

    fn note(repairs: &mut Repairs, op: &Op, second: u64) {
        let at = Timestamp::from_second(1_000 + i64::try_from(second).unwrap()).unwrap();
        repairs.note(op, Duration::from_secs(second), at);
    }

    #[test]
    fn repairs_are_counted_by_kind_with_times_and_the_last_command() {
        let mut repairs = Repairs::default();
        note(&mut repairs, &bind(100), 1);
        note(&mut repairs, &bind(101), 1);
        note(&mut repairs, &bind(100), 7);
        let all = repairs.all();
        let repair = &all["bind"];
        let seconds = |at: Timestamp| at.as_second() - 1_000;
        assert_eq!(
            (repair.count, seconds(repair.first), seconds(repair.last)),
            (3, 1, 7)
        );
        assert_eq!(repair.example, bind(100).to_string());
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn what_is_undone_again_and_again_is_named_until_that_is_over() {
        let mut repairs = Repairs::default();
        let all: IpRanges = [vip(100), vip(101)].into_iter().collect();
        // A table with many services that is emptied once is no such case.
        for port in 1..100 {
            note(&mut repairs, &add(port), 1);
        }
        for second in [10, 20, 30, 40] {
            note(&mut repairs, &bind(101), second);
        }
        assert_eq!(repairs.warnings(&all).len(), 0);
        assert_eq!(repairs.due(&bind(101)), None);
        note(&mut repairs, &bind(101), 50);
        assert_eq!(repairs.due(&bind(101)), Some(Duration::from_secs(55)));
        assert_eq!(repairs.due(&bind(100)), None, "another VIP");
        let warnings = repairs.warnings(&all);
        let (warning, vips) = warnings.first_key_value().unwrap();
        assert_eq!(warning.reason, Reason::Overwritten);
        assert!(warning.message.contains("repaired each time: bind."));
        assert_eq!(vips.to_strings(), ["10.0.0.101"]);
        repairs.expire(Duration::from_secs(349));
        assert_eq!(repairs.warnings(&all).len(), 1);
        repairs.expire(Duration::from_secs(350));
        assert_eq!(repairs.warnings(&all).len(), 0, "nothing for five minutes");
        assert_eq!(repairs.all()["bind"].count, 5, "but it is not forgotten");
    }

    #[test]
    fn what_happens_now_and_then_is_no_such_case() {
        let mut repairs = Repairs::default();
        for hour in 0..10 {
            note(&mut repairs, &bind(100), hour * 100);
        }
        assert_eq!(repairs.overwritten().count(), 0);
    }

    #[test]
    fn what_concerns_the_whole_node_concerns_all_its_vips() {
        let mut repairs = Repairs::default();
        let all: IpRanges = [vip(100), vip(101)].into_iter().collect();
        for second in 0..5 {
            note(&mut repairs, &Op::AddDummy(Dev::lo()), second);
        }
        let warnings = repairs.warnings(&all);
        let vips: Vec<_> = warnings.values().map(IpRanges::to_strings).collect();
        assert_eq!(vips, [all.to_strings()]);
    }
}

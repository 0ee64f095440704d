//! The rules of the election, checked after every event.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    net::IpAddr,
    time::Duration,
};

use directway::election::{Notice, Request, Sender, TakeCause};

use crate::{
    faults::Fault,
    host::{Agent, Host},
    wire::ms,
    world::World,
};

/// How long two directors may both hold a VIP after a divided segment is whole: the time between two looks for rivals.
const HEALING: Duration = ms(1000);
/// The same after a frame was lost, late or doubled: until the next look for rivals, and until the contest is over.
const UNHEARD: Duration = ms(1700);
/// The same after a host returns whose agent runs, because that agent looks for rivals at once.
const THAWING: Duration = ms(200);
/// How long successor and predecessor may both hold a VIP in a planned move: three frames and an op.
const OVERLAP: Duration = ms(8);
/// The same, where broadcasts are lost: until the predecessor has asked its successor.
const UNHEARD_OVERLAP: Duration = ms(80);
/// The same, if the predecessor's agent stops right then.
const BROKEN_OVERLAP: Duration = ms(800);

#[derive(Clone, Debug)]
pub struct Judge {
    /// Factor on the limits above, for worlds with longer timers or many VIPs.
    scale: u32,
    /// How late each timer may be; there are up to four on the way to giving a VIP up.
    late: Duration,
    /// Until when an earlier fault excuses two holders.
    excuse: Duration,
    /// When each VIP was last claimed by agreement.
    planned: BTreeMap<IpAddr, Duration>,
    /// Whether broadcasts are lost, so that no predecessor hears its successor.
    pub is_deaf: bool,
    /// When an agent last stopped.
    stopped: Duration,
    /// When each host last came back to the segment.
    returned: BTreeMap<usize, Duration>,
    /// Since when agents stand still.
    paused: BTreeMap<usize, Duration>,
    /// VIPs that an agent must not announce before it has probed for them.
    unchecked: BTreeSet<(usize, IpAddr)>,
    /// Since when no director holds a VIP; and since when two do.
    vacant: BTreeMap<IpAddr, Duration>,
    double: BTreeMap<IpAddr, Duration>,
    /// The holders of each VIP when [`Self::arm`] was called.
    home: Option<BTreeMap<IpAddr, Vec<usize>>>,
    /// A fault hit more than agents, so VIPs may move.
    may_move: bool,
    /// Not all agents have read the same sources.
    disputed: bool,
    /// The first rule that was broken.
    pub violation: Option<String>,
    pub seen: Seen,
}

/// What may have changed since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Nothing,
    Vip(IpAddr),
    All,
}

/// Measurements and notices, for the tests.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub worst_gap: Duration,
    pub worst_double: Duration,
    pub worst_planned: Duration,
    pub notices: Vec<(usize, Notice)>,
    pub probed: BTreeSet<IpAddr>,
}

impl Hash for Judge {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (
            &self.excuse,
            &self.planned,
            &self.stopped,
            &self.returned,
            &self.paused,
            &self.unchecked,
        )
            .hash(state);
        (&self.vacant, &self.double, &self.may_move, &self.violation).hash(state);
    }
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            scale: 1,
            late: Duration::ZERO,
            excuse: Duration::ZERO,
            planned: BTreeMap::new(),
            is_deaf: false,
            stopped: Duration::ZERO,
            returned: BTreeMap::new(),
            paused: BTreeMap::new(),
            unchecked: BTreeSet::new(),
            vacant: BTreeMap::new(),
            double: BTreeMap::new(),
            home: None,
            may_move: false,
            disputed: false,
            violation: None,
            seen: Seen::default(),
        }
    }
}

impl Judge {
    pub fn may_move(&mut self) {
        self.may_move = true;
    }

    pub fn scale(&mut self, times: u32) {
        self.scale = times;
    }

    fn violates(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    fn excuse(&mut self, now: Duration, time: Duration) {
        let late = 4 * self.late;
        self.excuse = self.excuse.max(now + time * self.scale + late);
    }

    pub fn unheard(&mut self, at: Duration) {
        self.excuse(at, UNHEARD);
    }

    pub fn fault(&mut self, fault: Fault, now: Duration) {
        self.may_move |= !fault.spares_kernels();
        match fault {
            Fault::PreferredLate(..) => self.disputed = true,
            Fault::Preferred(_) | Fault::SourcesCatchUp => self.disputed = false,
            Fault::Heals(_) => self.excuse(now, HEALING),
            Fault::AgentPaused(..)
            | Fault::AgentDies(..)
            | Fault::PowerLost(..)
            | Fault::Frozen(..) => {
                self.stopped = now;
                if !self.double.is_empty() {
                    self.excuse(now, HEALING);
                }
                if let Fault::Frozen(host, _) = fault {
                    self.paused(host, now);
                }
            }
            Fault::Boots(_)
            | Fault::Thaws(_)
            | Fault::AgentResumes(_)
            | Fault::AgentStarts(_)
            | Fault::Split(..)
            | Fault::Unplugged(..)
            | Fault::Plugged(_)
            | Fault::Unready(..)
            | Fault::Ready(_)
            | Fault::AddressDeleted(_) => {}
        }
    }

    /// A host is back on the segment with the addresses on its NIC.
    pub fn returns(&mut self, index: usize, host: &Host, now: Duration) {
        let before = self.returned.insert(index, now);
        // A host that stood still may have been about to add a VIP.
        let thaws = self.paused.contains_key(&index);
        if thaws || !host.nic.is_empty() {
            // A host that is away twice, each time for less than a takeover takes, may not notice a takeover.
            let once = before.is_none_or(|before| now > before + ms(500));
            let quick = once && host.agent == Agent::Runs && !self.disputed;
            self.excuse(now, if quick { THAWING } else { HEALING });
        }
    }

    pub fn paused(&mut self, host: usize, now: Duration) {
        self.paused.insert(host, now);
    }

    /// An agent that starts, or stood still for longer than a takeover takes, does not know whether its VIPs are still its own.
    pub fn started(&mut self, index: usize, host: &Host) {
        self.unchecked.retain(|(of, _)| *of != index);
        self.unchecked
            .extend(host.nic.iter().map(|vip| (index, *vip)));
    }

    /// `alone`: no other holder's agent runs, so that no holder could yield until now.
    pub fn resumed(&mut self, index: usize, host: &Host, alone: bool, now: Duration) {
        if alone && !self.double.is_empty() {
            self.excuse(now, HEALING);
        }
        let since = self.paused.remove(&index);
        if since.is_some_and(|since| now > since + ms(300) * self.scale) {
            self.started(index, host);
        }
    }

    pub fn asks(&mut self, host: usize, question: &Request) {
        if question.to.is_none() && question.sender == Sender::Unspecified {
            self.unchecked.remove(&(host, question.about));
            self.seen.probed.insert(question.about);
        }
    }

    pub fn announces(&mut self, index: usize, vip: IpAddr, host: &Host, now: Duration) {
        if !host.nic.contains(&vip) {
            self.violates(|| format!("at {now:?} d{index} announced {vip} without having it"));
        }
        if self.unchecked.contains(&(index, vip)) {
            self.violates(|| {
                format!("at {now:?} d{index} announced {vip} without asking, although it did not know who has it")
            });
        }
    }

    pub fn notices(&mut self, index: usize, notices: &[Notice], now: Duration) {
        for report in notices {
            if let Notice::Took {
                vip,
                // A director whose machine stood still during the op adopts the VIP that it finds on its NIC.
                cause: TakeCause::Planned | TakeCause::Adopted,
                ..
            } = report
            {
                self.planned.insert(*vip, now);
            }
            self.seen.notices.push((index, report.clone()));
        }
    }

    /// From now on a VIP may move only after a fault that hits more than agents.
    pub fn arm(&mut self, world: &World) {
        self.home = Some(
            world
                .orders
                .keys()
                .map(|vip| (*vip, world.holders(*vip)))
                .collect(),
        );
        self.may_move = false;
        self.seen = Seen::default();
    }

    /// Checks the VIPs that may have changed since the last look, and those with two holders, which must not last.
    pub fn look(&mut self, world: &World, changed: Changed) {
        self.late = world.lateness();
        let vips: Vec<IpAddr> = match changed {
            Changed::All => world.orders.keys().copied().collect(),
            Changed::Nothing => self.double.keys().copied().collect(),
            Changed::Vip(vip) => self.double.keys().copied().chain([vip]).collect(),
        };
        if changed != Changed::Nothing {
            self.unchecked
                .retain(|(host, vip)| world.hosts[*host].nic.contains(vip));
        }
        let now = world.now;
        for vip in vips.iter().filter(|vip| world.orders.contains_key(vip)) {
            let holders = world.holders(*vip);
            let is_double = holders.iter().any(|one| {
                holders
                    .iter()
                    .any(|other| one < other && world.connected(*one, *other))
            });
            if holders.is_empty() {
                self.vacant.entry(*vip).or_insert(now);
            } else if let Some(since) = self.vacant.remove(vip)
                && self.home.is_some()
            {
                self.seen.worst_gap = self.seen.worst_gap.max(now - since);
            }
            if is_double {
                if !holders.iter().any(|holder| world.hosts[*holder].runs()) {
                    // No holder's agent runs, so none can yield.
                    self.excuse(now, HEALING);
                }
                let since = *self.double.entry(*vip).or_insert(now);
                let slow = 2 * world.lateness();
                self.doubly_held(*vip, since, &holders, now, slow);
            } else {
                self.double.remove(vip);
            }
            if !self.may_move
                && self
                    .home
                    .as_ref()
                    .is_some_and(|home| home.get(vip) != Some(&holders))
            {
                self.violates(|| {
                    format!("at {now:?} {vip} moved to {holders:?}, although nothing but agents stopped or stood still")
                });
            }
        }
    }

    fn doubly_held(
        &mut self,
        vip: IpAddr,
        since: Duration,
        holders: &[usize],
        now: Duration,
        slow: Duration,
    ) {
        let planned = self.planned.get(&vip).copied();
        let agents_stopped = planned.is_some_and(|at| self.stopped + ms(20) >= at);
        let overlap = if agents_stopped {
            BROKEN_OVERLAP * self.scale
        } else if self.is_deaf {
            UNHEARD_OVERLAP
        } else {
            OVERLAP
        } + slow;
        if planned.is_some_and(|at| now <= at + overlap) {
            self.seen.worst_planned = self.seen.worst_planned.max(now - since);
        } else if now <= self.excuse {
            self.seen.worst_double = self.seen.worst_double.max(now - since);
        } else {
            let excuse = self.excuse;
            self.violates(|| {
                format!("at {now:?} {vip} has been held by {holders:?} since {since:?}; excused until {excuse:?}")
            });
        }
    }
}

impl World {
    /// The first director in the order of `vip` that can hold it: its agent runs, and it has a cable and its services.
    pub fn best(&self, vip: IpAddr) -> Option<usize> {
        let able =
            |host: &usize| self.hosts[*host].runs() && self.hosts[*host].cable && self.ready[*host];
        self.orders[&vip].iter().copied().find(able)
    }

    /// Whether every VIP is held by its best director alone.
    pub fn verdict(&self) -> Result<(), String> {
        for vip in self.orders.keys() {
            let holders = self.holders(*vip);
            let Some(best) = self.best(*vip) else {
                continue;
            };
            if holders != [best] {
                let places: Vec<_> = self
                    .hosts
                    .iter()
                    .map(|host| {
                        host.election
                            .as_ref()
                            .and_then(|election| election.vip_state(*vip))
                    })
                    .collect();
                return Err(format!(
                    "at {:?} {vip} is held by {holders:?} instead of {best} alone; {places:?}",
                    self.now
                ));
            }
        }
        Ok(())
    }
}

//! Directors on a segment, and time.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use directway::election::{ElectionConfig, Event, Timing};

use crate::{
    faults::Fault,
    host::{Host, Op, id, vip},
    judge::{Changed, Judge},
    notes::{Count, Log},
    traffic::about,
    wire::{Chance, Flight, Others, ms},
};

/// A queued event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    Arrives(Flight),
    Op(usize, Op),
    Fault(Fault),
}

/// Why [`World::go`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `end` is reached.
    Time,
    /// A frame arrives next.
    Frame,
}

/// Where [`World::go`] stops before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    Never,
    /// Before each frame about a VIP.
    AtVips,
    /// Before each frame.
    AtFrames,
}

#[derive(Clone)]
pub struct World {
    pub now: Duration,
    pub hosts: Vec<Host>,
    pub others: Others,
    pub timing: Arc<Timing>,
    /// Per VIP the directors that may hold it, best first, as the sources have it.
    pub orders: BTreeMap<IpAddr, Vec<usize>>,
    pub requested: bool,
    /// Per host whether its services are programmed.
    pub ready: Vec<bool>,
    pub fresh: bool,
    /// Hosts that read every order upside down.
    pub upside_down: BTreeSet<usize>,
    /// Hosts that are no longer in the sources, so that no agent knows them as peers.
    pub forgotten: BTreeSet<usize>,
    /// Whether the sources have the directors' MACs.
    pub knows_macs: bool,
    /// Hosts that report every VIP as held.
    pub reported: BTreeSet<usize>,
    /// Frames that agents sent, if the test counts them.
    pub count: Option<Vec<Count>>,
    /// When each host's port received a frame from it, its kernel's answers too, if the test counts them.
    pub ports: Option<Vec<(usize, Duration)>>,
    pub judge: Judge,
    pub chance: Option<Chance>,
    pub queue: BTreeMap<(Duration, u32), Due>,
    pub(crate) changed: Changed,
    pub(crate) sent: u32,
    /// What happened, if the test logs it.
    pub log: Option<Log>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (
            self.now,
            &self.hosts,
            &self.orders,
            &self.ready,
            &self.judge,
        )
            .hash(state);
        for ((at, _), due) in &self.queue {
            (at, due).hash(state);
        }
    }
}

impl World {
    /// `hosts` directors whose agents are not started yet, and `vips` VIPs, the first of which director 0 should hold, the
    /// second director 1, and so on.
    pub fn new(hosts: usize, vips: usize, timing: Timing) -> Self {
        timing.check().unwrap();
        let orders = (0..vips).map(|index| {
            (
                vip(index),
                (0..hosts).map(|host| (index + host) % hosts).collect(),
            )
        });
        let empty = Arc::new(ElectionConfig {
            me: id(0),
            macs: BTreeSet::new(),
            peers: BTreeMap::new(),
            vips: BTreeMap::new(),
            fresh: true,
        });
        let mut world = Self {
            now: ms(1000),
            hosts: (0..hosts)
                .map(|index| Host::new(index, empty.clone()))
                .collect(),
            others: Others::default(),
            timing: Arc::new(timing),
            orders: orders.collect(),
            requested: false,
            ready: vec![true; hosts],
            fresh: true,
            upside_down: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            knows_macs: false,
            reported: BTreeSet::new(),
            count: None,
            ports: None,
            judge: Judge::default(),
            chance: None,
            queue: BTreeMap::new(),
            changed: Changed::All,
            sent: 0,
            log: None,
        };
        for index in 0..hosts {
            world.configure(index);
        }
        world
    }

    pub fn schedule(&mut self, at: Duration, due: Due) {
        self.sent += 1;
        self.queue.insert((at, self.sent), due);
    }

    /// Runs until `end`.
    pub fn run(&mut self, end: Duration) {
        self.go(end, Stops::Never);
    }

    /// Runs until `end`, or until `stops` applies.
    pub fn go(&mut self, end: Duration, stops: Stops) -> Stop {
        // The test may have changed anything since the last run.
        self.changed = Changed::All;
        loop {
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let running = self
                .hosts
                .iter()
                .enumerate()
                .filter(|(_, host)| host.runs());
            let tick = running
                .filter_map(|(index, host)| Some((host.wake?, index)))
                .min();
            // Queued events come before an agent's tick: it acts after every frame that has arrived.
            match (next, tick) {
                (Some(at), _) if at <= end && tick.is_none_or(|(wake, _)| at <= wake) => {
                    if self.is_stop(stops) {
                        return Stop::Frame;
                    }
                    self.step();
                }
                (_, Some((wake, index))) if wake <= end => {
                    self.now = self.now.max(wake);
                    self.give(index, Event::Tick);
                    self.judge();
                }
                _ => {
                    self.now = end;
                    self.judge();
                    return Stop::Time;
                }
            }
        }
    }

    fn is_stop(&self, stops: Stops) -> bool {
        match self.queue.first_key_value() {
            Some((_, Due::Arrives(Flight { heard, .. }))) => match stops {
                Stops::Never => false,
                Stops::AtVips => self.orders.contains_key(&about(heard)),
                Stops::AtFrames => true,
            },
            _ => false,
        }
    }

    /// Runs the next queued event.
    pub fn step(&mut self) {
        let Some(((at, _), due)) = self.queue.pop_first() else {
            return;
        };
        self.now = self.now.max(at);
        match due {
            Due::Arrives(flight) => self.arrives(flight),
            Due::Op(index, op) => {
                self.changed = Changed::Vip(op.vip);
                self.op(index, op);
            }
            Due::Fault(fault) => {
                self.changed = Changed::All;
                self.apply(fault);
            }
        }
        self.judge();
    }

    fn judge(&mut self) {
        let mut judge = std::mem::take(&mut self.judge);
        judge.look(self, self.changed);
        self.changed = Changed::Nothing;
        self.judge = judge;
    }

    /// How late a timer may be.
    pub fn lateness(&self) -> Duration {
        let jitter = self.chance.as_ref().map_or(0, |chance| chance.jitter);
        ms(jitter)
    }

    /// The directors that answer ARP for `vip`.
    pub fn holders(&self, vip: IpAddr) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|host| self.hosts[*host].serves(vip))
            .collect()
    }

    /// Whether a fault, or the end of one, is still queued.
    pub fn has_faults_ahead(&self) -> bool {
        self.queue.values().any(|due| matches!(due, Due::Fault(_)))
    }
}

//! A director: a kernel that answers ARP for what its NIC carries, and an agent that may run, stand still or be dead.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use directway::{
    election::{DirectorId, Election, ElectionConfig, Event, Meaning, Received},
    model::Mac,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    Alive,
    /// The machine stands still: it answers nothing and forgets nothing.
    Frozen,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Agent {
    Runs,
    Paused,
    Dead,
}

/// An address to be added to or taken from the NIC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    pub vip: IpAddr,
    pub add: bool,
    /// The op must not begin later than this.
    pub until: Duration,
}

/// An op or a frame that waits until the agent goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Waiting {
    Op(Op),
    Heard(Received),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    pub id: DirectorId,
    pub mac: Mac,
    pub kernel: Kernel,
    pub agent: Agent,
    pub nic: BTreeSet<IpAddr>,
    pub cable: bool,
    /// Which part of a divided segment it is on.
    pub side: u8,
    pub election: Option<Election>,
    /// The configuration in its sources, and the one that its agent last received.
    pub config: Arc<ElectionConfig>,
    pub told: Arc<ElectionConfig>,
    pub waiting: Vec<Waiting>,
    pub wake: Option<Duration>,
}

impl Host {
    pub fn new(index: usize, config: Arc<ElectionConfig>) -> Self {
        Self {
            id: id(index),
            mac: mac(index),
            kernel: Kernel::Alive,
            agent: Agent::Dead,
            nic: BTreeSet::new(),
            cable: true,
            side: 0,
            election: None,
            told: config.clone(),
            config,
            waiting: Vec::new(),
            wake: None,
        }
    }

    /// Whether its kernel runs and is connected to the segment.
    pub fn is_on_wire(&self) -> bool {
        self.kernel == Kernel::Alive && self.cable
    }

    /// Whether it answers ARP for `vip`.
    pub fn serves(&self, vip: IpAddr) -> bool {
        self.is_on_wire() && self.nic.contains(&vip)
    }

    pub fn runs(&self) -> bool {
        self.kernel == Kernel::Alive && self.agent == Agent::Runs
    }

    /// The kernel's answer to an ARP request, if it gives one.
    pub fn answer(&self, heard: &Received) -> Option<Received> {
        let Meaning::Request(about) = heard.meaning else {
            return None;
        };
        // An announcement's sender is an address of this host too, on lo: the kernel drops it as martian.
        let is_martian = heard.has == Some(about);
        let is_own = about == self.id.0 || self.nic.contains(&about);
        (is_own && !is_martian).then_some(Received {
            from: self.mac,
            has: Some(about),
            meaning: Meaning::Reply(heard.has),
            to_us: true,
        })
    }

    /// Events by which an agent that stood still learns what else changed meanwhile.
    pub fn news(&mut self) -> Vec<Event> {
        let mut events = vec![Event::Carrier(self.cable)];
        if !Arc::ptr_eq(&self.told, &self.config) {
            self.told = self.config.clone();
            events.push(Event::Config(self.config.clone()));
        }
        events
    }
}

pub fn id(index: usize) -> DirectorId {
    DirectorId(IpAddr::from([10, 77, 0, 10 + index as u8]))
}

pub fn mac(index: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, 10 + index as u8])
}

pub fn vip(index: usize) -> IpAddr {
    IpAddr::from([10, 77, 1 + (index / 250) as u8, (index % 250) as u8])
}
